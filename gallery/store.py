"""The store: one SQLite file per gallery that holds the truth. A write is durable when it returns.

Whoever derives something from it keeps up through `changes`: keys only grow, and every removal leaves its key in `removals`.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gallery.where import Condition, checked_text
from samples import MODALITIES, GalleryError, Modality
from samples.durable import sync_folder

FILE: Final = "gallery.db"
VERSION: Final = 1
_BUSY_SECONDS: Final = 30.0
_SCHEMA: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE items (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    identity TEXT, camera INTEGER, scene TEXT, time TEXT, kind TEXT,
    attributes TEXT NOT NULL,
    digest TEXT NOT NULL,
    embedding BLOB NOT NULL
) STRICT;
CREATE INDEX items_identity ON items (identity);
CREATE INDEX items_camera ON items (camera);
CREATE INDEX items_digest ON items (digest);
CREATE TABLE pictures (
    key INTEGER NOT NULL REFERENCES items (key) ON DELETE CASCADE,
    modality TEXT NOT NULL, path TEXT, data BLOB, thumbnail BLOB NOT NULL,
    PRIMARY KEY (key, modality)
) STRICT;
CREATE TABLE removals (sequence INTEGER PRIMARY KEY AUTOINCREMENT, key INTEGER NOT NULL) STRICT;
"""


@dataclass(frozen=True)
class StoredPicture:
    """A picture of an item: `path` of its file or `data`, its bytes, where kept, and a small JPEG to show."""

    modality: Modality
    thumbnail: bytes
    path: str | None = None
    data: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Item:
    """A row of the store. `embedding` float32 [D]; `digest`: of its pictures."""

    id: str
    embedding: NDArray[np.float32]
    digest: str
    identity: str | None = None
    camera: int | None = None
    scene: str | None = None
    time: str | None = None
    kind: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    pictures: Sequence[StoredPicture] = ()


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of a stored item, without its embedding and pictures."""

    key: int
    id: str
    identity: str | None
    camera: int | None
    scene: str | None
    time: str | None
    kind: str | None
    attributes: dict[str, Any]
    modalities: tuple[str, ...]


@dataclass(frozen=True)
class Position:
    """How far into the store's history a reader has seen."""

    key: int = 0
    removal: int = 0


@dataclass(frozen=True)
class Changes:
    """What came after a position: removed keys, then added keys int64 [n] with their embeddings float32 [n, D]."""

    removed: NDArray[np.int64]
    keys: NDArray[np.int64]
    embeddings: NDArray[np.float32]
    position: Position


