"""How a process and the one that decodes its images speak: short JSON over a socket, bytes and
pixels in a file that both have.

The file lies in memory, and no process needs to wait for the other while it writes.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, Final

_LENGTH: Final = struct.Struct("<I")
_STRIP: Final = 4 << 20


def send_message(connection: socket.socket, content: Mapping[str, Any]) -> None:
    """Send a message."""
    text = json.dumps(content).encode()
    connection.sendall(_LENGTH.pack(len(text)) + text)


def receive_message(connection: socket.socket) -> dict[str, Any]:
    """Receive a message. Raises EOFError where the other end is closed."""
    (length,) = _LENGTH.unpack(_receive(connection, _LENGTH.size))
    content: dict[str, Any] = json.loads(_receive(connection, length))
    return content


def create_shared_file() -> int:
    """The descriptor of a file without a name, in memory where the system has such files."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("images")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def write_shared(shared: int, data: bytes, start: int = 0) -> None:
    """Write bytes from `start` on."""
    view = memoryview(data)
    while view:
        written = os.pwrite(shared, view, start)
        start, view = start + written, view[written:]


def read_shared(shared: int, size: int, start: int = 0) -> bytes:
    """Read exactly `size` bytes from `start` on. Raises EOFError where the file ends before."""
    parts = []
    while size:
        part = os.pread(shared, size, start)
        if not part:
            raise EOFError
        parts.append(part)
        start, size = start + len(part), size - len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def strips(width: int, height: int) -> Iterator[tuple[int, int, int]]:
    """An RGB image's rows in parts of a few megabytes: first row, row after the last, where the
    part's bytes begin.
    """
    rows = max(1, _STRIP // (3 * width))
    for top in range(0, height, rows):
        yield top, min(top + rows, height), 3 * width * top


def _receive(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return bytes(data)
