"""Values read from a store, checked as if a stranger had written them: their types, lengths and
ranges.

Text and blobs are bounded in SQL (`bounded`), so that an oversized one is not even loaded into a
list.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from trireid.gallery.index import LAST_KEY, Quantization
from trireid.gallery.items import ItemRecord, StoredImage
from trireid.gallery.scoring import ALL
from trireid.samples import KINDS, MODALITIES
from trireid.samples.depth import Depth
from trireid.samples.errors import ConfigError, GalleryError, StoreError
from trireid.samples.metadata import TEXTS

#: Characters of an id, identity or other field, of a path, and of what is recorded of the gallery.
MOST_TEXT: Final = 4096
#: Characters of an item's attributes as JSON. More than enrolment takes, for older stores.
MOST_ATTRIBUTES: Final = 64 << 10
MOST_AUDIT: Final = 16 << 20
MOST_THUMBNAIL: Final = 1 << 20
MOST_DIMENSION: Final = 1 << 16
#: Bytes that readers hold for every key up to the last.
_BYTES_A_KEY: Final = 5
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,17}")
_META_TEXTS: Final = ("artifact", "fingerprint", "model", "mark")
_META_NUMBERS: Final = {
    "generation": (1, 10**9 - 2),
    "dimension": (1, MOST_DIMENSION),
    "forgotten": (0, 2**62),
}
_NO_ATTRIBUTES: Final = (
    f"its attributes are not an object in JSON of at most {MOST_ATTRIBUTES} characters"
)


def limit_length(column: str, most: int = MOST_TEXT, instead: str = "x''") -> str:
    """Return SQL for a column's value; a longer one becomes `instead`, which no check takes for a
    value of it.
    """
    return f"CASE WHEN length({column}) > {most} THEN {instead} ELSE {column} END"


def make_damage_error(folder: Path, what: str) -> GalleryError:
    """Make the error for a store that holds what no store can."""
    return StoreError(
        f"{folder}: its store is damaged, or was not written by trireid: {what}; `trireid gallery"
        " check` says what can be read",
        str(folder),
    )


def check_meta(folder: Path, meta: Mapping[Any, Any]) -> None:
    """Raise GalleryError if what a store of this version records of the gallery as a whole cannot
    be.
    """
    for name, value in meta.items():
        if not _is_text(name) or not _is_text(value) or "\0" in value:
            raise make_damage_error(
                folder,
                f"its record of {str(name)[:40]!r} is not text of at most {MOST_TEXT} characters",
            )
    for name in (*_META_TEXTS, "generation", "dimension"):
        if name not in meta:
            raise make_damage_error(folder, f"it has no record of its {name}")
    for name, (least, most) in _META_NUMBERS.items():
        value = meta.get(name, "1")
        if not _NUMBER.fullmatch(value) or not least <= int(value) <= most:
            raise make_damage_error(
                folder, f"its {name} {value[:20]!r} is not a whole number from {least} to {most}"
            )
    _check_settings(folder, meta)


def _check_settings(folder: Path, meta: Mapping[str, str]) -> None:
    if meta.get("memory", Quantization.FLOAT32.value) not in tuple(Quantization):
        raise make_damage_error(folder, f"its memory is {meta['memory'][:20]!r}")
    if not _is_number(meta.get("recall", "1"), 1):
        raise make_damage_error(folder, f"its recall is {meta['recall'][:20]!r}")
    if not _is_number(meta.get("keep_days", "1"), sys.float_info.max):
        raise make_damage_error(folder, f"it keeps items for {meta['keep_days'][:20]!r} days")
    try:
        Depth.parse(meta.get("thermal", "auto"))
    except ConfigError as error:
        raise make_damage_error(folder, f"its thermal is {meta['thermal'][:20]!r}") from error


def check_number(folder: Path, value: Any, what: str, most: int = LAST_KEY) -> int:
    """Return a whole number from 0 to `most`. Raises GalleryError."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise make_damage_error(
            folder, f"{what} is {str(value)[:40]!r}, not a whole number from 0 to {most}"
        )
    return value


def check_last_key(folder: Path, value: Any) -> int:
    """Return the last key, if this machine has the memory for readers to follow up to it.

    Raises GalleryError.
    """
    last = check_number(folder, value, "the last key")
    if last * _BYTES_A_KEY > _memory() // 2:
        raise make_damage_error(
            folder, f"its last key is {last}, for which this machine has not the memory"
        )
    return last


def check_masks(folder: Path, values: Sequence[Any]) -> NDArray[np.int64]:
    """Return masks of modalities, int64 [n], each from 0 to 7. Raises GalleryError."""
    if not all(isinstance(value, int) and 0 <= value <= ALL for value in values):
        raise make_damage_error(folder, f"an item's modalities are not a mask from 0 to {ALL}")
    return np.array(values, np.int64)


