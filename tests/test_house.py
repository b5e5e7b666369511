"""The house: imports run one way down the rooms, and serving needs no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, encoded

#: Each room and the rooms it may import.
ROOMS: dict[str, set[str]] = {
    "assets": set(),
    "samples": set(),
    "evaluation": set(),
    "models": {"samples"},
    "export": {"models", "evaluation", "samples", "assets"},
    "gallery": {"export", "evaluation", "samples", "assets"},
    "serving": {"gallery", "export", "samples", "assets"},
    "training": {"models", "evaluation", "samples", "export"},
}


def imported_rooms(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        found |= {name.split(".")[0] for name in names}
    return found & ROOMS.keys()


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_one_way(room: str) -> None:
    files = list((ROOT / room).rglob("*.py"))
    assert files
    for path in files:
        assert imported_rooms(path) <= ROOMS[room] | {room}, path


def test_index_search_and_serve_need_no_torch(tmp_path: Path, artifact: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(1))
    (tmp_path / "m.csv").write_text("rgb\na.png\n")
    code = f"""
import sys
for name in ("torch", "onnx", "onnxscript", "yaml_is_fine"):
    sys.modules[name] = None
import trireid
gallery = {str(tmp_path / "g.gallery")!r}
assert trireid.main(["index", {str(tmp_path / "m.csv")!r}, "--gallery", gallery, "--model", {str(artifact)!r}]) == 0
assert trireid.main(["search", "--gallery", gallery, "--rgb", {str(tmp_path / "a.png")!r}]) == 0
import serving.service
"""
    subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", code], cwd=ROOT, check=True, capture_output=True, timeout=120
    )
