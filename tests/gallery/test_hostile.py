"""A store that a stranger wrote: nothing of it is believed, run, or turned into a file's name."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import make_sample
from tests.gallery.crash_worker import NoNetwork, item
from trireid.cli import main
from trireid.gallery import Gallery
from trireid.gallery.checking import check
from trireid.gallery.exporting import export
from trireid.gallery.index import serialization
from trireid.gallery.index_cache import INDEX_CACHE
from trireid.gallery.metadata import read_artifact_path
from trireid.gallery.old_schemas import SCHEMA_1, SCHEMA_2
from trireid.gallery.reembedding import reembed
from trireid.gallery.reserve import RESERVE, release_reserve
from trireid.gallery.schema import vectors_table
from trireid.gallery.stats import stats
from trireid.gallery.store import FILE
from trireid.inference import Embedder, load_artifact
from trireid.samples import GalleryError

Write = Callable[[sqlite3.Connection], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "a.gallery"
    with Gallery.open(path, NoNetwork()) as gallery:
        gallery.add_items([item(f"i{n}", "p") for n in range(4)])
    return path


def change(folder: Path, *statements: str) -> None:
    """Write to a store as a stranger would: with no type or schema that SQLite would hold it to."""
    database = sqlite3.connect(folder / FILE, isolation_level=None)
    database.execute("PRAGMA foreign_keys = OFF")
    for statement in statements:
        database.execute(statement)
    database.close()


def change_schema(folder: Path, *statements: str) -> None:
    """Change the text of the schema itself, by which a table may have any constraint."""
    change(folder, "PRAGMA writable_schema = ON", *statements)


SCHEMAS = {
    "a trigger": ["CREATE TRIGGER t AFTER DELETE ON items BEGIN DELETE FROM audit; END"],
    "a view": ["CREATE VIEW v AS SELECT * FROM items"],
    "a view in a table's place": [
        "DROP TABLE audit",
        "CREATE VIEW audit AS SELECT 1 AS at, 2 AS action, 3 AS what, 4 AS sequence",
    ],
    "a virtual table": ["CREATE VIRTUAL TABLE r USING rtree(id, low, high)"],
    "another table": ["CREATE TABLE extra (a)"],
    "a table less": ["DROP TABLE audit"],
    "a generated column": ["ALTER TABLE items ADD COLUMN g TEXT AS (hex(zeroblob(100000000)))"],
    "another column": ["ALTER TABLE items ADD COLUMN more TEXT"],
    "another index": ["CREATE INDEX i ON items (hex(identity))"],
    "an index less": ["DROP INDEX items_expiry"],
    "embeddings of generations that are not": [
        "CREATE TABLE vectors_9 (key INTEGER PRIMARY KEY, embedding BLOB NOT NULL) STRICT"
    ],
    "other embeddings": [
        "DROP TABLE vectors_1",
        "CREATE TABLE vectors_1 (key INTEGER PRIMARY KEY, embedding BLOB) STRICT",
    ],
    "no embeddings": ["DROP TABLE vectors_1"],
    "an index of some rows alone": [
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET sql = sql || printf('%.*c', 5000, ' ') || 'WHERE camera > 3'"
        " WHERE name = 'items_camera'",
    ],
    "meta as a view": [
        "ALTER TABLE meta RENAME TO other",
        "CREATE VIEW meta AS SELECT * FROM other",
    ],
    "a newer version": ["UPDATE meta SET value = '4' WHERE name = 'version'"],
    "a version that is not text": ["UPDATE meta SET value = '' WHERE name = 'version'"],
    "a generation that is SQL": [
        "UPDATE meta SET value = '1 WHERE 0; DROP TABLE items; --' WHERE name = 'generation'"
    ],
}


@pytest.mark.parametrize("statements", SCHEMAS.values(), ids=SCHEMAS.keys())
def test_a_schema_that_is_not_ours_is_refused(folder: Path, statements: list[str]) -> None:
    change(folder, *statements)
    before = (folder / FILE).read_bytes()
    for use in (
        lambda: Gallery.open(folder, NoNetwork()),
        lambda: export(folder, folder.parent / "out"),
        lambda: stats(folder),
    ):
        with pytest.raises(GalleryError):
            use()
    try:
        assert check(folder).errors
    except GalleryError as error:
        assert "its store has version" in str(error)  # noqa: PT017
    assert (folder / FILE).read_bytes() == before
    assert not (folder.parent / "out").exists()


def test_a_constraint_in_a_tables_text_is_refused(folder: Path) -> None:
    change_schema(
        folder,
        "UPDATE sqlite_schema SET sql = replace(sql, 'attributes TEXT NOT NULL',"
        " 'attributes TEXT NOT NULL CHECK (length(randomblob(100000000)) > 0)') WHERE name ="
        " 'items'",
    )
    with pytest.raises(
        GalleryError, match="holds the table items, which is not as this trireid makes it"
    ):
        Gallery.open(folder, NoNetwork())


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_store_to_be_upgraded_is_checked_first(folder: Path, version: str) -> None:
    (folder / FILE).unlink()
    database = sqlite3.connect(folder / FILE)
    database.executescript(SCHEMA_1 if version == "1" else SCHEMA_2)
    database.execute("INSERT INTO meta VALUES ('version', ?), ('generation', '1')", [version])
    if version == "2":
        database.execute(vectors_table(1))
    database.execute("CREATE TRIGGER t AFTER UPDATE ON items BEGIN DELETE FROM removals; END")
    database.commit()
    database.close()
    with pytest.raises(GalleryError, match="holds the trigger t"):
        Gallery.open(folder, NoNetwork())


VALUES = {
    "a dimension of another size": "UPDATE meta SET value = '1000000000' WHERE name = 'dimension'",
    "a dimension that is no number": "UPDATE meta SET value = '12; DROP TABLE items' WHERE name = 'dimension'",
    "no dimension": "DELETE FROM meta WHERE name = 'dimension'",
    "a long fingerprint": "UPDATE meta SET value = printf('%.*c', 5000, 'x') WHERE name = 'fingerprint'",
    "an artifact with a NUL": "UPDATE meta SET value = 'a' || char(0) WHERE name = 'artifact'",
    "a recall that is not a share": "INSERT INTO meta VALUES ('recall', 'nan')",
    "days to keep that are no number": "INSERT INTO meta VALUES ('keep_days', 'x')",
    "days to keep that are negative": "INSERT INTO meta VALUES ('keep_days', '-5')",
    "memory of no kind": "INSERT INTO meta VALUES ('memory', 'int4')",
    "forgotten removals that are no number": "INSERT INTO meta VALUES ('forgotten', 'x')",
    "a short embedding": "UPDATE vectors_1 SET embedding = x'00' WHERE key = 2",
    "a long embedding": "UPDATE vectors_1 SET embedding = zeroblob(4800) WHERE key = 2",
    "an embedding that is not finite": f"UPDATE vectors_1 SET embedding = x'0000c07f{'00' * 44}' WHERE key = 2",
    "modalities over 7": "UPDATE items SET present = 8 WHERE key = 2",
    "modalities under 0": "UPDATE items SET present = -1 WHERE key = 2",
    "a last key beyond memory": "UPDATE sqlite_sequence SET seq = 9000000000000 WHERE name = 'items'",
    "a last key that is text": "UPDATE sqlite_sequence SET seq = 'x' WHERE name = 'items'",
    "a last key that is bytes": "UPDATE sqlite_sequence SET seq = x'ff' WHERE name = 'items'",
    "a last key that an item is beyond": "UPDATE sqlite_sequence SET seq = 3 WHERE name = 'items'",
    "no last key": "DELETE FROM sqlite_sequence",
    "removals beyond counting": "INSERT INTO removals VALUES (9223372036854775807, 2)",
    "an item without an embedding": "DELETE FROM vectors_1 WHERE key = 2",
    "a negative key": "UPDATE items SET key = -2 WHERE key = 2",
}


@pytest.mark.parametrize("statement", VALUES.values(), ids=VALUES.keys())
def test_values_that_cannot_be_are_one_clear_error(folder: Path, statement: str) -> None:
    change(folder, statement)
    with (
        pytest.raises(GalleryError, match=r"in/a\.gallery: its store is damaged"),
        Gallery.open(folder, NoNetwork()) as gallery,
    ):
        nearest_keys(gallery)
    assert check(folder).errors
    if "sqlite_sequence" in statement:
        assert main(["gallery", "remove", str(folder), "--id", "i1"]) == 2
        assert sqlite3.connect(folder / FILE).execute("SELECT count(*) FROM items").fetchone() == (
            4,
        )


@pytest.mark.parametrize("line", ["[1]", '{"a": "\x1b"}', '{"a": ' + "9" * 5000 + "}"])
def test_a_line_of_the_audit_that_cannot_be_is_found_by_a_check(folder: Path, line: str) -> None:
    change(folder, f"INSERT INTO audit (at, action, what) VALUES ('x', 'y', '{line}')")
    assert any("a line of its audit" in error for error in check(folder).errors)


@pytest.mark.parametrize("is_full", [False, True])
def test_a_reserve_that_is_a_link_leads_nowhere(
    folder: Path, tmp_path: Path, is_full: bool
) -> None:
    """Else opening a stranger's gallery would grow, or on a full disk empty, any file of the
    user's.
    """
    victim = tmp_path / "victim"
    victim.write_text("precious")
    victim.chmod(0o644)
    (folder / RESERVE).unlink(missing_ok=True)
    (folder / RESERVE).symlink_to(victim)
    if is_full:
        release_reserve(folder)
    with Gallery.open(folder, NoNetwork()) as gallery:
        gallery.remove(ids=["i1"])
        gallery.add_items([item("i9", "p")])
    assert victim.read_text() == "precious"
    assert victim.stat().st_mode & 0o777 == 0o644
    assert not (folder / RESERVE).is_symlink()


@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE vectors_1 SET embedding = x'0000c07f{'00' * 44}' WHERE key = 2",
        "DELETE FROM vectors_1 WHERE key = 2",
        "UPDATE items SET attributes = '{' WHERE key = 2",
        "UPDATE meta SET value = '/lost/model.onnx' WHERE name = 'artifact'",
        "UPDATE meta SET value = '/dev/zero' WHERE name = 'artifact'",
    ],
)
def test_an_item_can_be_removed_without_its_network_or_a_whole_embedding(
    folder: Path, statement: str
) -> None:
    """A person's right to erasure does not wait for a model file that was moved."""
    change(folder, statement)
    assert main(["gallery", "remove", str(folder), "--id", "i1"]) == 0
    with Gallery.open(folder, NoNetwork()) as gallery:
        assert nearest_keys(gallery) == [1, 3, 4]
        assert not gallery.erasure_pending


