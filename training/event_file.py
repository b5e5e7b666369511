"""TensorBoard's event files, scalars only, written without TensorBoard.

The format: records of [length u64][masked CRC-32C of it u32][data][masked CRC-32C of them u32],
little-endian, each a protocol buffer `Event`. Source: TensorFlow, `core/lib/io/record_writer` and
`core/util/event.proto`. Writing the four fields used here takes less code than the `tensorboard`
package takes dependencies.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path

_POLYNOMIAL = 0x82F63B78
_MASK_DELTA = 0xA282EAD8
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class EventFile:
    """One file of scalars under `folder`; TensorBoard shows a folder's files as one run."""

    def __init__(self, folder: Path, start: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"events.out.tfevents.{int(time.time())}.trireid.{os.getpid()}.{start}"
        self._write(_event(0, _field(3, _BYTES, b"brain.Event:2")))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add one value per name at a step."""
        summaries = b"".join(
            _field(
                1,
                _BYTES,
                _field(1, _BYTES, name.encode()) + _field(2, _FIXED32, struct.pack("<f", value)),
            )
            for name, value in values.items()
        )
        self._write(_event(step, _field(5, _BYTES, summaries)))

    def _write(self, data: bytes) -> None:
        length = struct.pack("<Q", len(data))
        with self.path.open("ab") as file:
            file.write(length + _checksum(length) + data + _checksum(data))


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli), as RFC 3720 has it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _entry(index: int) -> int:
    for _ in range(8):
        index = (index >> 1) ^ (_POLYNOMIAL if index & 1 else 0)
    return index


_TABLE = tuple(_entry(index) for index in range(256))


def _checksum(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF)


def _event(step: int, what: bytes) -> bytes:
    return (
        _field(1, _FIXED64, struct.pack("<d", time.time()))
        + _field(2, _VARINT, _varint(step))
        + what
    )


def _field(number: int, wire: int, content: bytes) -> bytes:
    return (
        _varint(number << 3 | wire) + (_varint(len(content)) if wire == _BYTES else b"") + content
    )


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
