"""Which galleries are served: by name, by the folder they are in, or the demo ones; the same for
every process of a server.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import ROOT
from trireid.demo.galleries import DEMO_FOLDER, ensure_demo_galleries
from trireid.samples import ConfigError
from trireid.serving.served_galleries import resolve_galleries
from trireid.serving.settings import (
    ServerSettings,
    list_galleries,
    list_settings,
    list_unknown_variables,
    load_settings,
)

GALLERIES, GALLERY_ROOT = "TRIREID_GALLERIES", "TRIREID_GALLERY_ROOT"


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
    assert resolve_galleries(load_settings()) == wanted
    monkeypatch.chdir("/")
    assert list_galleries(load_settings()) == wanted


def test_named_galleries_go_before_the_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GALLERIES, f"volume/b.gallery{os.pathsep}/x.gallery")
    assert resolve_galleries(load_settings()) == [root / "b.gallery", Path("/x.gallery")]


@pytest.mark.parametrize(
    ("folder", "said"), [("volume/lost+found", "holds no gallery"), ("nowhere", "cannot be read")]
)
@pytest.mark.usefixtures("root")
def test_a_root_without_galleries_is_said(
    folder: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(GALLERY_ROOT, folder)
    with pytest.raises(ConfigError, match=said) as caught:
        resolve_galleries(load_settings())
    assert "\n" not in caught.value.message


def test_demo_galleries_that_cannot_be_made_are_said(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DEMO_FOLDER, str(root / "c.gallery"))  # a file
    with pytest.raises(ConfigError, match=DEMO_FOLDER):
        ensure_demo_galleries()


def test_settings_reach_the_next_process_as_they_are(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIREID_TOKENS_FILE", "volume/tokens")
    monkeypatch.setenv("TRIREID_AUDIT", "")
    monkeypatch.setenv("TRIREID_PORT", "4000")
    given = load_settings(port=5000, galleries=["volume/a.gallery"], rate=0.5, open=True, host=None)
    assert (given.tokens_file, given.audit, given.port) == (root / "tokens", None, 5000)
    monkeypatch.chdir("/")
    for name, value in given.to_environment().items():
        monkeypatch.setenv(name, value)
    assert load_settings() == given


def test_an_option_that_does_not_fit_is_named_as_one() -> None:
    with pytest.raises(ConfigError, match="--root-path: must be a path such as /reid, not reid"):
        load_settings(root_path="reid")


def test_tokens_are_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIREID_TOKENS", "ann search secret-0123456789")
    assert "secret" not in repr(load_settings())


def test_every_setting_is_in_the_table_of_the_docs() -> None:
    """Made by `python -m trireid.serving.settings`."""
    docs = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    for each in list_settings():
        assert each.row in docs
    assert docs.count("| `TRIREID_") == len(ServerSettings.model_fields)


def test_variables_without_a_meaning_are_named() -> None:
    given = {"TRIREID_WORKER": "2", "TRIREID_TOKEN": "x", "TRIREID_QUEUE": "3", "TRIREID_ZZ": ""}
    assert list_unknown_variables(given) == [
        "TRIREID_WORKER (did you mean TRIREID_WORKERS?)",
        "TRIREID_ZZ",
    ]
