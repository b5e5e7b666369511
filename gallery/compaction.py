"""Compaction: the store's file gives its free pages back to the file system, without a copy in a
folder for temporary files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Final

from trireid.gallery.reserve import disk_full
from trireid.gallery.store import FILE, Store
from trireid.samples.errors import StoreError

#: Pages given back in one transaction, where there is no space to write the file again.
_STEP: Final = 256
_COPIES: Final = 2.1
#: In a process of its own, for SQLite asks the environment where to put temporary files. It unlinks
#: them while it writes them, so that a kill leaves none.
_VACUUM: Final = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
pragmas = {"trusted_schema": "OFF", "secure_delete": "ON", "temp_store": "FILE"}
for name, value in {**pragmas, "auto_vacuum": "INCREMENTAL"}.items():
    database.execute(f"PRAGMA {name} = {value}")
try:
    database.execute("VACUUM")
except sqlite3.Error as error:
    is_full = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
    sys.exit("full" if is_full else str(error))
"""


def compact_store(store: Store) -> None:
    """Write the store's file again without its free pages; where the disk has no space for that,
    move its last pages into them.

    Raises GalleryError where neither is possible.
    """
    if not _has_space(store) and _give_back_pages(store):
        return
    environment = {**os.environ, "SQLITE_TMPDIR": str(store.folder)}
    command = [sys.executable, "-I", "-c", _VACUUM, str(store.folder / FILE)]
    outcome = subprocess.run(
        command, env=environment, stderr=subprocess.PIPE, text=True, check=False
    )
    reason = outcome.stderr.strip()
    if outcome.returncode == 0:
        return
    if reason != "full":
        raise StoreError(
            f"{store.folder}: cannot be compacted: {reason or outcome.returncode}",
            str(store.folder),
        )
    if not _give_back_pages(store):
        raise disk_full(store.folder)


def _give_back_pages(store: Store) -> bool:
    """Move pages from the end of the file into free ones, step by step;

    False for a file that was not made for it.
    """
    if store.run("PRAGMA auto_vacuum") != [(2,)]:
        return False
    (free,) = store.run("PRAGMA freelist_count")[0]
    for _ in range(0, free, _STEP):
        store.run("PRAGMA wal_checkpoint(PASSIVE)")
        store.free_pages(_STEP)
    return True


def _has_space(store: Store) -> bool:
    """Whether the file can be written again: to a temporary file, and then to the log."""
    names = ("page_count", "freelist_count", "page_size")
    pages, free, size = (store.run(f"PRAGMA {name}")[0][0] for name in names)
    return bool(shutil.disk_usage(store.folder).free > _COPIES * (pages - free) * size)
