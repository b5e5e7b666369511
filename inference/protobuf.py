"""The fields of a protobuf file, without reading what they hold: serving does without the package
onnx.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED: Final = {_FIXED64: 8, _FIXED32: 4}
_VARINT_BITS: Final = 64


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
        field = Field(tag >> 3, start, *_value(file, tag & 7))
        if field.stop > stop:
            raise ProtobufError("a field is longer than its message")
        yield field
        start = field.stop


def _value(file: BinaryIO, kind: int) -> tuple[int, int]:
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
