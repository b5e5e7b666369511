"""Which way up an image is shown, from its Exif or XMP: a few bytes are read, and no metadata is
parsed as a whole.
"""

from __future__ import annotations

import re
import struct
from typing import Final

_TAG: Final = 274
_ORDERS: Final = {b"II": "<", b"MM": ">"}
_SHORT, _LONG = 3, 4
_XMP: Final = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
_EXIF_HEADER: Final = re.compile(rb"(?:Exif\0\0){0,2}")


def find_orientation(exif: bytes = b"", xmp: bytes = b"") -> int:
    """Find the orientation in Exif data, else in XMP.

    Args:
        exif: A TIFF header and its first directory, with or without `Exif` and two NULs before it;
            may be empty or broken.
        xmp: The XMP packet; may be empty.

    Returns:
        1 to 8; 1 (upright) without one, or a value that has no meaning.
    """
    value = _from_exif(exif)
    if value is None:
        found = _XMP.search(xmp)
        value = int(found[1]) if found else 1
    return value if 1 <= value <= 8 else 1


def _from_exif(exif: bytes) -> int | None:
    header = _EXIF_HEADER.match(exif)
    tiff = exif[header.end() :] if header else exif
    order = _ORDERS.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return None
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    if start + 2 > len(tiff):
        return None
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    entries = memoryview(tiff)[start + 2 : start + 2 + 12 * count]
    for tag, kind, _, value in struct.iter_unpack(
        f"{order}HHI4s", entries[: len(entries) // 12 * 12]
    ):
        if tag == _TAG:
            return _read_value(order, kind, value)
    return None


def _read_value(order: str, kind: int, value: bytes) -> int | None:
    if kind == _SHORT:
        return int(struct.unpack_from(f"{order}H", value)[0])
    return int(struct.unpack(f"{order}I", value)[0]) if kind == _LONG else None
