"""The index's file: a mark, a header in JSON, arrays, and a checksum over all of it.

Little-endian: 8 bytes mark, 4 bytes length of the header, the header, then what was not removed:
the int8 ranges, the centroids, the keys, their tags, their codes, and the number, positions and
sketches of the vectors in each cell; at the end 4 bytes CRC-32 of all before.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from trireid.gallery.index.coarse_quantizer import CoarseQuantizer
from trireid.gallery.index.compaction import Compaction
from trireid.gallery.index.contract import LAST_KEY, Tags
from trireid.gallery.index.index_snapshot import IndexSnapshot
from trireid.gallery.index.operating_point import OperatingPoint
from trireid.gallery.index.quantization import Codec, Quantization
from trireid.gallery.index.segment import IndexSegment
from trireid.samples.atomic_write import PRIVATE_FILE
from trireid.samples.errors import IndexFileError
from trireid.samples.files import open_regular

MARK: Final = b"TRIREIDX"
#: The form of the header and the arrays.
LAYOUT: Final = 3
_NUMBER: Final = 4
_MOST_HEADER: Final = 1 << 20
#: Reading a damaged or external file may raise these; RuntimeError: FAISS.
_DAMAGE: Final = (ValueError, LookupError, TypeError, ArithmeticError, MemoryError, RuntimeError)


def save(path: Path, snapshot: IndexSnapshot, extra: Mapping[str, Any]) -> None:
    """Write a snapshot to a file; `extra` is JSON that comes back with it.

    Searches go on; adding waits while the segment that grows is copied.
    """
    snapshot = snapshot.freeze()
    first, point = snapshot.segments[0], snapshot.operating_point
    compaction = Compaction(snapshot.segments, snapshot.tags)
    header = {
        "layout": LAYOUT,
        "dimension": first.codec.dimension,
        "quantization": snapshot.quantization,
        "recall": snapshot.recall,
        "stored": first.codec.quantization,
        "last": len(snapshot.tags) - 1,
        "count": len(compaction.keys),
        "cells": 0 if first.coarse is None else len(first.coarse),
        "probes": point.probes,
        "factors": point.factors,
        "trained_for": snapshot.trained_for,
        "extra": dict(extra),
    }
    write(path, header, _arrays(first, compaction, snapshot.tags))


def _arrays(first: IndexSegment, compaction: Compaction, tags: Tags) -> Iterator[NDArray[Any]]:
    yield first.codec.ranges
    if first.coarse is not None:
        yield first.coarse.centroids
    yield compaction.keys
    yield tags[compaction.keys]
    for _, codes in compaction.codes():
        yield codes
    if first.coarse is not None:
        for positions, sketches in compaction.cells():
            yield np.array([len(positions)])
            yield positions
            yield sketches


def write(path: Path, header: Mapping[str, Any], arrays: Iterator[NDArray[Any]]) -> None:
    """Write a file of a header and arrays."""
    text, total = json.dumps(header).encode(), 0

    def put(part: bytes) -> None:
        nonlocal total
        out.write(part)
        total = zlib.crc32(part, total)

    with path.open("wb") as out:
        path.chmod(PRIVATE_FILE)
        for part in (MARK, len(text).to_bytes(_NUMBER, "little"), text):
            put(part)
        for array in arrays:
            put(array.tobytes())
        out.write(total.to_bytes(_NUMBER, "little"))
        out.flush()
        os.fsync(out.fileno())


class _Reader:
    """Reads a file; nothing in it is to be trusted before `finish` returns."""

    def __init__(self, source: BinaryIO) -> None:
        self._source, self._total = source, 0
        self._left = os.fstat(source.fileno()).st_size
        if self.array(np.uint8, len(MARK)).tobytes() != MARK:
            raise ValueError("it is not the index of a gallery")
        length = self._take_number()
        if length > _MOST_HEADER:
            raise ValueError("its header is too long")
        self.header: dict[str, Any] = json.loads(self.array(np.uint8, length).tobytes())
        if not isinstance(self.header, dict):
            raise ValueError("its header is not a mapping")

    def array(self, kind: Any, *shape: int) -> NDArray[Any]:
        """The next array."""
        self.require(np.dtype(kind).itemsize * int(np.prod(shape, dtype=object)))
        array = np.empty(shape, kind)
        self.fill(array)
        return array

    def fill(self, array: NDArray[Any]) -> None:
        """Read the next array into this one."""
        self.require(array.nbytes)
        if not array.size:
            return
        content = array.reshape(-1).view(np.uint8).data
        if self._source.readinto(content) != len(content):  # type: ignore[attr-defined]
            raise ValueError("it is cut short")
        self._left -= len(content)
        self._total = zlib.crc32(content, self._total)

    def require(self, size: int) -> None:
        """Raise ValueError unless this many bytes are left."""
        if not 0 <= size <= self._left:
            raise ValueError("it is cut short: it holds less than it says")

    def finish(self) -> None:
        """Raise ValueError unless all was read and the checksum fits."""
        total = self._total
        if self._take_number() != total or self._left:
            raise ValueError("its checksum does not fit")

    def _take_number(self) -> int:
        return int(self.array("<u4", 1)[0])


def load(
    path: Path, expected: Mapping[str, Any], last: int
) -> tuple[IndexSnapshot, dict[str, Any]]:
    """Read a file.

    Args:
        path: The file.
        expected: Values that its header must have.
        last: No key may be above this.

    Returns:
        The snapshot, of one sealed segment and an empty one, and the `extra` that was saved.

    Raises:
        IndexFileError: The file is absent, external, damaged or unexpected.
    """
    with _open(path) as reader:
        header = reader.header
        for name, value in {"layout": LAYOUT, **expected}.items():
            if header.get(name) != value:
                raise ValueError(f"its {name} is {header.get(name)}, not {value}")
        _check_header(header, last)
        segment, tags = _read_segment(reader)
        reader.finish()
    snapshot = IndexSnapshot(
        segments=(segment, IndexSegment(segment.codec, segment.coarse)),
        tags=tags,
        quantization=Quantization(header["quantization"]),
        recall=header["recall"],
        operating_point=OperatingPoint(
            header["cells"], tuple(header["probes"]), tuple(header["factors"])
        ),
        trained_for=header["trained_for"],
    )
    return snapshot, header["extra"]


@contextmanager
def _open(path: Path) -> Iterator[_Reader]:
    try:
        with open_regular(path) as source:
            yield _Reader(source)
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error
    except _DAMAGE as error:
        raise _unusable(path, str(error)) from error


def _unusable(path: Path, why: str) -> IndexFileError:
    message = f"{path}: cannot be used as the gallery's index ({why}); rebuild it from the store"
    return IndexFileError(message, str(path))


def _check_header(header: Mapping[str, Any], last: int) -> None:
    """Raise ValueError for numbers that no index has: a stranger may have written the file."""
    probes, factors = header["probes"], header["factors"]
    numbers = [header[name] for name in ("last", "count", "cells", "trained_for")]
    if not all(type(number) is int and 0 <= number <= LAST_KEY for number in numbers):
        raise ValueError("its header holds a number that no index has")
    if not all(type(each) is int and 0 < each <= LAST_KEY for each in (*probes, *factors)):
        raise ValueError("its operating point is not of whole numbers")
    if len(probes) != len(factors) or not isinstance(header["extra"], dict):
        raise ValueError("its header is not that of an index")
    if header["last"] > last:
        raise ValueError(f"its last key is {header['last']}, over {last}")


def _read_segment(reader: _Reader) -> tuple[IndexSegment, Tags]:
    header = reader.header
    dimension, stored = header["dimension"], Quantization(header["stored"])
    ranges = reader.array(np.float32, 2 * dimension if stored is Quantization.INT8 else 0)
    codec, coarse = Codec(dimension, stored, ranges), None
    if header["cells"]:
        coarse = CoarseQuantizer(reader.array(np.float32, header["cells"], dimension))
    reader.require(header["count"] * (8 + 1 + codec.size))
    segment = IndexSegment(codec, coarse, header["count"])
    keys, tags = segment.keys, np.zeros(header["last"] + 1, np.uint8)
    reader.fill(keys)
    tags_by_position = reader.array(np.uint8, len(keys))
    reader.fill(segment.codes)
    if len(keys) and (keys[0] < 0 or keys[-1] >= len(tags) or (keys[1:] <= keys[:-1]).any()):
        raise ValueError("its keys are not in order")
    tags[keys] = tags_by_position
    if not tags_by_position.all():
        raise ValueError("it holds what was removed")
    if coarse is not None:
        _read_cells(reader, segment, len(coarse))
    return segment, tags


def _read_cells(reader: _Reader, segment: IndexSegment, cells: int) -> None:
    """Read the sketches. Raises ValueError unless there is one for each position."""
    missing = np.ones(len(segment), bool)
    total = 0
    for cell in range(cells):
        size = int(reader.array(np.int64, 1)[0])
        positions = reader.array(np.int64, size)
        if size and not 0 <= positions.min() <= positions.max() < len(segment):
            raise ValueError("its cells hold positions that it does not have")
        segment.add_cell(cell, positions, reader.array(np.uint8, size, segment.sketch_size))
        missing[positions], total = False, total + size
    if missing.any() or total != len(segment):
        raise ValueError("its cells do not hold each vector once")