@pytest.mark.parametrize("key", [-5, 0, 77_777])
def test_a_removal_of_a_key_that_never_was_is_one_clear_error(folder: Path, key: int) -> None:
    with Gallery.open(folder, NoNetwork()) as gallery:
        change(folder, f"INSERT INTO removals (key) VALUES ({key})")
        with pytest.raises(GalleryError, match="an item's key is not a whole number from 1 to 4"):
            gallery.live_index()


def nearest_keys(gallery: Gallery) -> list[int]:
    with gallery.read() as session:
        return sorted(session.load_records(np.arange(1, 5)))


ITEMS = {
    "an id that is long": (
        "UPDATE items SET id = printf('%.*c', 50000, 'x') WHERE key = 2",
        "its id",
    ),
    "an identity that is long": (
        "UPDATE items SET identity = printf('%.*c', 50000000, 'x') WHERE key = 2",
        "its identity",
    ),
    "a kind that is none": ("UPDATE items SET kind = 'dragon' WHERE key = 2", "its kind"),
    "attributes that are a list": (
        "UPDATE items SET attributes = '[1]' WHERE key = 2",
        "its attributes",
    ),
    "attributes that are not JSON": (
        "UPDATE items SET attributes = '{' WHERE key = 2",
        "its attributes",
    ),
    "attributes with NaN": (
        "UPDATE items SET attributes = '{\"a\": NaN}' WHERE key = 2",
        "its attributes",
    ),
    "attributes nested deeply": (
        "UPDATE items SET attributes = printf('{\"a\":%.*c', 60000, '[') WHERE key = 2",
        "its attributes",
    ),
}


