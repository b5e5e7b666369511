"""The index's file: a mark, a header in JSON, arrays, and a checksum over all of it. It appears
whole or not at all.

Layout, little-endian: 8 bytes mark, 4 bytes length of the header, the header, the arrays one after
the other as the header lets one know, 4 bytes CRC-32 of all before.
"""

from __future__ import annotations

import json
import os
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from trireid.samples.durable import PRIVATE_FILE
from trireid.samples.errors import GalleryError, IndexFileError
from trireid.samples.files import open_regular

MARK: Final = b"TRIREIDX"
_NUMBER: Final = 4
_MOST_HEADER: Final = 1 << 20


def write(path: Path, header: Mapping[str, Any], arrays: Iterable[NDArray[Any]]) -> None:
    """Write a file in one step: whoever looks sees the old one or the new, also after a crash."""
    draft = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    text = json.dumps(header).encode()
    try:
        with draft.open("wb") as out:
            draft.chmod(PRIVATE_FILE)
            total = 0
            for part in chain((MARK, len(text).to_bytes(_NUMBER, "little"), text), _flat(arrays)):
                out.write(part)
                total = zlib.crc32(part, total)
            out.write(total.to_bytes(_NUMBER, "little"))
            out.flush()
            os.fsync(out.fileno())
        os.replace(draft, path)
        _sync(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def _flat(arrays: Iterable[NDArray[Any]]) -> Iterator[bytes]:
    for array in arrays:
        if array.size:
            yield np.ascontiguousarray(array).tobytes()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Reader:
    """A file being read.

    `header`: as it was written; nothing is to be trusted before `finish` has returned.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._source, self._total = source, 0
        self._left = os.fstat(source.fileno()).st_size
        if bytes(self._take(len(MARK))) != MARK:
            raise ValueError("it is no index of a gallery")
        length = int.from_bytes(self._take(_NUMBER), "little")
        if length > _MOST_HEADER:
            raise ValueError("its header is too long")
        self.header: dict[str, Any] = json.loads(bytes(self._take(length)))
        if not isinstance(self.header, dict):
            raise ValueError("its header is no mapping")

    @property
    def left(self) -> int:
        """Bytes that were not read yet."""
        return self._left

    def array(self, kind: DTypeLike, *shape: int) -> NDArray[Any]:
        """The next array."""
        if min(shape) < 0:
            raise ValueError("it holds a negative size")
        wanted = np.dtype(kind).itemsize * int(np.prod(shape, dtype=object))
        return np.frombuffer(self._take(wanted), kind).reshape(shape)

    def finish(self) -> None:
        """Check that all has been read, and that the checksum fits. Raises ValueError."""
        total = self._total
        if int.from_bytes(self._take(_NUMBER), "little") != total or self._left:
            raise ValueError("its checksum does not fit")

    def _take(self, size: int) -> bytearray:
        if size > self._left:
            raise ValueError("it is cut short")
        content = bytearray(size)
        if self._source.readinto(content) != size:  # type: ignore[attr-defined]
            raise ValueError("it is cut short")
        self._left -= size
        self._total = zlib.crc32(content, self._total)
        return content


@contextmanager
def reading(path: Path) -> Iterator[Reader]:
    """Read a file.

    Raises GalleryError (code `index`) for one that is absent, foreign, cut short, or damaged.
    """
    try:
        with open_regular(path) as source:
            yield Reader(source)
    except OSError as error:
        raise unusable(path, error.strerror or str(error)) from error
    except (
        ValueError,
        LookupError,
        TypeError,
        ArithmeticError,
        MemoryError,
        RuntimeError,
    ) as error:  # RuntimeError: FAISS
        if isinstance(error, GalleryError):
            raise
        raise unusable(path, str(error)) from error


def unusable(path: Path, why: str) -> GalleryError:
    """The error for an index file that cannot be used."""
    return IndexFileError(
        f"{path}: cannot be used as the gallery's index ({why}); build it anew from the store",
        str(path),
    )
