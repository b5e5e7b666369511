"""TIFF: the first directory, reduced to the tags that make pixels, with strips and tiles no larger
than the image needs.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from trireid.samples.containers.container import (
    MAX_PARTS,
    Container,
    MetadataCount,
    corrupt,
    too_much,
)
from trireid.samples.containers.orientation import find_orientation

PREFIXES: Final = (b"MM\0*", b"II*\0", b"MM*\0", b"II\0*", b"MM\0+", b"II+\0")
MAX_ENTRIES: Final = 4096
MAX_SAMPLES: Final = 8
#: Strips or tiles of an image whose pixels are not compressed, up to which it counts as bounded
#: work.
_FEW_PARTS: Final = 4096
#: Padding makes the tiles larger than the image: by no more than this factor, or up to that many
#: pixels.
_PADDING: Final = 4
_SMALL: Final = 1 << 22
#: Bytes of a value of each type that a tag here may have: BYTE, SHORT, LONG, RATIONAL, UNDEFINED,
#: LONG8.
_SIZES: Final = {1: 1, 3: 2, 4: 4, 5: 8, 7: 1, 16: 8}
_CODES: Final = {1: "B", 3: "H", 4: "I", 16: "Q"}

WIDTH, HEIGHT, BITS, COMPRESSION = 256, 257, 258, 259
STRIPS, SAMPLES, ROWS, STRIP_BYTES, PLANAR = 273, 277, 278, 279, 284
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 322, 323, 324, 325
ORIENTATION, XMP = 274, 700
_NOT_COMPRESSED, _SEPARATE = 1, 2
#: Tags that the decoder needs: those of the layout, of color (262, 266, 320, 332, 338, 339, 529 to
#: 532), and of coding (292, 293, 317, 347, 512 to 521).
_LAYOUT: Final = (WIDTH, HEIGHT, BITS, COMPRESSION, STRIPS, SAMPLES, ROWS, STRIP_BYTES, PLANAR)
_TILED: Final = (TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES)
_COLOR: Final = (262, 266, 320, 332, 338, 339, *range(529, 533))
_CODING: Final = (292, 293, 317, 347, *range(512, 522))
_KEPT: Final = frozenset((*_LAYOUT, *_TILED, *_COLOR, *_CODING))


@dataclass(frozen=True)
class _Layout:
    """Byte order and field sizes of a file, as `struct` has them."""

    order: str
    big: bool

    @property
    def entry(self) -> str:
        return f"{self.order}HH" + ("Q8s" if self.big else "I4s")

    @property
    def count(self) -> str:
        return self.order + ("Q" if self.big else "H")

    @property
    def offset(self) -> str:
        return self.order + ("Q" if self.big else "I")


@dataclass(frozen=True)
class _Entry:
    """A directory entry as it stands in the file, and the bytes of its values."""

    raw: bytes
    kind: int
    values: bytes


def read_tiff(data: bytes) -> Container:
    """Check a TIFF.

    Raises ImageError, without a field, for one that is broken or costs too much.
    """
    layout = _Layout("<" if data[:2] == b"II" else ">", data[2] == 43)
    try:
        entries = _read_directory(data, layout)
    except struct.error as error:
        raise corrupt("its directory") from error
    tags = _Tags(entries, layout)
    width, height = tags.number(WIDTH, 0), tags.number(HEIGHT, 0)
    parts = _check_parts(tags, width, height, len(data))
    orientation = tags.number(ORIENTATION, 0)
    if not orientation:
        orientation = find_orientation(xmp=entries[XMP].values if XMP in entries else b"")
    is_raw = COMPRESSION not in tags or tags.number(COMPRESSION, 0) == _NOT_COMPRESSED
    bounded = is_raw and parts <= _FEW_PARTS
    return Container(
        "TIFF",
        width,
        height,
        _reduce(data, layout, entries),
        orientation if 1 <= orientation <= 8 else 1,
        width * height + len(data) if bounded else None,
    )


def _read_directory(data: bytes, layout: _Layout) -> dict[int, _Entry]:
    """The first directory's entries by tag; the first of two with one tag counts, and those that
    point nowhere do not.
    """
    metadata = MetadataCount()
    (start,) = struct.unpack_from(layout.offset, data, 8 if layout.big else 4)
    (count,) = struct.unpack_from(layout.count, data, start)
    if count > MAX_ENTRIES:
        raise too_much(f"a directory of {count} entries")
    start, size, inline = (
        start + struct.calcsize(layout.count),
        struct.calcsize(layout.entry),
        8 if layout.big else 4,
    )
    entries: dict[int, _Entry] = {}
    for position in range(start, start + size * count, size):
        tag, kind, number, value = struct.unpack_from(layout.entry, data, position)
        if tag in entries or tag not in (*_KEPT, ORIENTATION, XMP) or kind not in _SIZES:
            continue
        length = number * _SIZES[kind]
        if length > inline:
            (offset,) = struct.unpack(layout.offset, value)
            if offset + length > len(data):
                continue
            metadata.add(length)
            value = data[offset : offset + length]
        entries[tag] = _Entry(data[position : position + size], kind, value[:length])
    return entries


def _reduce(data: bytes, layout: _Layout, entries: Mapping[int, _Entry]) -> bytes:
    """The file with one directory, at its end, of the tags that make pixels."""
    kept = [entries[tag].raw for tag in sorted(entries) if tag in _KEPT]
    padding = b"\0" * (-len(data) % 8)
    header = data[: 8 if layout.big else 4] + struct.pack(layout.offset, len(data) + len(padding))
    directory = (
        struct.pack(layout.count, len(kept)) + b"".join(kept) + struct.pack(layout.offset, 0)
    )
    return b"".join((header, memoryview(data)[len(header) :], padding, directory))


class _Tags:
    """The entries' values as numbers."""

    def __init__(self, entries: Mapping[int, _Entry], layout: _Layout) -> None:
        self._entries, self._order = entries, layout.order

    def __contains__(self, tag: int) -> bool:
        return tag in self._entries

    def count(self, tag: int) -> int:
        """How many values a tag has; 0 if it is absent."""
        entry = self._entries.get(tag)
        return len(entry.values) // _SIZES[entry.kind] if entry else 0

    def numbers(self, tag: int, most: int = MAX_PARTS) -> tuple[int, ...]:
        """A tag's first values, up to `most`; empty if it is absent or holds no whole numbers."""
        entry = self._entries.get(tag)
        if entry is None or entry.kind not in _CODES:
            return ()
        return struct.unpack_from(
            f"{self._order}{min(most, self.count(tag))}{_CODES[entry.kind]}", entry.values
        )

    def number(self, tag: int, default: int) -> int:
        """A tag's first value, `default` if it has none."""
        values = self.numbers(tag, 1)
        return values[0] if values else default


