"""The embedded defaults: four names, their files, their kinds, their sizes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, encode_image
from trireid.inference import Embedder, load_artifact
from trireid.inference.embedded import (
    DEFAULTS,
    default_artifact,
    default_name,
    find_content,
    find_default,
)

LIMIT = 20_000_000
CHECKOUT_LIMIT = 48 << 20


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_default_is_opened_by_its_name(name: str) -> None:
    embedder = load_artifact(name)
    assert embedder.card.kind == name.removesuffix("-tiny")
    file = default_artifact(name)
    assert embedder.path == file
    assert embedder.source == default_name(file) == file.stem
    assert find_default(embedder.card.fingerprint) == file.stem
    assert len(find_content(embedder.card.fingerprint)) == 64
    assert ("NOTICE" in embedder.card.license) != file.stem.endswith("-tiny")
    assert file.stat().st_size <= LIMIT


def test_an_unknown_name_is_a_file_that_is_not_there() -> None:
    with pytest.raises(KeyError, match="person, vehicle, person-tiny, vehicle-tiny"):
        default_artifact("dog")
    assert find_default("0" * 64) is None
    assert find_content("0" * 64) == ""


def test_a_file_goes_before_a_name(
    tmp_path: Path, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vehicle").mkdir()
    shutil.copy(artifact, "person")
    assert load_artifact("person").card.fingerprint == load_artifact(artifact).card.fingerprint
    assert load_artifact("vehicle").path == default_artifact("vehicle")


def run(*commands: list[str]) -> tuple[list[str], str]:
    """Run commands in one process; the lines of its standard error, and its standard output."""
    code = f"import trireid.cli\nfor each in {commands!r}: assert trireid.cli.main(each) == 0"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stderr.splitlines(), done.stdout


def test_a_process_says_once_that_it_is_for_demonstration(
    tmp_path: Path, embedder: Embedder
) -> None:
    (tmp_path / "crops").mkdir()
    (tmp_path / "crops" / "a.png").write_bytes(encode_image(1))
    filled, own = str(tmp_path / "a.gallery"), str(tmp_path / "own.gallery")
    index = ["index", str(tmp_path / "crops"), "--json", "--gallery"]
    search = ["search", "--gallery", filled, "--rgb", str(tmp_path / "crops" / "a.png"), "--json"]
    told, printed = run([*index, filled, "--model", "person-tiny"], search, search)
    (line,) = [each for each in told if "is for demonstration" in each]
    for part in ("drawn images", "docs/default.md", "--model FILE.onnx", "trireid export onnx"):
        assert part in line
    indexed, *searched = json.loads("[" + printed.replace("}\n{", "}, {") + "]")
    assert (indexed["added"], [len(each["hits"]) for each in searched]) == (1, [1, 1])
    told, _ = run([*index, own, "--model", str(embedder.path)], [*search, "-q"])
    assert "is for demonstration" not in "".join(told)


def test_a_whole_checkout_is_small() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    command = ["git", "archive", "--format=tar", "HEAD"]
    archive = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    assert len(archive) <= CHECKOUT_LIMIT
