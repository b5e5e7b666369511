"""Looking after a gallery: another network, numbers, checks of damaged stores, taking it elsewhere,
older stores.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import trireid.cli
from tests.conftest import ROOT, encode_image, make_sample
from tests.gallery.crash_worker import NoNetwork, embedding, indexed, item, nearest
from trireid.gallery import Gallery, index_source
from trireid.gallery.actor import current_actor
from trireid.gallery.checking import check
from trireid.gallery.exporting import EMBEDDINGS, MANIFEST, export
from trireid.gallery.reembedding import reembed
from trireid.gallery.stats import stats
from trireid.gallery.store import FILE
from trireid.inference import Embedder, load_artifact
from trireid.samples import GalleryError, Sample
from trireid.samples.sources import open_source


@pytest.fixture
def folder(tmp_path: Path, embedder: Embedder) -> Path:
    """A gallery with images of its own, one in a file, and one that is nowhere any more."""
    path = tmp_path / "people.gallery"
    (tmp_path / "file.png").write_bytes(encode_image(90))
    with Gallery.open(path, embedder) as gallery:
        gallery.add(
            [make_sample(n, id=f"i{n}", identity=f"p{n % 3}", camera=n % 2) for n in range(12)],
            keep=True,
        )
        gallery.add(
            [
                Sample(
                    id="file",
                    rgb=tmp_path / "file.png",
                    time="2026-05-01T23:30:00-02:00",
                    kind="person",
                )
            ]
        )
    return path


def test_a_gallery_moves_to_another_network(
    folder: Path, embedder: Embedder, successor: Embedder
) -> None:
    opened: list[Path] = []

    def load(path: Path) -> Embedder:
        opened.append(path)
        return load_artifact(path)

    with Gallery.open(folder, load=load) as watching:
        assert watching.search(make_sample(3), k=1)[0].id == "i3"
        report = reembed(folder, successor)
        assert (report.moved, report.lost) == (13, [])
        # it was open all the time, and has changed over
        hits = watching.search(make_sample(3, camera=1), k=1)
        assert (hits[0].id, round(hits[0].score, 4)) == ("i3", 1.0)
        assert watching.embedder.card.fingerprint == successor.card.fingerprint
        assert opened == [embedder.path, successor.path]
    with pytest.raises(GalleryError, match="was filled by network successor"):
        Gallery.open(folder, embedder)
    with Gallery.open(folder) as gallery:
        assert gallery.search(Sample(rgb=encode_image(90)), k=1)[0].id == "file"
        _, action, what = gallery.audit()[-1]
        assert (action, what) == (
            "reembed",
            {"from": "tiny", "to": "successor", "items": 13, "by": current_actor()},
        )
    with pytest.raises(GalleryError, match="has embeddings of successor already"):
        reembed(folder, successor)
    assert not check(folder).errors


def test_items_without_images_keep_the_gallery_where_it_is(
    folder: Path, tmp_path: Path, successor: Embedder
) -> None:
    (tmp_path / "file.png").unlink()
    with pytest.raises(
        GalleryError,
        match=r"stays with tiny: the images of 1 items cannot be read .*file\.png.*--drop-lost",
    ):
        reembed(folder, successor)
    with Gallery.open(folder) as gallery:
        assert gallery.embedder.card.name == "tiny"
        assert gallery.search(make_sample(3), k=1)[0].id == "i3"
    report = reembed(folder, successor, drop_lost=True)
    assert (report.moved, [id_ for id_, _ in report.lost]) == (12, ["file"])


def test_what_is_enrolled_during_the_move_comes_along(
    folder: Path, successor: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trireid.gallery.reembedding._LAST", 0)
    embed = successor.embed
    enrolled: list[str] = []

    with Gallery.open(folder) as gallery:

        def slowly(samples: Sequence[Sample]) -> NDArray[np.float32]:
            if not enrolled:
                enrolled.extend(gallery.add([make_sample(70, id="late")], keep=True))
                gallery.remove(ids=["i5"])
            return embed(samples)

        monkeypatch.setattr(successor, "embed", slowly)
        assert reembed(folder, successor).moved == 13
        monkeypatch.undo()
        assert gallery.search(make_sample(70), k=1)[0].id == "late"
        assert "i5" not in gallery.ids()


def test_a_move_that_is_killed_goes_on_where_it_was(
    folder: Path, successor: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed, batches = successor.embed, []

    def dying(samples: Sequence[Sample]) -> NDArray[np.float32]:
        batches.append(len(samples))
        if len(batches) == 3:
            raise KeyboardInterrupt
        return embed(samples)

    monkeypatch.setattr("trireid.gallery.reembedding.BATCH", 4)
    monkeypatch.setattr("trireid.gallery.reembedding._LAST", 0)
    monkeypatch.setattr(successor, "embed", dying)
    with pytest.raises(KeyboardInterrupt):
        reembed(folder, successor)
    with Gallery.open(folder) as gallery:
        assert gallery.search(make_sample(3), k=1)[0].id == "i3"
    assert reembed(folder, successor).moved == 13
    assert batches == [4, 4, 4, 4, 1]  # 8 of the 13 were there already


def test_numbers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = stats(folder)
    assert (found["items"], found["identities"], found["model"], found["dimension"]) == (
        13,
        3,
        "tiny",
        192,
    )
    assert found["by_camera"] == {"None": 1, "0": 6, "1": 6}
    assert found["by_day"] == {"2026-05-02": 1}
    assert found["by_modalities"] == {"rgb+nir+tir": 12, "rgb": 1}
    assert found["bytes"] > 10_000
    assert trireid.cli.main(["gallery", "stats", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == found
    assert trireid.cli.main(["gallery", "stats", str(folder)]) == 0
    assert "by modalities  rgb+nir+tir: 12, rgb: 1" in capsys.readouterr().out


def test_a_whole_gallery_has_no_errors(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = check(folder)
    assert (report.items, report.readable, report.errors) == (13, 13, [])
    (tmp_path / "file.png").unlink()
    assert trireid.cli.main(["gallery", "check", str(folder)]) == 1
    out = capsys.readouterr()
    assert "13 items, 12 of them whole" in out.out
    assert "file: its rgb image" in out.err
    assert trireid.cli.main(["gallery", "check", str(tmp_path / "none")]) == 2


def test_a_damaged_store_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "big.gallery"
    with Gallery.open(path, NoNetwork()) as gallery:
        gallery.add_items([item(f"i{n}", f"p{n}") for n in range(600)])
        gallery.compact()
    content = bytearray((path / FILE).read_bytes())
    for page in range(30, 40):  # ten pages in the middle of the file
        content[4096 * page : 4096 * (page + 1)] = os.urandom(4096)
    (path / FILE).write_bytes(content)
    report = check(path)
    assert any("cannot be read" in error or FILE in error for error in report.errors)
    assert 100 < report.readable < 600
    (path / FILE).write_bytes(b"not a database at all" * 300)
    assert any(
        "cannot be opened" in error or "cannot be read" in error for error in check(path).errors
    )


def test_errors_of_items_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.gallery"
    with Gallery.open(path, NoNetwork()) as gallery:
        gallery.add_items([item(f"i{n}", "p") for n in range(4)])
    database = sqlite3.connect(path / FILE)
    database.execute(
        "UPDATE vectors_1 SET embedding = ? WHERE key = 1", [np.zeros(12, np.float32).tobytes()]
    )
    database.execute("DELETE FROM vectors_1 WHERE key = 2")
    database.execute("UPDATE items SET present = 3 WHERE key = 3")
    database.commit()
    database.close()
    report = check(path)
    assert report.readable == 1
    assert [error.split(":")[0] for error in report.errors[:3]] == ["i0", "i1", "i2"]


def test_an_export_can_be_indexed_again(folder: Path, tmp_path: Path, embedder: Embedder) -> None:
    assert export(folder, tmp_path / "out") == 13
    with Gallery.open(tmp_path / "again.gallery", embedder) as again, Gallery.open(folder) as first:
        report = index_source(
            open_source(str(tmp_path / "out" / MANIFEST), allow_outside=True), again
        )
        assert (report.added, report.rejected) == (13, [])
        assert again.ids() == first.ids()
        hits = [
            gallery.search(make_sample(4), k=13, where={"identity": "p1"})
            for gallery in (again, first)
        ]
        assert [(hit.id, hit.camera) for hit in hits[0]] == [
            (hit.id, hit.camera) for hit in hits[1]
        ]
    rows = np.load(tmp_path / "out" / EMBEDDINGS)
    assert rows.shape == (13, 192)
    assert np.allclose(rows[3], embedder.embed([make_sample(3, camera=1)])[0], atol=1e-5)
    with pytest.raises(GalleryError, match="is there already"):
        export(folder, tmp_path / "out")


def test_removing_from_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert trireid.cli.main(["gallery", "remove", str(folder), "--identity", "p1"]) == 0
    assert trireid.cli.main(["gallery", "remove", str(folder), "--id", "i0", "i3", "absent"]) == 0
    assert trireid.cli.main(["gallery", "remove", str(folder), "--older-than", "10000"]) == 0
    assert trireid.cli.main(["gallery", "compact", str(folder)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [
        "4 removed; holds 9" in out[0],
        "2 removed; holds 7" in out[1],
        "0 removed" in out[2],
    ] == [True] * 3
    with pytest.raises(SystemExit, match="2"):
        trireid.cli.main(["gallery", "remove", str(folder)])


def test_a_store_of_version_1_becomes_one_of_this_version(tmp_path: Path) -> None:
    folder = tmp_path / "old.gallery"
    folder.mkdir()
    database = sqlite3.connect(folder / FILE)
    database.executescript(
        """
        CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
        CREATE TABLE items (
            key INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, identity TEXT, camera INTEGER, scene TEXT,
            time TEXT, kind TEXT, attributes TEXT NOT NULL, digest TEXT NOT NULL, embedding BLOB NOT NULL
        ) STRICT;
        CREATE INDEX items_identity ON items (identity);
        CREATE INDEX items_camera ON items (camera);
        CREATE INDEX items_digest ON items (digest);
        CREATE TABLE pictures (
            key INTEGER NOT NULL REFERENCES items (key) ON DELETE CASCADE, modality TEXT NOT NULL, path TEXT, data BLOB,
            thumbnail BLOB NOT NULL, PRIMARY KEY (key, modality)
        ) STRICT;
        CREATE TABLE removals (sequence INTEGER PRIMARY KEY AUTOINCREMENT, key INTEGER NOT NULL) STRICT;
        """
    )
    card = NoNetwork().card
    meta = {
        "version": "1",
        "artifact": "none",
        "fingerprint": card.fingerprint,
        "model": "none",
        "dimension": "12",
    }
    database.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
    for n in range(5):
        values = [f"i{n}", "p", "2026-05-01T10:00:00Z", embedding(f"i{n}").tobytes()]
        database.execute(
            "INSERT INTO items (id, identity, time, attributes, digest, embedding) VALUES (?, ?,"
            " ?, '{}', 'd', ?)",
            values,
        )
        database.execute("INSERT INTO pictures VALUES (?, 'rgb', NULL, NULL, x'00')", [n + 1])
    database.commit()
    database.close()
    with Gallery.open(folder, NoNetwork()) as gallery:
        assert len(gallery) == 5
        ((_, known),) = nearest(gallery, "i3")
        assert (known.key, known.present) == (4, 1)
    assert stats(folder)["by_day"] == {"2026-05-01": 5}
    assert not check(folder).errors


WRITER = """
import sys
from trireid.gallery import Gallery
from tests.gallery.crash_worker import NoNetwork, item
with Gallery.open(sys.argv[1], NoNetwork()) as gallery:
    print("open", flush=True)
    for number in range(int(sys.argv[2])):
        gallery.add_items([item(f"{sys.argv[3]}-{number}", "p")])
        print(number, flush=True)
