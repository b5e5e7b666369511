"""A gallery that an embedded default of an earlier version filled opens with that network, whatever
its name, or the path of its file, is another one's by now.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import trireid.cli
from tests.conftest import encode_image, make_sample
from trireid.gallery import Gallery, read_artifact_path
from trireid.gallery.reembedding import reembed
from trireid.gallery.stats import stats
from trireid.inference import embedded, load_artifact
from trireid.samples import GalleryError
from trireid.serving.gallery_service import check_galleries


@pytest.fixture(autouse=True)
def person(tmp_path: Path, artifact: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of `person`, which is another network than the one before."""
    file = tmp_path / "assets" / "person.onnx"
    file.parent.mkdir()
    shutil.copy(artifact, file)
    monkeypatch.setitem(embedded._FILES, "person", str(file))
    embedded._read_cards.cache_clear()
    monkeypatch.setattr(embedded, "_read_cards", embedded._read_cards.__wrapped__)
    return file


@pytest.fixture(params=["name", "path", "path of a file that is gone", "name without a kind"])
def old(request: pytest.FixtureRequest, tmp_path: Path, person: Path) -> Path:
    """A gallery as version 0.2 left it, when `person` was the small network."""
    folder = tmp_path / "old.gallery"
    with Gallery.open(folder, load_artifact("person-tiny")) as gallery:
        gallery.add([make_sample(i, id=f"s{i}") for i in range(3)], keep=True)
    recorded = {"path": str(person), "path of a file that is gone": "/gone/assets/person.onnx"}
    with closing(sqlite3.connect(folder / "gallery.db")) as database, database:
        statement = "UPDATE meta SET value = ? WHERE name = 'artifact'"
        database.execute(statement, [recorded.get(request.param, "person")])
        if "without" in request.param:
            database.execute("DELETE FROM meta WHERE name = 'kind'")
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = trireid.cli.main([str(each) for each in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_it_is_searched_and_served_by_its_own_network(
    old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read_artifact_path(old) == embedded.default_artifact("person-tiny")
    assert stats(old)["artifact"] == "person-tiny"
    assert stats(old)["by_kind"] == {"person": 3}
    check_galleries([old])
    with Gallery.open(old) as gallery:
        assert gallery.search(make_sample(1), k=1)[0].id == "s1"
    (tmp_path / "q.png").write_bytes(encode_image(3))
    code, out, _ = run(
        capsys, "search", "--gallery", old, "--rgb", tmp_path / "q.png", "--json", "-k", 1
    )
    assert (code, json.loads(out)["hits"][0]["id"]) == (0, "s1")


@pytest.mark.parametrize("how", [[], ["--model", "person-tiny"]], ids=str)
def test_it_is_added_to(
    old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: list[str]
) -> None:
    (tmp_path / "crops").mkdir()
    (tmp_path / "crops" / "a.png").write_bytes(encode_image(9))
    code, out, _ = run(capsys, "index", tmp_path / "crops", "--gallery", old, *how)
    assert (code, out.endswith("1 added, 0 known, 0 rejected; holds 4\n")) == (0, True)


@pytest.mark.parametrize("how", [["--kind", "person"], ["--model", "person"]], ids=str)
def test_the_new_network_is_refused_with_the_way_on(
    old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: list[str]
) -> None:
    (tmp_path / "crops").mkdir()
    (tmp_path / "crops" / "a.png").write_bytes(encode_image(9))
    code, _, err = run(capsys, "index", tmp_path / "crops", "--gallery", old, *how)
    (line,) = err.splitlines()
    assert code == 2
    assert "--model person-tiny" in line
    assert f"trireid gallery reembed {old} --model person" in line
    with pytest.raises(GalleryError, match="--model person-tiny"):
        Gallery.open(old, load_artifact("person"))
    with Gallery.open(old) as gallery:
        assert len(gallery) == 3


def test_it_is_moved_to_the_new_network(old: Path, person: Path) -> None:
    assert reembed(old, load_artifact("person")).moved == 3
    assert (stats(old)["artifact"], read_artifact_path(old)) == ("person", person)
    with Gallery.open(old) as gallery:
        assert gallery.search(make_sample(1), k=1)[0].id == "s1"


def test_a_file_of_the_users_is_opened_as_it_is(
    tmp_path: Path, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.onnx"
    shutil.copy(artifact, own)
    monkeypatch.setitem(embedded._FILES, "person", "person-tiny.onnx")  # not this one
    with Gallery.open(tmp_path / "own.gallery", load_artifact(own)) as gallery:
        gallery.add([make_sample(0)])
    assert read_artifact_path(tmp_path / "own.gallery") == own
