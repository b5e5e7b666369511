"""Every script of examples/ runs as a newcomer runs it, and prints its result."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, encode_image

#: Each script, and a part of the lines that it prints on drawn images.
SCRIPTS = {
    "embed_folder": "32 samples of 32, embeddings (32, ",
    "search": "1. score 0.",
    "compare": "identities 0000 and 0001: similarity ",
    "evaluate_features": "re-ranked  mAP ",
    "cluster": "cluster 0: ",
    "pandas_table": "rank identity",
    "async_client": "start a server with: trireid serve",
    "opencv_frames": "frame 8: similarity to the frame before ",
    "detector_boxes": "identity 0001",
    "own_reader": "24 added, 0 known, 1 rejected; the gallery holds 24\nrejected: ",
}


def run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a script with the small network."""
    code = (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")
    code = code.replace('load_artifact("person")', 'load_artifact("person-tiny")')
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_each_script_is_listed_and_tested() -> None:
    names = {path.stem for path in (ROOT / "examples").glob("*.py")}
    page = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    assert names == set(SCRIPTS)
    assert all(f"[{name}.py]({name}.py)" in page for name in names)


@pytest.mark.parametrize("name", SCRIPTS)
def test_it_runs_without_arguments(name: str) -> None:
    nowhere = ["http://127.0.0.1:1"] if name == "async_client" else []
    done = run(name, *nowhere)
    assert SCRIPTS[name] in done.stdout + done.stderr, done.stderr
    assert done.returncode == bool(nowhere), done.stderr


def test_they_take_files_of_the_user(tmp_path: Path) -> None:
    for n in range(3):
        (tmp_path / f"{n}.png").write_bytes(encode_image(n))
    assert "3 samples of 3" in run("embed_folder", tmp_path, tmp_path / "e.npz").stdout
    assert (tmp_path / "e.npz").exists()
    assert "similarity 1.000" in run("compare", tmp_path / "1.png", tmp_path / "1.png").stdout
    boxes = ["0,0,10,20", "10,10,30,40"]
    assert run("detector_boxes", tmp_path / "1.png", *boxes).stdout.count("identity") == 2
