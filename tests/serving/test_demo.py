"""Demo galleries: made in the cache folder, one for each network, and never at the cost of
somebody's items.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, find_free_port, make_sample
from tests.serving.conftest import fill_gallery
from trireid.demo import galleries as demo
from trireid.demo.galleries import DEMO_FOLDER
from trireid.gallery import Gallery
from trireid.inference import Embedder, load_artifact
from trireid.samples import KINDS, ConfigError, GalleryError
from trireid.serving.logs import log
from trireid.serving.served_galleries import resolve_galleries
from trireid.serving.settings import BENTOML_HOME, check_bentoml_home, load_settings


@pytest.fixture
def cache(tmp_path: Path, artifact: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of demo galleries: one drawn identity each, by a small network; the working directory
    is elsewhere.
    """
    for name in (DEMO_FOLDER, "TRIREID_GALLERIES", "TRIREID_GALLERY_ROOT"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(demo, "IDENTITIES", 1)
    monkeypatch.setattr(demo, "default_artifact", lambda _: artifact)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "cache" / "trireid" / "galleries"


def ids(folder: Path) -> set[str]:
    with Gallery.open(folder, create=False) as gallery:
        return gallery.ids()


def test_they_are_made_once_in_the_cache_folder_and_not_where_one_works(
    cache: Path, embedder: Embedder
) -> None:
    made = demo.ensure_demo_galleries()
    assert made == [cache / embedder.card.fingerprint[:12] / f"{kind}.gallery" for kind in KINDS]
    assert all(demo.is_unchanged(gallery) for gallery in made)
    with Gallery.open(made[0], create=False) as gallery:
        gallery.add([make_sample(1, id="mine")])
    assert not demo.is_unchanged(made[0])
    assert demo.ensure_demo_galleries() == made
    assert "mine" in ids(made[0])
    assert not any(Path.cwd().iterdir())
    assert cache.stat().st_mode & 0o077 == 0


def test_a_gallery_of_another_network_in_the_working_directory_stays(
    cache: Path,
    other_artifact: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = fill_gallery(Path("galleries/person.gallery"), load_artifact(other_artifact))
    monkeypatch.setattr(log, "propagate", True)
    before = {path: path.read_bytes() for path in own.iterdir()}
    served = resolve_galleries(load_settings())
    assert {path: path.read_bytes() for path in own.iterdir()} == before
    assert own.absolute() not in served
    assert "trireid serve galleries/person.gallery" in caplog.text


@pytest.mark.usefixtures("cache")
def test_a_folder_that_is_named_loses_nothing_either(
    tmp_path: Path, other_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = fill_gallery(tmp_path / "named" / "person.gallery", load_artifact(other_artifact))
    (tmp_path / "named" / "person.building").mkdir()
    monkeypatch.setenv(DEMO_FOLDER, "../named")
    made = demo.ensure_demo_galleries()
    assert len(ids(own)) == 12
    assert (tmp_path / "named" / "person.building").is_dir()
    assert {path.parent.parent.resolve() for path in made} == {tmp_path / "named"}


def test_another_default_network_leaves_what_was_enrolled(
    cache: Path,
    other_artifact: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    person, vehicle = demo.ensure_demo_galleries()
    with Gallery.open(person, create=False) as gallery:
        gallery.add([make_sample(1, id="mine")])
    monkeypatch.setattr(demo, "default_artifact", lambda _: other_artifact)
    monkeypatch.setattr(log, "propagate", True)
    made = demo.ensure_demo_galleries()
    assert not {person, vehicle} & set(made)
    assert "mine" in ids(person)
    assert f"trireid serve {person}" in caplog.text
    assert str(vehicle) not in caplog.text  # as it was drawn: nothing to say


def test_only_a_build_that_is_ours_and_abandoned_is_removed(
    cache: Path, embedder: Embedder
) -> None:
    own = cache / embedder.card.fingerprint[:12]
    for name in (".build-killed", ".build-running", ".build-strange"):
        fill_gallery(own / name / "person.gallery", embedder)
    for name in (".build-killed", ".build-running"):
        (own / name / demo.BUILD_MARK).touch()
    with (own / ".build-running" / demo.BUILD_MARK).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        demo.ensure_demo_galleries()
    assert {path.name for path in own.iterdir() if path.name.startswith(".")} == {
        ".build-running",
        ".build-strange",
    }


def test_a_demo_gallerys_name_that_something_else_has_is_said(
    cache: Path, embedder: Embedder
) -> None:
    letters = cache / embedder.card.fingerprint[:12] / "person.gallery" / "letters.txt"
    letters.parent.mkdir(parents=True)
    letters.write_text("dear")
    with pytest.raises(GalleryError, match="move it away") as caught:
        demo.ensure_demo_galleries()
    assert "\n" not in caught.value.message
    assert letters.read_text() == "dear"


@pytest.mark.parametrize(
    "broken", ["home that is a file", "cache that is a file", "no home at all"]
)
def test_without_a_cache_folder_they_are_in_a_temporary_one(
    broken: str,
    cache: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(log, "propagate", True)
    if broken == "cache that is a file":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    else:
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv(
            "HOME", str(tmp_path / "file") if broken == "home that is a file" else ""
        )
        monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    made = demo.ensure_demo_galleries()
    folder = tmp_path / "tmp" / f"trireid-{os.getuid()}"
    assert all(folder in gallery.parents for gallery in made)
    assert folder.stat().st_mode & 0o077 == 0
    assert len(caplog.records) == 1
    assert "\n" not in caplog.text.strip()
    assert str(folder) in caplog.text


def test_a_temporary_folder_that_others_can_write_to_is_not_used(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "tmp" / f"trireid-{os.getuid()}").mkdir(parents=True)
    (tmp_path / "tmp" / f"trireid-{os.getuid()}").chmod(0o777)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match=DEMO_FOLDER):
        demo.ensure_demo_galleries()


def test_a_home_that_bentoml_cannot_use_is_said_before_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    environment = {**os.environ, "HOME": str(tmp_path / "file"), BENTOML_HOME: ""}
    ran = subprocess.run(
        [sys.executable, "-m", "trireid", "serve", "--port", str(find_free_port())],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert BENTOML_HOME in line


def test_a_relative_bentoml_home_is_the_callers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(BENTOML_HOME, "bento")
    check_bentoml_home()
    assert os.environ[BENTOML_HOME] == str(tmp_path / "bento")
    assert not any((tmp_path / "bento").iterdir())
