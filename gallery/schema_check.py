"""Whether a store's schema is one that this project makes: read before any other statement runs on
a store.

A stranger may have written the file. Tables, columns, constraints and indexes are compared by their
SQL with those that this version makes or upgrades to; triggers, views, virtual tables, generated
columns and tables that do not belong there make a store unusable, for SQLite would run them with
the rights of the user who opens it.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from functools import cache
from typing import Final

from trireid.gallery.filters import parse_instant
from trireid.gallery.old_schemas import SCHEMA_1, SCHEMA_2
from trireid.gallery.schema import SCHEMA, UPGRADES, VERSION, vectors_table

VERSIONS: Final = ("1", "2", str(VERSION))
_MOST_OBJECTS: Final = 64
_MOST_SQL: Final = 4096
_VECTORS: Final = re.compile(r"vectors_([1-9][0-9]{0,8})")
#: Of ANALYZE, which an administrator may have run: figures for the planner.
_STATISTICS: Final = {
    ("table", name, name, sql.replace(" ", ""))
    for name, sql in {
        "sqlite_stat1": "CREATE TABLE sqlite_stat1(tbl,idx,stat)",
        "sqlite_stat4": "CREATE TABLE sqlite_stat4(tbl,idx,neq,nlt,ndlt,sample)",
    }.items()
}
#: Kind, name, table and SQL without white space, as in `sqlite_schema`.
Object = tuple[str, str, str, str]


class SchemaError(sqlite3.DatabaseError):
    """A store's schema is not one that this project makes."""


class VersionError(SchemaError):
    """A store is of a version that is not known here."""


def check_schema(database: sqlite3.Connection) -> None:
    """Compare the schema with those that this version reads; an empty database passes.

    Raises:
        SchemaError: The schema differs, with the first object that differs.
        VersionError: The store says that it is of another version.
        sqlite3.Error: The file is not a database, or is damaged.
    """
    database.execute("BEGIN")
    try:
        found = _objects(database)
        if found:
            _check_objects(found, *_version(database, found))
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")


def _check_objects(found: list[Object], version: str, generation: int | None) -> None:
    vectors = {_vectors(number) for number in (generation, generation + 1)} if generation else set()
    if generation and _vectors(generation) not in found:
        raise SchemaError(f"it has no table vectors_{generation}")
    rest = Counter(each for each in found if each not in vectors and each not in _STATISTICS)
    # a name that comes twice is refused
    rest.update({each: 2 for each, count in Counter(found).items() if count > 1})
    differences = [(rest - wanted, wanted - rest) for wanted in _build_expected(version)]
    more, fewer = min(differences, key=lambda each: each[0].total() + each[1].total())
    for kind, name, *_ in more:
        raise SchemaError(f"it holds the {kind} {name}, which is not as this trireid makes it")
    for kind, name, *_ in fewer:
        raise SchemaError(f"it lacks the {kind} {name}")


def _objects(database: sqlite3.Connection) -> list[Object]:
    rows = database.execute(
        "SELECT type, name, tbl_name, CASE WHEN length(sql) > ? THEN '' ELSE sql END FROM"
        " sqlite_schema LIMIT ?",
        [_MOST_SQL, _MOST_OBJECTS + 1],
    ).fetchall()
    if len(rows) > _MOST_OBJECTS:
        raise SchemaError(f"it holds over {_MOST_OBJECTS} tables, indexes and the like")
    return [
        (str(kind), str(name), str(table), "".join(str(sql).split()))
        for kind, name, table, sql in rows
    ]


def _version(database: sqlite3.Connection, found: list[Object]) -> tuple[str, int | None]:
    """The version and generation that a store says it has, if the table that says so is as
    expected.
    """
    if not any(each[1] == "meta" for each in found):
        raise SchemaError("it has no table of its own description")
    if not {each for each in _build_expected(str(VERSION))[0] if each[2] == "meta"} <= set(found):
        raise SchemaError("it holds the table meta, which is not as this trireid makes it")
    names = ("version", "generation")
    meta = dict(
        database.execute(f"SELECT name, value FROM meta WHERE name IN {names}").fetchmany(
            len(names) + 1
        )
    )
    version, generation = meta.get("version"), meta.get("generation")
    if version not in VERSIONS:
        raise VersionError(
            f"its store has version {str(version)[:20]}, this trireid reads {VERSION}"
        )
    if version == "1":
        return version, None
    if not isinstance(generation, str) or not _VECTORS.fullmatch(f"vectors_{generation}"):
        raise SchemaError("the generation of its embeddings is not a number")
    return version, int(generation)


@cache
def _build_expected(version: str) -> list[Counter[Object]]:
    """The schemas of stores of a version: made as such, and upgraded from each older one."""
    made = {"1": SCHEMA_1, "2": SCHEMA_2, str(VERSION): SCHEMA}
    return [
        _build(made[start], start, version) for start in VERSIONS[VERSIONS.index(version) :: -1]
    ]


def _build(schema: str, start: str, version: str) -> Counter[Object]:
    """Make an empty store of one version, upgrade it to another, and read its schema."""
    database = sqlite3.connect(":memory:", isolation_level=None)
    try:
        database.create_function("parse_instant", 1, parse_instant, deterministic=True)
        database.executescript(schema)
        for step in VERSIONS[VERSIONS.index(start) : VERSIONS.index(version)]:
            database.executescript(UPGRADES[step])
        return Counter(each for each in _objects(database) if not _VECTORS.fullmatch(each[1]))
    finally:
        database.close()


@cache
def _vectors(generation: int) -> Object:
    name = f"vectors_{generation}"
    sql = vectors_table(generation).replace("IF NOT EXISTS ", "").rstrip(";")
    return "table", name, name, "".join(sql.split())
