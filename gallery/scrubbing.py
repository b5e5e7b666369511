"""Scrubbing: SQLite overwrites what is deleted, but when it moves rows between pages it leaves
copies in their unused part.

Such copies outlive the row. A page's unused part lies between its list of cells and its first cell,
and means nothing to any reader; here it is filled with zeros, in the store's file itself. That is
safe while the write-ahead log is empty and its write lock held: then nothing else writes to the
file. Source: the file format, https://www.sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

#: Exit code: a reader or a writer is in the way.
BUSY: Final = 3
_SEGMENT: Final = 64 * 2**20
_B_TREES: Final = {2: 12, 5: 12, 10: 8, 13: 8}  # kinds of page: bytes of their header
#: From this many pages on, the first byte of a page that continues a row can be that of a b-tree
#: page.
_MOST_PAGES: Final = 2**25
_LOCKED_BYTE: Final = 2**30
_BUSY_SECONDS: Final = 0.3
_NICE: Final = 10
_opening = threading.Lock()
_descriptors: dict[tuple[int, int], int] = {}


def scrub(file: Path) -> int:
    """Clear the unused parts of a store's pages; returns 0, `BUSY`, or another exit code for an
    error.
    """
    if not is_large(file):
        return _scrub_here(str(file))
    # so that searches go on at their pace
    command = [sys.executable, "-I", "-S", os.path.abspath(__file__), str(file)]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    ).returncode


def is_large(file: Path) -> bool:
    """Whether clearing a store takes so long that no answer waits for it."""
    return file.stat().st_size > _SEGMENT


def dirty_parts(
    data: bytes, first: int, size: int, usable: int, *, has_map: bool
) -> Iterator[tuple[int, int]]:
    """Yield begin and end within `data` of each unused part that is not zero;

    `first`: the number of the first page, from 1.
    """
    for begin in range(0, len(data) - size + 1, size):
        number = first + begin // size
        header = _B_TREES.get(data[begin])
        if header is None or number == 1 or (has_map and _is_map(number, size, usable)):
            continue
        cells = int.from_bytes(data[begin + 3 : begin + 5], "big")
        content = int.from_bytes(data[begin + 5 : begin + 7], "big") or 65536
        unused = header + 2 * cells
        if (
            unused < content <= usable
            and data.count(0, begin + unused, begin + content) < content - unused
        ):
            yield begin + unused, begin + content


def _is_map(number: int, size: int, usable: int) -> bool:
    """Whether a page is one of those that say where each page belongs, as stores have that can give
    pages back.
    """
    apart = usable // 5 + 1
    place = (number - 2) // apart * apart + 2
    return number == (place + 1 if place == _LOCKED_BYTE // size + 1 else place)


def _layout(head: bytes) -> tuple[int, int, bool]:
    """Page size, how much of a page is usable, and whether there are pages that say where each page
    belongs.
    """
    size = int.from_bytes(head[16:18], "big")
    size = 65536 if size == 1 else size
    return size, size - head[20], any(head[52:56])


def _offsets(descriptor: int, size: int) -> range:
    """Find the starts of the file's segments; none of a file so large that its pages cannot be told
    apart.
    """
    end = os.fstat(descriptor).st_size
    return range(0, end if end // size < _MOST_PAGES else 0, _SEGMENT // size * size)


def _scrub_here(path: str) -> int:
    # SQLite has the log of a store that is a link next to the file that it leads to
    path = os.path.realpath(path)
    where = f"file:{quote(os.path.abspath(path))}?mode=rw"
    database = sqlite3.connect(where, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        for statement in ("trusted_schema = OFF", "synchronous = FULL", "secure_delete = ON"):
            database.execute(f"PRAGMA {statement}")
        descriptor = _descriptor(path)
        size, usable, has_map = _layout(os.pread(descriptor, 100, 0))
        for offset in _offsets(descriptor, size):
            if not _lock(database, path):
                return BUSY
            data = os.pread(descriptor, _SEGMENT // size * size, offset)
            parts = list(dirty_parts(data, offset // size + 1, size, usable, has_map=has_map))
            for begin, end in parts:
                os.pwrite(descriptor, bytes(end - begin), offset + begin)
            if parts:
                os.fsync(descriptor)
                # A commit, by which every connection drops the pages that it has read before.
                database.execute(
                    "INSERT OR REPLACE INTO meta VALUES ('scrubbed', lower(hex(randomblob(8))))"
                )
            database.execute("COMMIT")
    except sqlite3.OperationalError as error:
        return BUSY if "locked" in str(error) else 1
    finally:
        database.close()
    return 0


def _descriptor(path: str) -> int:
    """A descriptor of the file, which is never closed: that would take this process's locks on the
    file with it.
    """
    with _opening:
        found = os.stat(path)
        mark = found.st_dev, found.st_ino
        if mark not in _descriptors:
            _descriptors[mark] = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        return _descriptors[mark]


def _lock(database: sqlite3.Connection, path: str) -> bool:
    """Hold the write lock while the log is empty: the store's file is all there is, and nothing
    else writes to it.
    """
    for _ in range(10):
        (busy, _, _) = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            return False
        database.execute("BEGIN IMMEDIATE")
        if not os.path.getsize(f"{path}-wal"):
            return True
        database.execute("ROLLBACK")
    return False


if __name__ == "__main__":
    os.nice(_NICE)
    sys.exit(_scrub_here(sys.argv[1]))