"""


def test_several_processes_share_a_gallery(tmp_path: Path) -> None:
    """Two processes write in turns, a third sees every commit at once, and nothing is lost."""
    folder = tmp_path / "a.gallery"
    with Gallery.open(folder, NoNetwork()) as gallery:
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(folder), "25", name],
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            for name in ("one", "two")
        ]
        for process, name in zip(writers, ("one", "two"), strict=True):
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            assert next(lines) == "open\n"
            for line in lines:
                id_ = f"{name}-{line.strip()}"
                assert nearest(gallery, id_)[0][1].id == id_
            assert process.wait() == 0
            process.stdout.close()
        assert indexed(gallery) == len(gallery) == 50


def test_a_writer_that_is_stopped_holds_no_lock(tmp_path: Path) -> None:
    folder = tmp_path / "a.gallery"
    with Gallery.open(folder, NoNetwork()) as gallery:
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), "100000", "x"],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert process.stdout is not None
        assert "3\n" in iter(process.stdout.readline, "")
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert gallery.add_items([item("mine", "p")]) == ["mine"]
        assert {"x-3", "mine"} <= gallery.ids()


def test_settings_that_are_none_are_refused(tmp_path: Path) -> None:
    for options, error in (
        ({"quantization": "int4"}, "quantization: 'int4'"),
        ({"memory": "int4"}, "quantization: 'int4'"),
        ({"recall": 1.5}, "recall must be"),
    ):
        given: dict[str, Any] = options
        with pytest.raises(GalleryError, match=error):
            Gallery.open(tmp_path / "a.gallery", NoNetwork(), **given)
