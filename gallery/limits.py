"""Limits on what a gallery takes in: answers stay small, and no item is of the future."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from trireid.gallery.filters import check_text, parse_instant
from trireid.gallery.hits import Hit
from trireid.gallery.items import Item
from trireid.samples import Sample
from trireid.samples.errors import GalleryError, GalleryValueError
from trireid.samples.metadata import TEXTS

#: Characters of an id, an identity and every other text of an item.
MAX_TEXT: Final = 1000
#: Bytes of an item's attributes as JSON.
MAX_ATTRIBUTES: Final = 16 * 1024
#: Bytes of the attributes in one answer; hits beyond come without theirs.
MAX_ANSWER: Final = 2**20
#: Seconds that an item's time may be ahead of this machine's clock.
MAX_AHEAD: Final = 86_400.0


def check_limits(given: Sample | Item) -> None:
    """Refuse what is too large or of a time to come.

    Raises:
        GalleryError: Names the field: a text over 1000 characters, attributes over 16 KiB as JSON,
            or a time more than a day after this machine's clock.
    """
    for name in ("id", *TEXTS):
        text = getattr(given, name)
        if text is not None and len(text) > MAX_TEXT:
            raise GalleryValueError(
                f"{name}: has {len(text)} characters, and may have {MAX_TEXT}", name
            )
    attributes_text(given.attributes)
    instant = parse_instant(given.time)
    if instant is not None and instant > time.time() + MAX_AHEAD:
        raise GalleryValueError(
            f"time: {given.time} is more than a day ahead of this machine's clock; correct it, or"
            " leave it out",
            "time",
        )


def attributes_text(attributes: Mapping[str, Any]) -> str:
    """Write attributes as the store keeps them.

    Raises:
        GalleryError: They are not JSON, hold a text that no store can keep, or take over 16 KiB.
    """
    try:
        text = json.dumps(dict(attributes), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise GalleryError(
            f"attributes: can hold text, numbers, lists and objects only: {error}", "attributes"
        ) from error
    check_text(text, "attributes")
    size = len(text.encode())
    if size > MAX_ATTRIBUTES:
        raise GalleryValueError(
            f"attributes: take {size} bytes as JSON, and may take {MAX_ATTRIBUTES}", "attributes"
        )
    return text


def limit_answer(hits: Iterable[Hit]) -> list[Hit]:
    """Leave out the attributes of the hits that come after an answer's limit; these hits say so."""
    limited, left = [], MAX_ANSWER
    for hit in hits:
        left -= (
            len(json.dumps(hit.attributes, ensure_ascii=False).encode()) if hit.attributes else 0
        )
        limited.append(
            hit
            if left >= 0 or not hit.attributes
            else replace(hit, attributes={}, attributes_omitted=True)
        )
    return limited