def _check_parts(tags: _Tags, width: int, height: int, size: int) -> int:
    """Check samples, strips and tiles against the image; returns how many parts there are.

    Raises ImageError.
    """
    if tags.number(SAMPLES, 1) > MAX_SAMPLES or tags.count(BITS) > MAX_SAMPLES:
        raise too_much(f"over {MAX_SAMPLES} samples a pixel")
    if not width or not height:
        raise corrupt("no size")
    tiled = TILE_WIDTH in tags or TILES in tags
    expected = _check_tiles(tags, width, height) if tiled else _count_strips(tags, height)
    if tags.number(PLANAR, 1) == _SEPARATE:
        expected *= tags.number(SAMPLES, 1)
    offsets, lengths = (TILES, TILE_BYTES) if TILES in tags else (STRIPS, STRIP_BYTES)
    parts = max(tags.count(offsets), tags.count(lengths), expected)
    if parts > MAX_PARTS:
        raise too_much(f"{parts} strips or tiles")
    if tags.count(offsets) > expected:
        raise corrupt(f"{tags.count(offsets)} strips or tiles for {expected}")
    if parts > 1 and sum(tags.numbers(lengths)) > 2 * size:
        raise corrupt("its strips or tiles overlap")
    return parts


def _count_strips(tags: _Tags, height: int) -> int:
    rows = min(tags.number(ROWS, height), height)
    return -(-height // max(1, rows))


def _check_tiles(tags: _Tags, width: int, height: int) -> int:
    across, down = tags.number(TILE_WIDTH, 0), tags.number(TILE_HEIGHT, 0)
    if not across or not down:
        raise corrupt("tiles without a size")
    columns, rows = -(-width // across), -(-height // down)
    if columns * across * rows * down > max(_PADDING * width * height, _SMALL):
        raise too_much(f"tiles of {across} x {down} pixels for {width} x {height}")
    return columns * rows
