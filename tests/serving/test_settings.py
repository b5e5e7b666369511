"""Which galleries are served: by name, by the folder they are in, or the demo ones; the same for
every process of a server.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trireid.demo.galleries import DEMO_FOLDER, ensure_demo_galleries
from trireid.samples import ConfigError
from trireid.serving.served_galleries import resolve_galleries
from trireid.serving.settings import GALLERIES, GALLERY_ROOT, make_absolute, named_galleries


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two galleries' folders and other things, named as `volume` in the working
    directory.
    """
    volume = tmp_path / "volume"
    for name in ("b.gallery", "a.gallery", "lost+found"):
        (volume / name).mkdir(parents=True)
    (volume / "c.gallery").write_text("no folder")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(GALLERIES, "")
    monkeypatch.setenv(GALLERY_ROOT, "volume")
    return volume


def test_galleries_below_a_root_are_served_wherever_the_next_process_runs(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [root / "a.gallery", root / "b.gallery"]
    assert resolve_galleries() == wanted
    monkeypatch.chdir("/")
    assert named_galleries() == wanted


def test_named_galleries_go_before_the_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GALLERIES, f"volume/b.gallery{os.pathsep}/x.gallery")
    assert resolve_galleries() == [root / "b.gallery", Path("/x.gallery")]


@pytest.mark.parametrize(
    ("folder", "said"), [("volume/lost+found", "holds no gallery"), ("nowhere", "cannot be read")]
)
@pytest.mark.usefixtures("root")
def test_a_root_without_galleries_is_said(
    folder: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(GALLERY_ROOT, folder)
    with pytest.raises(ConfigError, match=said) as caught:
        resolve_galleries()
    assert "\n" not in caught.value.message


def test_demo_galleries_that_cannot_be_made_are_said(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DEMO_FOLDER, str(root / "c.gallery"))  # a file
    with pytest.raises(ConfigError, match=DEMO_FOLDER):
        ensure_demo_galleries()


def test_a_path_is_made_absolute_where_there_is_one(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIREID_X", "volume/tokens")
    monkeypatch.setenv("TRIREID_Y", "")
    make_absolute("TRIREID_X", "TRIREID_Y", "TRIREID_Z")
    assert (os.environ["TRIREID_X"], os.environ["TRIREID_Y"], "TRIREID_Z" in os.environ) == (
        str(root / "tokens"),
        "",
        False,
    )
