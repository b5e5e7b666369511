"""The store: one SQLite file per gallery that holds the truth.

A write is durable when it returns.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace as changed
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trireid.gallery.actor import current_actor, note_replaced
from trireid.gallery.filters import COLUMNS, EXPIRED, Condition, parse_instant
from trireid.gallery.index import LAST_KEY
from trireid.gallery.items import Added, Item, ItemRecord, LogPosition, StoredImage
from trireid.gallery.limits import attributes_text
from trireid.gallery.opening import BUSY_SECONDS, connect
from trireid.gallery.reserve import disk_full, is_out_of_space, with_reserve
from trireid.gallery.rights import warn_of_wide_rights
from trireid.gallery.schema import SCHEMA, UPGRADES, VERSION, upgrade, vectors_table
from trireid.gallery.schema_check import VersionError
from trireid.gallery.scoring import make_mask
from trireid.gallery.stored_values import (
    MOST_ATTRIBUTES,
    MOST_AUDIT,
    MOST_THUMBNAIL,
    check_embeddings,
    check_images,
    check_keys,
    check_known,
    check_last_key,
    check_masks,
    check_meta,
    check_number,
    check_texts,
    limit_length,
    load_object,
    make_damage_error,
)
from trireid.samples import MODALITIES
from trireid.samples.atomic_write import make_private, sync, sync_folder, write_private
from trireid.samples.errors import (
    GalleryLockedError,
    GalleryMovedError,
    GalleryReadOnlyError,
    ItemExistsError,
    StoreError,
)
from trireid.samples.text import list_forms

FILE: Final = "gallery.db"
_BLOCK: Final = 8192
#: Ids of replaced items in a line of the audit, at most.
_NAMED: Final = 100
_YEAR_9999: Final = 253_370_764_800
_COLUMNS: Final = ("key", *COLUMNS, "present")
#: The values that `check_known` and `check_images` take, bounded.
KNOWN: Final = ", ".join(
    [
        "key",
        *(name if name == "camera" else limit_length(name) for name in COLUMNS),
        "present",
        limit_length("attributes", MOST_ATTRIBUTES),
    ]
)
IMAGES: Final = ", ".join(
    [
        limit_length("modality", 8),
        limit_length("thumbnail", MOST_THUMBNAIL, "NULL"),
        limit_length("path"),
        "data",
    ]
)
#: More images than an item can have would be of a damaged index.
_FEW: Final = f"LIMIT {len(MODALITIES) + 1}"

log = logging.getLogger(__name__)


class Store:
    """One connection to a gallery's file.

    Not for several threads at once: the gallery holds the lock.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._db = with_reserve(folder, self._connect)
        with report_errors(folder):
            #: Whether the store may be read only: nothing of the gallery's folder is written then.
            self.read_only = bool(self._db.execute("PRAGMA query_only").fetchone()[0])

    def _connect(self) -> sqlite3.Connection:
        with report_errors(self.folder):
            return connect(self.folder / FILE)

    @classmethod
    def create(cls, folder: Path, meta: Mapping[str, str]) -> None:
        """Make an empty store in `folder`, in one step: others see none or a whole one,
        also after a crash.
        """
        make_private(folder)
        temporary = folder / f"{FILE}.new-{os.getpid()}-{threading.get_ident()}"
        with report_errors(folder):
            write_private(temporary, b"")  # its log has the same rights
            with closing(sqlite3.connect(temporary)) as empty:
                # so that it can be compacted on a full disk
                empty.execute("PRAGMA auto_vacuum = INCREMENTAL")
                empty.execute("PRAGMA journal_mode = WAL")
            with closing(connect(temporary, create=True)) as database:
                database.executescript(f"BEGIN; {SCHEMA} {vectors_table(1)} COMMIT;")
                values = {
                    "version": str(VERSION),
                    "generation": "1",
                    "erased": "1.0",
                    "mark": uuid.uuid4().hex,
                    **meta,
                }
                database.executemany("INSERT INTO meta VALUES (?, ?)", values.items())
        try:
            os.link(temporary, folder / FILE)
        except FileExistsError:
            pass  # another process was quicker
        finally:
            temporary.unlink()
        for each in (folder, folder.parent):
            sync_folder(each)

    def check_writable(self, what: str = "it") -> None:
        """Raise GalleryError (code `read_only`) if the store may only be read."""
        if self.read_only:
            raise read_only_error(self.folder, what)

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def meta(self) -> dict[str, str]:
        """Load the record of the gallery as a whole.

        Raises GalleryError for a store of a version that is not known.
        """
        with report_errors(self.folder):
            if (
                self._db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").fetchone()
                is None
            ):
                raise sqlite3.DatabaseError("it is empty")
            meta = self._meta()
            if meta.get("version") in UPGRADES:
                self.check_writable(
                    f"its store has version {meta['version']}, which is upgraded first, but it"
                )
                upgrade(self._db)
                meta = self._meta()
        check_meta(self.folder, meta)
        warn_of_wide_rights(self.folder, self.folder / FILE)
        return meta

    def __len__(self) -> int:
        return int(self.run("SELECT count(*) FROM items")[0][0])

    def add(self, items: Iterable[Item], generation: int, *, replace: bool = True) -> int:
        """Add items, within a transaction, replacing those whose id is there; their embeddings are
        of this generation.

        Returns how many were replaced. Raises GalleryMovedError where the gallery has moved to
        another network since, and without `replace` GalleryError (code `exists`) for an id that is
        there.
        """
        if self.generation() != generation:
            raise GalleryMovedError(self.folder)
        replaced = []
        for item in items:
            if sum(self._remove("id = ?", [form]) for form in list_forms(item.id)):
                if not replace:
                    raise ItemExistsError(f"id: {item.id!r} is there already", "id")
                replaced.append(item.id)
            self._insert(item, generation)
        if replaced:
            self.audit("replace", {"ids": replaced[:_NAMED], "replaced": len(replaced)})
            note_replaced(replaced)
        return len(replaced)

    def remove(self, condition: Condition, audited: Mapping[str, Any]) -> int:
        """Remove the items that the condition holds for, in one transaction; returns how many.

        A line of the audit says `audited` and how many. From the commit on an erasure is pending:
        see `erasable`.
        """
        with self.transaction():
            removed = self._remove(*condition)
            if removed:
                self.audit("remove", {**audited, "removed": removed})
        return removed

    def audit(self, action: str, what: Mapping[str, Any]) -> None:
        """Write a line of the audit, within a transaction."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        line = json.dumps({**what, "by": current_actor()})
        self._db.execute(
            "INSERT INTO audit (at, action, what) VALUES (?, ?, ?)", [now, action, line]
        )

    def read_audit(self) -> list[tuple[str, str, dict[str, Any]]]:
        """The audit: when, what was done, to what; oldest first."""
        rows = self.run(
            f"SELECT {limit_length('at')}, {limit_length('action')},"
            f" {limit_length('what', MOST_AUDIT)} FROM audit ORDER BY sequence"
        )
        check_texts(
            self.folder, (value for row in rows for value in row[:2]), "a line of the audit"
        )
        try:
            return [(at, action, load_object(what, MOST_AUDIT)) for at, action, what in rows]
        except ValueError as error:
            raise make_damage_error(self.folder, f"a line of its audit: {error}") from error

    def find_erasable(self) -> str:
        """The last change by which content went: every removal and every move to another network
        makes it another one.
        """
        position = self.position()
        return f"{position.generation}.{position.removal}"

    def read_erased(self) -> str | None:
        """Up to which such change no file of the folder holds what went any more;

        None after a compaction.
        """
        rows = self.run("SELECT value FROM meta WHERE name = 'erased'")
        return str(rows[0][0]) if rows else None

    def record_erased(self, point: str) -> None:
        """Record, within a transaction, up to where files have been cleared."""
        self.run("INSERT OR REPLACE INTO meta VALUES ('erased', ?)", [point])

    def keys(self, condition: Condition, after: int = 0) -> NDArray[np.int64]:
        """The keys over `after` of the items that the condition holds for, int64 [n], growing."""
        where, values = condition
        rows = self.run(
            f"SELECT key FROM items WHERE key > ? AND ({where}) ORDER BY key", [after, *values]
        )
        return np.fromiter((key for (key,) in rows), np.int64, len(rows))

    def find_expired(self, now: float) -> NDArray[np.int64]:
        """The keys int64 [n], growing, of the items past their `expires` at a time in seconds since
        1970.
        """
        # The index is named, for without statistics SQLite may walk through every item instead.
        rows = self.run(f"SELECT key FROM items INDEXED BY items_expiry WHERE {EXPIRED}", [now])
        return np.sort(np.fromiter((key for (key,) in rows), np.int64, len(rows)))

    def load_records(self, keys: Sequence[int], *, may_omit: bool = False) -> dict[int, ItemRecord]:
        """Load the metadata of the items with these keys; keys that are gone are left out.

        Attributes of over 64 KiB, of a store that was filled without a limit, are an error, or left
        out with `may_omit`.
        """
        found = {}
        query = f"SELECT {KNOWN} FROM items WHERE key IN (SELECT value FROM json_each(?))"
        for *values, attributes in self.run(query, [json.dumps(list(keys))]):
            is_omitted = may_omit and attributes == b""  # `bounded` has not even loaded them
            known = check_known(
                self.folder,
                dict(zip(_COLUMNS, values, strict=True)),
                "{}" if is_omitted else attributes,
            )
            known = changed(known, attributes_omitted=is_omitted)
            found[known.key] = known
        return found

    def embeddings(self, keys: Sequence[int], generation: int) -> dict[int, NDArray[np.float32]]:
        """The embeddings float32 [D] of the items with these keys, as they were made."""
        dimension = self._dimension()
        query = (
            f"SELECT key, {limit_length('embedding', 4 * dimension)} FROM vectors_{generation}"
            " WHERE key IN (SELECT value FROM json_each(?))"
        )
        rows = self.run(query, [json.dumps(list(keys))])
        embeddings = check_embeddings(
            self.folder, [key for key, _ in rows], [row for _, row in rows], dimension
        )
        return {key: embedding for (key, _), embedding in zip(rows, embeddings, strict=True)}

    def load_ids(self) -> set[str]:
        """Every item's id."""
        ids = [row[0] for row in self.run(f"SELECT {limit_length('id')} FROM items")]
        check_texts(self.folder, ids, "an item's id")
        return set(ids)

    def digests(self) -> dict[str, str]:
        """The images' digest of every item, and the item's id."""
        rows = self.run(f"SELECT {limit_length('digest')}, {limit_length('id')} FROM items")
        check_texts(self.folder, (value for row in rows for value in row), "an item's id or digest")
        return dict(rows)

    def image(self, key: int, modality: str) -> StoredImage | None:
        """One image of an item."""
        return next((image for image in self.images(key) if image.modality == modality), None)

    def images(self, key: int) -> list[StoredImage]:
        """Every image of an item."""
        return check_images(
            self.folder, key, self.run(f"SELECT {IMAGES} FROM pictures WHERE key = ? {_FEW}", [key])
        )

    def generation(self) -> int:
        """Which generation of embeddings the gallery uses."""
        return self._number(self.run("SELECT value FROM meta WHERE name = 'generation'")[0][0])

    def _dimension(self) -> int:
        return self._number(self.run("SELECT value FROM meta WHERE name = 'dimension'")[0][0])

    def _number(self, value: Any) -> int:
        """A number of `meta`, which another process may have changed since that was checked."""
        return check_number(
            self.folder,
            int(value) if str(value).isdecimal() else value,
            "its generation or dimension",
        )

    def position(self) -> LogPosition:
        """The store's current position."""
        # never falls, whatever is removed
        last = "(SELECT seq FROM sqlite_sequence WHERE name = '{}')"
        query = (
            f"SELECT value, {last.format('items')}, {last.format('removals')},"
            " (SELECT min(key) FROM items), (SELECT max(key) FROM items)"
            " FROM meta WHERE name = 'generation'"
        )
        generation, key, removal, oldest, newest = self.run(query)[0]
        removal = check_number(self.folder, removal or 0, "the number of removals", 2**62)
        last_key = check_last_key(self.folder, key or 0)
        if oldest is not None and not 1 <= oldest <= newest <= last_key:
            raise make_damage_error(
                self.folder,
                f"it has items {oldest} to {newest}, and its keys go from 1 to {last_key}",
            )
        return LogPosition(self._number(generation), last_key, removal)

    def mark(self) -> str:
        """The mark that tells this store from every other."""
        return str(self.run("SELECT value FROM meta WHERE name = 'mark'")[0][0])

    def reaches(self, position: LogPosition) -> bool:
        """Whether all that was removed after a position is still told; what came before is
        forgotten by `compact`.
        """
        forgotten = self.run("SELECT value FROM meta WHERE name = 'forgotten'")
        return not forgotten or position.removal >= int(forgotten[0][0])

    def read_added_at(self, key: int) -> float:
        """When an item was added, in seconds since 1970; 0 if that is not known."""
        added = next(
            (row[0] for row in self.run("SELECT added FROM items WHERE key = ?", [key])), 0
        )
        return float(added) if isinstance(added, int | float) and 0 <= added < _YEAR_9999 else 0.0

    def copy_to(self, file: Path) -> int:
        """Copy the whole store, as it is at one moment, into an empty file; returns how many items
        there are.
        """
        with report_errors(self.folder), closing(sqlite3.connect(file)) as copy:
            self._db.backup(copy)
            # the log goes into the file; the next opening makes a new one
            copy.execute("PRAGMA journal_mode = DELETE")
            count = int(copy.execute("SELECT count(*) FROM items").fetchone()[0])
        sync(file)
        return count

    def load_removals(self, since: LogPosition) -> NDArray[np.int64]:
        """The keys int64 [n] of what was removed after a position."""
        rows = self.run(
            "SELECT key FROM removals WHERE sequence > ? ORDER BY sequence", [since.removal]
        )
        return check_keys(self.folder, [key for (key,) in rows], self.position().key)

    def load_added(self, since: LogPosition, dimension: int) -> Iterator[Added]:
        """Iterate over what was added after a position and is still there, in blocks, so that
        memory stays bounded.
        """
        query = (
            f"SELECT items.key, {limit_length('embedding', 4 * dimension)}, present"
            f" FROM items LEFT JOIN vectors_{since.generation} USING (key)"
            " WHERE items.key > ? ORDER BY items.key"
        )
        with report_errors(self.folder):
            cursor = self._db.execute(query, [since.key])
        while rows := self._block(cursor):
            keys, vectors, masks = zip(*rows, strict=True)
            embeddings = check_embeddings(self.folder, keys, vectors, dimension)
            yield Added(
                check_keys(self.folder, keys, LAST_KEY), embeddings, check_masks(self.folder, masks)
            )

    def _block(self, cursor: sqlite3.Cursor) -> list[Any]:
        with report_errors(self.folder):
            return cursor.fetchmany(_BLOCK)

    def forget_removals(self) -> None:
        """Forget which keys were removed, within a transaction: a reader that has not seen it yet
        reads everything again.
        """
        self._db.execute(
            "INSERT OR REPLACE INTO meta VALUES ('forgotten', ?)", [str(self.position().removal)]
        )
        self._db.execute("DELETE FROM removals")
        # what is moved about lies in the log, too
        self._db.execute("DELETE FROM meta WHERE name = 'erased'")

    def free_pages(self, count: int) -> None:
        """Give `count` free pages back to the file system, in one transaction."""
        with report_errors(self.folder):
            # `execute` would stop after the first page
            self._db.executescript(f"PRAGMA incremental_vacuum({count})")

    def run(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run a statement of a part of this package that looks after the store.

        Raises GalleryError as every method does.
        """
        with report_errors(self.folder):
            return self._db.execute(statement, values).fetchall()

    @contextmanager
    def transaction(self, mode: str = "IMMEDIATE") -> Iterator[None]:
        """One transaction; `DEFERRED` for a consistent view."""
        with report_errors(self.folder):
            self._db.execute(f"BEGIN {mode}")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def begin_reading(self) -> None:
        """From the next statement on see the store as it is then, until `end_reading`."""
        self.run("BEGIN DEFERRED")

    def end_reading(self) -> None:
        """See the store as it is."""
        self.run("COMMIT")

    def _meta(self) -> dict[str, str]:
        return dict(self._db.execute("SELECT name, value FROM meta"))

    def _insert(self, item: Item, generation: int) -> None:
        present = make_mask(image.modality for image in item.images)
        values = {
            **{name: getattr(item, name) for name in (*COLUMNS, "digest")},
            "attributes": attributes_text(item.attributes),
            "present": present or 7,
            "instant": parse_instant(item.time),
            "expiry": parse_instant(item.expires),
            "added": time.time(),
        }
        cursor = self._db.execute(
            f"INSERT INTO items ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",
            list(values.values()),
        )
        embedding = np.ascontiguousarray(item.embedding, np.float32).tobytes()
        self._db.execute(
            f"INSERT INTO vectors_{generation} VALUES (?, ?)", [cursor.lastrowid, embedding]
        )
        self._db.executemany(
            "INSERT INTO pictures VALUES (?, ?, ?, ?, ?)",
            [(cursor.lastrowid, p.modality, p.path, p.data, p.thumbnail) for p in item.images],
        )

    def remove_keys(self, keys: Sequence[int]) -> None:
        """Remove the items with these keys, within a transaction."""
        self._remove("key IN (SELECT value FROM json_each(?))", [json.dumps(list(keys))])

    def _remove(self, where: str, values: Sequence[Any]) -> int:
        self._db.execute(f"INSERT INTO removals (key) SELECT key FROM items WHERE {where}", values)
        return self._db.execute(f"DELETE FROM items WHERE {where}", values).rowcount


@contextmanager
def report_errors(folder: Path) -> Iterator[None]:
    """Turn SQLite's errors into a StoreError, one line that names the gallery."""
    try:
        yield
    except sqlite3.Error as error:
        if _is_full(error, folder):
            raise disk_full(folder) from error
        if isinstance(error, VersionError):
            raise StoreError(f"{folder}: {error}", str(folder)) from error
        if "attempt to write a readonly database" in str(error):
            raise read_only_error(folder) from error
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            raise GalleryLockedError(
                f"{folder}: another process has been writing for over {BUSY_SECONDS:.0f} s; try"
                " again",
                str(folder),
            ) from error
        if isinstance(error, sqlite3.OperationalError):
            what = f"its store cannot be used: {error}"
        else:
            what = (
                f"{FILE} is not a gallery's store, or is damaged: {error}; `trireid gallery check`"
                " says what can be read"
            )
        raise StoreError(f"{folder}: {what}", str(folder)) from error


def read_only_error(folder: Path, what: str = "it") -> GalleryReadOnlyError:
    """Make the error for a change to a gallery that may be read only."""
    return GalleryReadOnlyError(
        f"{folder}: {what} is read-only; give its folder and files rights to be written, or copy"
        " it to where it can be",
        str(folder),
    )


def _is_full(error: sqlite3.Error, folder: Path) -> bool:
    """Whether there is no space on the disk:

    SQLite says so plainly, or of its shared memory as of an error of reading.
    """
    kind = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    return kind == sqlite3.SQLITE_FULL or (
        kind in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and is_out_of_space(folder)
    )
