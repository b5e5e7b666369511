"""Which files beside an ONNX hold its weights: read from the protobuf itself, since serving does without the package onnx."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

#: Fields on the way to where a weight is: of the model its graph, of that an initializer, of that an entry of external data.
_WAY: Final = (7, 5, 13)
_KEY, _VALUE = 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def external_files(path: Path) -> list[Path]:
    """The files that hold weights of an ONNX file, sorted; none where all are inside. The file must be one that loads."""
    entries = _entries(memoryview(path.read_bytes()), _WAY)
    names = {bytes(entry[_VALUE]).decode() for entry in entries if bytes(entry.get(_KEY, b"")) == b"location"}
    return sorted(path.parent / name for name in names)


def _entries(message: memoryview, way: tuple[int, ...]) -> Iterator[dict[int, memoryview]]:
    if not way:
        yield dict(_fields(message))
        return
    for number, value in _fields(message):
        if number == way[0]:
            yield from _entries(value, way[1:])


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The fields of a message that have bytes, by number; the others are passed over."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        kind = tag & 7
        if kind == _BYTES:
            length, place = _varint(message, place)
            yield tag >> 3, message[place : place + length]
            place += length
        elif kind == _VARINT:
            _, place = _varint(message, place)
        else:
            place += {_FIXED64: 8, _FIXED32: 4}[kind]


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """A number of variable length, and the place behind it."""
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
