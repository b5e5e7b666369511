"""The schemas of older stores, by which one that is to be upgraded is recognized."""

from __future__ import annotations

from typing import Final

_META: Final = "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;"
_INDEXES: Final = """
CREATE INDEX items_identity ON items (identity);
CREATE INDEX items_camera ON items (camera);
CREATE INDEX items_digest ON items (digest);
"""
_PICTURES: Final = """
CREATE TABLE pictures (
    key INTEGER NOT NULL REFERENCES items (key) ON DELETE CASCADE,
    modality TEXT NOT NULL, path TEXT, data BLOB, thumbnail BLOB NOT NULL,
    PRIMARY KEY (key, modality)
) STRICT;
CREATE TABLE removals (sequence INTEGER PRIMARY KEY AUTOINCREMENT, key INTEGER NOT NULL) STRICT;
"""
SCHEMA_1: Final = f"""
{_META}
CREATE TABLE items (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    identity TEXT, camera INTEGER, scene TEXT, time TEXT, kind TEXT,
    attributes TEXT NOT NULL,
    digest TEXT NOT NULL,
    embedding BLOB NOT NULL
) STRICT;
{_INDEXES}
{_PICTURES}
"""
SCHEMA_2: Final = f"""
{_META}
CREATE TABLE items (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    identity TEXT, camera INTEGER, scene TEXT, time TEXT, kind TEXT,
    attributes TEXT NOT NULL,
    digest TEXT NOT NULL,
    present INTEGER NOT NULL DEFAULT 7,
    instant REAL,
    added REAL NOT NULL DEFAULT 0
) STRICT;
{_INDEXES}
CREATE INDEX items_instant ON items (instant);
{_PICTURES}
CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, action TEXT NOT NULL, what TEXT NOT NULL
) STRICT;
"""