def check_keys(folder: Path, values: Sequence[Any], last: int) -> NDArray[np.int64]:
    """Return keys, int64 [n], each from 1 to the last. Raises GalleryError."""
    if not all(isinstance(value, int) and 0 < value <= last for value in values):
        raise make_damage_error(folder, f"an item's key is not a whole number from 1 to {last}")
    return np.array(values, np.int64)


def check_embeddings(
    folder: Path, keys: Sequence[Any], rows: Sequence[Any], dimension: int
) -> NDArray[np.float32]:
    """Return embeddings, float32 [n, D], of length `dimension` and finite.

    Raises GalleryError, naming an item's key.
    """
    for key, row in zip(keys, rows, strict=True):
        if not isinstance(row, bytes) or len(row) != 4 * dimension:
            raise make_damage_error(
                folder, f"item {key}: its embedding has not {dimension} numbers"
            )
    found = np.frombuffer(b"".join(rows), np.float32).reshape(len(rows), dimension)
    if not np.isfinite(found).all():
        key = keys[int(np.argmin(np.isfinite(found).all(axis=1)))]
        raise make_damage_error(
            folder, f"item {key}: its embedding holds a number that is not finite"
        )
    return found


def check_texts(folder: Path, values: Iterable[Any], what: str) -> None:
    """Raise GalleryError unless all are bounded text."""
    if not all(_is_text(value) for value in values):
        raise make_damage_error(folder, f"{what} is not text of at most {MOST_TEXT} characters")


def check_known(folder: Path, values: Mapping[str, Any], attributes: Any) -> ItemRecord:
    """Return the metadata of an item.

    Raises GalleryError, naming its key and what of it cannot be.
    """
    error = next(_field_errors(values), None)
    if error is not None:
        raise make_damage_error(folder, f"item {values['key']}: {error}")
    try:
        return ItemRecord(**values, attributes=load_object(attributes))
    except ValueError as bad:
        raise make_damage_error(folder, f"item {values['key']}: {_NO_ATTRIBUTES}: {bad}") from bad


def item_errors(values: Mapping[str, Any], attributes: Any) -> Iterator[str]:
    """Yield what cannot be of an item's fields and attributes."""
    yield from _field_errors(values)
    try:
        load_object(attributes)
    except ValueError as error:
        yield f"{_NO_ATTRIBUTES}: {error}"


def _field_errors(values: Mapping[str, Any]) -> Iterator[str]:
    if not _is_text(values["id"]):
        yield f"its id is not text of at most {MOST_TEXT} characters"
    for name in (*TEXTS, "kind"):
        if values[name] is not None and not _is_text(values[name]):
            yield f"its {name} is not text of at most {MOST_TEXT} characters"
    if values["camera"] is not None and not isinstance(values["camera"], int):
        yield "its camera is not a whole number"
    if values["kind"] is not None and values["kind"] not in KINDS:
        yield f"its kind is not one of {', '.join(KINDS)}"
    if not isinstance(values["present"], int) or not 0 <= values["present"] <= ALL:
        yield f"its modalities are not a mask from 0 to {ALL}"


def load_object(text: Any, most: int = MOST_ATTRIBUTES) -> dict[str, Any]:
    """Return a bounded object in JSON. Raises ValueError."""
    if not isinstance(text, str) or len(text) > most:
        raise ValueError("no text of that length")
    try:
        found = json.loads(text, parse_constant=_refuse_constant)
        if "\\u" in text:  # an escape may be half a surrogate pair, which no file can hold
            json.dumps(found, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


def check_images(folder: Path, key: int, rows: Sequence[Sequence[Any]]) -> list[StoredImage]:
    """Return an item's images from rows (modality, thumbnail, path, data). Raises GalleryError."""
    error = next(image_errors(rows), None)
    if error is not None:
        raise make_damage_error(folder, f"item {key}: {error}")
    return [StoredImage(*row) for row in sorted(rows, key=lambda row: MODALITIES.index(row[0]))]


def image_errors(rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    """Yield what cannot be of an item's images."""
    modalities = [row[0] for row in rows]
    if len(set(modalities)) < len(modalities):
        yield "it has several images of one modality"
    for modality, thumbnail, path, data in rows:
        if modality not in MODALITIES:
            yield f"it has an image of a modality that is not one of {', '.join(MODALITIES)}"
        if not isinstance(thumbnail, bytes):
            yield f"a thumbnail is not a JPEG of at most {MOST_THUMBNAIL} bytes"
        if path is not None and not (_is_text(path) and os.path.isabs(path) and "\0" not in path):
            yield f"an image's file is not an absolute path of at most {MOST_TEXT} characters"
        if data is not None and not isinstance(data, bytes):
            yield "an image's content is not bytes"


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MOST_TEXT


def _is_number(text: str, most: float) -> bool:
    """Whether a text is a number over 0 and at most `most`."""
    try:
        return 0 < float(text) <= most
    except ValueError:
        return False


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"holds {name}")


def _memory() -> int:
    """Bytes of memory that this machine has; a number that refuses nothing if it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 2**62
