"""Opening a store's file: what a stranger may have written into it runs nothing, and a read-only
copy stays as it is.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final
from urllib.parse import quote

from trireid.gallery.filters import parse_instant
from trireid.gallery.schema_check import check_schema
from trireid.samples.files import MAX_IMAGE_BYTES

BUSY_SECONDS: Final = 30.0
#: The largest value is an image that is kept inside, in a row with its thumbnail.
_MOST_BYTES: Final = MAX_IMAGE_BYTES + (16 << 20)
#: Before the schema is read: nothing in it may call functions, and pages that contradict themselves
#: are errors.
_DISTRUST: Final = ("trusted_schema = OFF", "cell_size_check = ON")
_PRAGMAS: Final = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    "secure_delete = ON",
    # a statement's journal of old pages would else go to the folder for temporary files
    "temp_store = MEMORY",
)


class ReadOnlyError(sqlite3.OperationalError):
    """A store that cannot be written to cannot be opened either."""


def connect(file: Path, *, create: bool = False) -> sqlite3.Connection:
    """Connect to a store; a commit is durable when it returns, and what is deleted is overwritten.

    The schema is checked first. A store whose file or folder may not be written to is opened for
    reading only. `create` makes an empty one.

    Raises:
        SchemaError: The file is not a store that this project made.
        sqlite3.Error: It cannot be opened, or is not a database.
    """
    read_only = is_read_only(file)
    _refuse_journal(file)
    mode = _mode(file) if read_only else "rwc" if create else "rw"
    where = f"file:{quote(os.path.abspath(file))}?mode={mode}"
    database = sqlite3.connect(
        where, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_BYTES)
        for pragma in _DISTRUST:
            database.execute(f"PRAGMA {pragma}")
        check_schema(database)
        for pragma in ("query_only = ON",) if read_only else _PRAGMAS:
            database.execute(f"PRAGMA {pragma}")
        database.create_function("parse_instant", 1, parse_instant, deterministic=True)
    except BaseException:
        database.close()
        raise
    return database


def is_read_only(file: Path) -> bool:
    """Whether a store is a copy to be read only: its file or folder has no right to be written, for
    this user or for any.
    """
    if not file.exists():
        return False
    return any(
        not os.access(each, os.W_OK) or not each.stat().st_mode & 0o222
        for each in (file, file.parent)
    )


def _refuse_journal(file: Path) -> None:
    """Refuse a rollback journal: a store never leaves one, and SQLite would delete a file of any
    name that it gives.
    """
    journal = file.with_name(f"{file.name}-journal")
    if journal.exists() and journal.stat().st_size:
        raise sqlite3.DatabaseError(
            f"{journal.name} shows that the copy was cut short; copy it again"
        )


def _mode(file: Path) -> str:
    """How to open a read-only store: as one that never changes, unless another process may be
    writing to it.
    """
    log, shared = (file.with_name(file.name + end) for end in ("-wal", "-shm"))
    if not log.exists() or not log.stat().st_size:
        return "ro&immutable=1"
    if not shared.exists():
        raise ReadOnlyError(
            f"{log.name} holds changes that a read-only copy cannot take in; open it where it can"
            " be written"
        )
    return "ro"
