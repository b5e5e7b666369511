"""ONNX files without the package onnx: their fields, their card, and the files of their weights.

Nothing here reads weights; a file of gigabytes costs a few seeks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from trireid.inference.card import METADATA_KEY

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED: Final = {_FIXED64: 8, _FIXED32: 4}
_VARINT_BITS: Final = 64
_METADATA: Final = 14
_KEY, _VALUE = 1, 2
_MAX_FIELDS: Final = 100_000
#: The messages that may hold a tensor, from the whole file down: of each, the number of a field
#: and the message that it holds.
_MESSAGES: Final[Mapping[str, Mapping[int, str]]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}


class ProtobufError(ValueError):
    """A file is not protobuf, or is cut off."""


@dataclass(frozen=True)
class Field:
    """One field of a message in a file: the offsets `begin` of its tag, `start` and `stop` of its
    value.
    """

    number: int
    begin: int
    start: int
    stop: int

    def read(self, file: BinaryIO) -> bytes:
        """Read the value."""
        file.seek(self.start)
        return file.read(self.stop - self.start)


def iterate_fields(file: BinaryIO, start: int, stop: int) -> Iterator[Field]:
    """Yield the fields of the message between two offsets, in their order. The file may be moved
    between two of them.

    Raises:
        ProtobufError: these bytes are not a message.
    """
    while start < stop:
        file.seek(start)
        tag = _read_varint(file)
        field = Field(tag >> 3, start, *_locate_value(file, tag & 7))
        if field.stop > stop:
            raise ProtobufError("a field is longer than its message")
        yield field
        start = field.stop


def find_cards(file: BinaryIO, size: int) -> list[Field]:
    """Return the metadata entries of a file that hold a card.

    Raises:
        ProtobufError: The file is not protobuf, is cut off, or has too many fields.
    """
    found = []
    for count, field in enumerate(iterate_fields(file, 0, size)):
        if count == _MAX_FIELDS:
            raise ProtobufError(f"it has over {_MAX_FIELDS} fields")
        if field.number == _METADATA and _is_card(file, field):
            found.append(field)
    return found


def has_card(path: Path) -> bool:
    """Whether an ONNX file carries a card of ours; also True if the file cannot be read as ONNX,
    which the runtime then says.
    """
    try:
        with path.open("rb") as file:
            return bool(find_cards(file, os.fstat(file.fileno()).st_size))
    except ProtobufError:
        return True


def read_card(path: Path) -> str:
    """Read the card of an ONNX file without a runtime, JSON.

    Raises:
        ProtobufError: The file is not protobuf, is cut off, or carries no card.
    """
    with path.open("rb") as file:
        for entry in find_cards(file, os.fstat(file.fileno()).st_size):
            for field in iterate_fields(file, entry.start, entry.stop):
                if field.number == _VALUE:
                    return field.read(file).decode()
    raise ProtobufError("it carries no card")


def external_card_path(path: Path) -> Path:
    """Return the file of an external model's card: next to it, `.json` for `.onnx`."""
    return path.with_suffix(".json")


def find_weight_files(path: Path) -> list[Path]:
    """Return the files next to an ONNX that hold its weights, sorted; none if all are inside.

    Raises:
        ProtobufError: the file is not protobuf, or is cut off.
    """
    with path.open("rb") as file:
        entries = _find_entries(file, "model", 0, os.fstat(file.fileno()).st_size)
        names = {entry[_VALUE].decode() for entry in entries if entry.get(_KEY) == b"location"}
    return sorted(path.parent / name for name in names)


def _find_entries(
    file: BinaryIO, message: str, start: int, stop: int
) -> Iterator[dict[int, bytes]]:
    """The entries of external data in a message; weights themselves are passed over unread."""
    if message == "entry":
        yield {field.number: field.read(file) for field in iterate_fields(file, start, stop)}
        return
    for field in iterate_fields(file, start, stop):
        if inner := _MESSAGES[message].get(field.number):
            yield from _find_entries(file, inner, field.start, field.stop)


def _is_card(file: BinaryIO, entry: Field) -> bool:
    keys = [
        field for field in iterate_fields(file, entry.start, entry.stop) if field.number == _KEY
    ]
    return bool(keys) and keys[-1].read(file) == METADATA_KEY.encode()


def _locate_value(file: BinaryIO, kind: int) -> tuple[int, int]:
    if kind == _VARINT:
        begin = file.tell()
        _read_varint(file)
        return begin, file.tell()
    if kind != _BYTES and kind not in _FIXED:
        raise ProtobufError(f"a field of the unknown type {kind}")
    length = _read_varint(file) if kind == _BYTES else _FIXED[kind]
    return file.tell(), file.tell() + length


def _read_varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, _VARINT_BITS + 6, 7):
        byte = file.read(1)
        if not byte:
            raise ProtobufError("it is cut off")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ProtobufError("a number is too long")
