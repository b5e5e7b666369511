"""One form for text that looks the same: Unicode NFC."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from typing import Any, TypeVar

from trireid.samples.errors import TrireidError
from trireid.samples.metadata import TEXTS
from trireid.samples.sample import Sample

S = TypeVar("S", bound=Sample)


def normalize_sample(sample: S) -> S:
    """Return a sample with all of its text in NFC, attributes and their names too; itself if it is
    so already.

    Raises TrireidError for two attributes whose names are then the same.
    """
    texts = {name: getattr(sample, name) for name in ("id", *TEXTS)}
    changed = {name: normalize_text(text) for name, text in texts.items() if not _is_normal(text)}
    try:
        if not _is_normal(sample.attributes):
            changed["attributes"] = normalize_text(dict(sample.attributes))
    except RecursionError:  # nested too deeply for any store, which says so
        pass
    return replace(sample, **changed) if changed else sample


def normalize_text(value: Any) -> Any:
    """Return a value with all text in it, names of mappings too, in NFC."""
    if isinstance(value, str):
        return value if value.isascii() else unicodedata.normalize("NFC", value)
    if isinstance(value, dict):
        found = {normalize_text(name): normalize_text(each) for name, each in value.items()}
        if len(found) < len(value):
            raise TrireidError(
                "attributes: two names differ only in how their letters are composed", "attributes"
            )
        return found
    if isinstance(value, list | tuple):
        return [normalize_text(each) for each in value]
    return value


def list_forms(text: str) -> list[str]:
    """Return the forms that a text may have been stored in:

    NFC, and in older stores as it was given, or NFD.
    """
    if text.isascii():
        return [text]
    return list(
        dict.fromkeys(
            (unicodedata.normalize("NFC", text), text, unicodedata.normalize("NFD", text))
        )
    )


def _is_normal(value: Any) -> bool:
    if isinstance(value, str):
        return value.isascii() or unicodedata.is_normalized("NFC", value)
    if isinstance(value, dict):
        return all(_is_normal(name) and _is_normal(each) for name, each in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_normal, value))
    return True
