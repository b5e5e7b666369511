"""Which files next to an ONNX hold its weights: read from the protobuf itself, since serving does
without the package onnx.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final

from trireid.inference.protobuf import iterate_fields

#: Where a tensor can be, from the whole file down: of each message, the number of a field and the
#: message that it holds.
_MESSAGES: Final[Mapping[str, Mapping[int, str]]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
_KEY, _VALUE = 1, 2


def external_files(path: Path) -> list[Path]:
    """Return the files that hold weights of an ONNX file, sorted; none if all weights are inside.

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