@pytest.mark.parametrize(("statement", "what"), ITEMS.values(), ids=ITEMS.keys())
def test_an_item_that_cannot_be_is_named(folder: Path, statement: str, what: str) -> None:
    change(folder, statement)
    with (
        Gallery.open(folder, NoNetwork()) as gallery,
        pytest.raises(GalleryError, match=f"item 2: {what}"),
    ):
        nearest_keys(gallery)
    assert any(what in error for error in check(folder).errors)
    with pytest.raises(GalleryError, match=f"item 2: {what}"):
        export(folder, folder.parent / "out")
    assert not (folder.parent / "out").exists()


def test_attributes_that_are_too_large_are_left_out_of_answers_and_named_elsewhere(
    folder: Path,
) -> None:
    """An older trireid took them; one such item keeps no search from its answer."""
    change(
        folder,
        "UPDATE items SET attributes = printf('{\"a\":\"%.*c\"}', 5000000, 'x') WHERE key = 2",
    )
    with Gallery.open(folder, NoNetwork()) as gallery:
        assert 2 in nearest_keys(gallery)
    assert any("its attributes" in error for error in check(folder).errors)
    with pytest.raises(GalleryError, match="item 2: its attributes"):
        export(folder, folder.parent / "out")


IMAGES = {
    "a modality that leads elsewhere": ("b/../../x", None, b"pwned", b"t"),
    "a modality that is absolute": ("/tmp/x", None, b"pwned", b"t"),
    "a relative path": ("rgb", "../../etc/passwd", None, b"t"),
    "a path with a NUL": ("rgb", "/etc/passwd\0.png", None, b"t"),
    "a path that is long": ("rgb", "/" + "x" * 5000, None, b"t"),
    "a thumbnail that is large": ("rgb", None, b"x", b"x" * 2_000_000),
}


