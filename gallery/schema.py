"""The store's tables, their version, and how an older store becomes one of this version.

`items` are samples without embeddings; `vectors_N` their embeddings by the network of generation N,
so that a gallery moves to another network by filling a second table and then changing one line of
`meta`. Keys only grow, and every removal leaves its key in `removals`: code that derives something
from the store keeps up by the two.
"""

from __future__ import annotations

import sqlite3
from typing import Final

VERSION: Final = 3
SCHEMA: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE items (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    identity TEXT, camera INTEGER, scene TEXT, time TEXT, kind TEXT,
    attributes TEXT NOT NULL,
    digest TEXT NOT NULL,
    present INTEGER NOT NULL DEFAULT 7,
    instant REAL,
    added REAL NOT NULL DEFAULT 0,
    purpose TEXT, expires TEXT, expiry REAL
) STRICT;
CREATE INDEX items_identity ON items (identity);
CREATE INDEX items_camera ON items (camera);
CREATE INDEX items_digest ON items (digest);
CREATE INDEX items_instant ON items (instant);
CREATE INDEX items_expiry ON items (expiry) WHERE expiry IS NOT NULL;
CREATE TABLE pictures (
    key INTEGER NOT NULL REFERENCES items (key) ON DELETE CASCADE,
    modality TEXT NOT NULL, path TEXT, data BLOB, thumbnail BLOB NOT NULL,
    PRIMARY KEY (key, modality)
) STRICT;
CREATE TABLE removals (sequence INTEGER PRIMARY KEY AUTOINCREMENT, key INTEGER NOT NULL) STRICT;
CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, action TEXT NOT NULL, what TEXT NOT NULL
) STRICT;
"""
_MODALITY_BITS: Final = "CASE modality WHEN 'rgb' THEN 1 WHEN 'nir' THEN 2 ELSE 4 END"
_FROM_1: Final = f"""
ALTER TABLE items ADD COLUMN present INTEGER NOT NULL DEFAULT 7;
ALTER TABLE items ADD COLUMN instant REAL;
ALTER TABLE items ADD COLUMN added REAL NOT NULL DEFAULT 0;
UPDATE items SET present = (SELECT coalesce(sum({_MODALITY_BITS}), 7) FROM pictures WHERE pictures.key = items.key);
UPDATE items SET instant = parse_instant(time);
CREATE INDEX items_instant ON items (instant);
CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, action TEXT NOT NULL, what TEXT NOT NULL
) STRICT;
CREATE TABLE vectors_1 (key INTEGER PRIMARY KEY REFERENCES items (key) ON DELETE CASCADE, embedding BLOB NOT NULL) STRICT;
INSERT INTO vectors_1 SELECT key, embedding FROM items;
ALTER TABLE items DROP COLUMN embedding;
INSERT INTO meta VALUES ('generation', '1'), ('mark', lower(hex(randomblob(16))));
UPDATE meta SET value = '2' WHERE name = 'version';
"""
_FROM_2: Final = """
ALTER TABLE items ADD COLUMN purpose TEXT;
ALTER TABLE items ADD COLUMN expires TEXT;
ALTER TABLE items ADD COLUMN expiry REAL;
CREATE INDEX items_expiry ON items (expiry) WHERE expiry IS NOT NULL;
UPDATE meta SET value = '3' WHERE name = 'version';
"""
#: The steps from each older version to the next.
UPGRADES: Final = {"1": _FROM_1, "2": _FROM_2}


def vectors_table(generation: int) -> str:
    """The SQL that makes the table of a generation's embeddings."""
    columns = (
        "key INTEGER PRIMARY KEY REFERENCES items (key) ON DELETE CASCADE, embedding BLOB NOT NULL"
    )
    return f"CREATE TABLE IF NOT EXISTS vectors_{generation} ({columns}) STRICT;"


def upgrade(database: sqlite3.Connection) -> None:
    """Bring a store of an older version to this one, in one transaction; the embeddings stay as
    they are.
    """
    database.execute("BEGIN IMMEDIATE")
    try:
        while (
            version := database.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()[
                0
            ]
        ) in UPGRADES:
            for statement in UPGRADES[version].split(";\n"):
                database.execute(statement)
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