class Store:
    """One connection to a gallery's file. Not for several threads at once: the gallery holds the lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with _reported(folder):
            self._db = _connected(folder / FILE)

    @classmethod
    def create(cls, folder: Path, meta: Mapping[str, str]) -> None:
        """Make an empty store in `folder`, in one step: whoever looks sees none or a whole one, also after a crash."""
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f"{FILE}.new-{os.getpid()}-{threading.get_ident()}"
        with _reported(folder):
            database = _connected(draft)
            with closing(database):
                database.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
                database.executemany("INSERT INTO meta VALUES (?, ?)", {"version": str(VERSION), **meta}.items())
        try:
            os.link(draft, folder / FILE)
        except FileExistsError:
            pass  # another process was quicker
        finally:
            draft.unlink()
        for each in (folder, folder.parent):
            sync_folder(each)

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def meta(self) -> dict[str, str]:
        """What is recorded of the gallery as a whole. Raises GalleryError for a store of another version."""
        with _reported(self.folder):
            if self._db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").fetchone() is None:
                raise sqlite3.DatabaseError("it has no table of its own description")
            meta: dict[str, str] = dict(self._db.execute("SELECT name, value FROM meta"))
        if meta.get("version") != str(VERSION):
            raise GalleryError(
                f"{self.folder}: its store has version {meta.get('version')}, this trireid reads {VERSION}", str(self.folder)
            )
        return meta

    def __len__(self) -> int:
        count: int = self._db.execute("SELECT count(*) FROM items").fetchone()[0]
        return count

    def add(self, items: Iterable[Item]) -> None:
        """Add items in one transaction, replacing those whose id is there."""
        with self._transaction():
            for item in items:
                self._remove("id = ?", [item.id])
                self._insert(item)

    def remove(self, condition: Condition) -> int:
        """Remove the items that the condition holds for, in one transaction; returns how many."""
        with self._transaction():
            removed = self._remove(*condition)
        with _reported(self.folder):  # what was removed shall not stay readable in the write-ahead log
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return removed

    def keys(self, condition: Condition) -> NDArray[np.int64]:
        """The keys of the items that the condition holds for, int64 [n]."""
        where, values = condition
        with _reported(self.folder):
            rows = self._db.execute(f"SELECT key FROM items WHERE {where}", values).fetchall()
        return np.array([key for (key,) in rows], np.int64)

    def known(self, keys: Sequence[int]) -> dict[int, Known]:
        """What is known of the items with these keys; keys that are gone are left out."""
        columns = "key, id, identity, camera, scene, time, kind, attributes"
        modalities = "(SELECT group_concat(modality) FROM pictures WHERE pictures.key = items.key)"
        found = {}
        with _reported(self.folder):
            query = f"SELECT {columns}, {modalities} FROM items WHERE key = ?"
            rows = [(key, self._db.execute(query, [key]).fetchone()) for key in keys]
        for key, row in rows:
            if row is not None:
                *values, attributes, has = row
                names = ("key", "id", "identity", "camera", "scene", "time", "kind")
                found[key] = Known(
                    **dict(zip(names, values, strict=True)),
                    attributes=json.loads(attributes),
                    modalities=tuple(modality for modality in MODALITIES if modality in (has or "")),
                )
        return found

    def known_ids(self) -> set[str]:
        """Every item's id."""
        return {row[0] for row in self._db.execute("SELECT id FROM items")}

    def digests(self) -> dict[str, str]:
        """The pictures' digest of every item, and the item's id."""
        return dict(self._db.execute("SELECT digest, id FROM items"))

    def picture(self, key: int, modality: str) -> StoredPicture | None:
        """One picture of an item."""
        row = self._db.execute(
            "SELECT modality, thumbnail, path, data FROM pictures WHERE key = ? AND modality = ?", [key, modality]
        ).fetchone()
        return None if row is None else StoredPicture(*row)

    def changes(self, since: Position, dimension: int) -> Changes:
        """All that was added and removed after a position, as one consistent view."""
        with self._transaction("DEFERRED"):
            removed = self._db.execute(
                "SELECT sequence, key FROM removals WHERE sequence > ? ORDER BY sequence", [since.removal]
            ).fetchall()
            added = self._db.execute("SELECT key, embedding FROM items WHERE key > ? ORDER BY key", [since.key]).fetchall()
        position = Position(added[-1][0] if added else since.key, removed[-1][0] if removed else since.removal)
        keys = np.array([key for key, _ in added], np.int64)
        joined = b"".join(embedding for _, embedding in added)
        embeddings = np.frombuffer(joined, np.float32).reshape(len(added), dimension)
        return Changes(np.array([key for _, key in removed], np.int64), keys, embeddings, position)

    def _insert(self, item: Item) -> None:
        attributes = _json(item.attributes)
        embedding = np.ascontiguousarray(item.embedding, np.float32).tobytes()
        values = (item.id, item.identity, item.camera, item.scene, item.time, item.kind, attributes, item.digest, embedding)
        cursor = self._db.execute(
            "INSERT INTO items (id, identity, camera, scene, time, kind, attributes, digest, embedding)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            values,
        )
        self._db.executemany(
            "INSERT INTO pictures VALUES (?, ?, ?, ?, ?)",
            [(cursor.lastrowid, p.modality, p.path, p.data, p.thumbnail) for p in item.pictures],
        )

    def _remove(self, where: str, values: Sequence[Any]) -> int:
        self._db.execute(f"INSERT INTO removals (key) SELECT key FROM items WHERE {where}", values)
        return self._db.execute(f"DELETE FROM items WHERE {where}", values).rowcount

    @contextmanager
    def _transaction(self, mode: str = "IMMEDIATE") -> Iterator[None]:
        with _reported(self.folder):
            self._db.execute(f"BEGIN {mode}")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise


def _connected(file: Path) -> sqlite3.Connection:
    database = sqlite3.connect(file, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
            database.execute(f"PRAGMA {pragma}")
    except BaseException:
        database.close()
        raise
    return database


@contextmanager
def _reported(folder: Path) -> Iterator[None]:
    """Turn SQLite's errors into one line that names the gallery, with the code `store`."""
    try:
        yield
    except sqlite3.Error as error:
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            what = f"another process has been writing for over {_BUSY_SECONDS:.0f} s; try again"
        elif isinstance(error, sqlite3.OperationalError):
            what = f"its store cannot be used: {error}"
        else:
            what = f"{FILE} is not a gallery's store, or is damaged: {error}"
        raise GalleryError(f"{folder}: {what}", str(folder), "store") from error


def _json(attributes: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(dict(attributes), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise GalleryError(f"attributes: can hold text, numbers, lists and objects only: {error}", "attributes") from error
    return checked_text(text, "attributes")