@pytest.mark.parametrize("row", IMAGES.values(), ids=IMAGES.keys())
def test_an_image_that_cannot_be_is_refused(folder: Path, row: tuple[object, ...]) -> None:
    database = sqlite3.connect(folder / FILE)
    database.execute("DELETE FROM pictures")
    database.execute(
        "INSERT INTO pictures (key, modality, path, data, thumbnail) VALUES (2, ?, ?, ?, ?)", row
    )
    database.commit()
    database.close()
    with (
        Gallery.open(folder, NoNetwork()) as gallery,
        pytest.raises(GalleryError, match="item 2: "),
    ):
        gallery.image(2, "rgb")
    names = {path for path in folder.parent.parent.rglob("*") if path.is_file()}
    with pytest.raises(GalleryError, match="item 2: "):
        export(folder, folder.parent / "out")
    assert {path for path in folder.parent.parent.rglob("*") if path.is_file()} == names
    assert check(folder).readable < 4


def test_images_that_are_no_regular_files_do_not_hang(
    tmp_path: Path, embedder: Embedder, successor: Embedder
) -> None:
    folder = tmp_path / "a.gallery"
    with Gallery.open(folder, embedder) as gallery:
        gallery.add([make_sample(0, id="i0")], keep=True)
    os.mkfifo(tmp_path / "fifo")
    change(folder, f"UPDATE pictures SET path = '{tmp_path / 'fifo'}', data = NULL")
    export(folder, tmp_path / "out")
    assert "fifo" not in (tmp_path / "out" / "manifest.csv").read_text()
    with pytest.raises(GalleryError, match="stays with"):
        reembed(folder, successor)
    assert check(folder).errors


def test_an_artifact_that_is_no_regular_file_does_not_hang(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.onnx")
    change(folder, f"UPDATE meta SET value = '{tmp_path / 'model.onnx'}' WHERE name = 'artifact'")
    with pytest.raises(GalleryError, match="not a regular file"):
        read_artifact_path(folder)


def test_a_journal_that_would_delete_a_file_is_refused(folder: Path) -> None:
    """A hot journal may name a further one, which SQLite deletes when it is done."""
    (folder / f"{FILE}-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"\0" * 2000)
    with pytest.raises(
        GalleryError, match=r"gallery\.db-journal shows that the copy was cut short"
    ):
        Gallery.open(folder, NoNetwork())


HEADERS = {
    "a last key beyond the store's": {"last": 10**10},
    "a last key that is no number": {"last": "7"},
    "another layout": {"layout": 2},
    "more vectors than the file": {"count": 10**9},
    "cells beyond the file": {"cells": 10**9},
    "a negative number of cells": {"cells": -1},
    "probes without factors": {"probes": [1]},
    "probes that are not numbers": {"probes": ["x"]},
    "a position beyond the store's": {
        "extra": {"store": None, "position": {"generation": 1, "key": 10**12, "removal": 0}}
    },
    "a position that is no number": {
        "extra": {"store": None, "position": {"generation": 1, "key": 1.5, "removal": 0}}
    },
}


@pytest.mark.parametrize("changed", HEADERS.values(), ids=HEADERS.keys())
def test_an_index_that_a_stranger_wrote_is_built_again(
    folder: Path, changed: dict[str, object]
) -> None:
    with Gallery.open(folder, NoNetwork()) as gallery:
        assert gallery.save_index()
    content = (folder / INDEX_CACHE).read_bytes()
    length = int.from_bytes(content[8:12], "little")
    header = json.loads(content[12 : 12 + length])
    extra = changed.get("extra")
    if isinstance(extra, dict):
        changed = {"extra": {**extra, "store": header["extra"]["store"]}}
    rest = np.frombuffer(content[12 + length : -4], np.uint8)
    serialization.write(folder / INDEX_CACHE, {**header, **changed}, iter([rest]))
    with Gallery.open(folder, NoNetwork()) as gallery:
        assert not gallery.live_index().is_restored
        assert nearest_keys(gallery) == [1, 2, 3, 4]


def test_an_index_that_is_a_fifo_does_not_hang(folder: Path) -> None:
    os.mkfifo(folder / INDEX_CACHE)
    with Gallery.open(folder, NoNetwork()) as gallery:
        assert nearest_keys(gallery) == [1, 2, 3, 4]


def test_an_interrupted_move_is_no_foreign_table(
    tmp_path: Path, embedder: Embedder, artifact: Path
) -> None:
    folder = tmp_path / "a.gallery"
    with Gallery.open(folder, embedder) as gallery:
        gallery.add([make_sample(0, id="i0")])
    change(
        folder,
        "CREATE TABLE vectors_2 (key INTEGER PRIMARY KEY REFERENCES items (key) ON DELETE CASCADE,"
        " embedding BLOB NOT NULL) STRICT",
        "ANALYZE",
    )
    with Gallery.open(folder, load_artifact(artifact)) as gallery:
        assert len(gallery) == 1
