"""The layers: imports run one way, down, and serving needs no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, encode_image

#: Each layer and the layers it may import; any may import `trireid.lazy`, and tests nothing of
#: this.
LAYERS: dict[str, set[str]] = {
    "samples": set(),
    "models": {"samples"},
    "evaluation": {"samples"},
    "inference": {"samples", "evaluation"},
    "export": {"inference", "models", "evaluation", "samples"},
    "gallery": {"inference", "evaluation", "samples"},
    "training": {"models", "export", "inference", "evaluation", "samples"},
    "demo": {"training", "gallery", "export", "inference", "models", "evaluation", "samples"},
    "serving": {"gallery", "inference", "samples"},
}
#: Single files that may import one layer more.
EXCEPTIONS = {"inference/torch.py": {"models"}, "serving/served_galleries.py": {"demo"}}


def imported_layers(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("trireid.")}
    return found & LAYERS.keys()


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_run_one_way(layer: str) -> None:
    files = list((ROOT / layer).rglob("*.py"))
    assert files
    for path in files:
        allowed = LAYERS[layer] | EXCEPTIONS.get(str(path.relative_to(ROOT)), set()) | {layer}
        assert imported_layers(path) <= allowed, path


def test_index_search_and_serve_need_no_torch(tmp_path: Path, artifact: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_image(1))
    (tmp_path / "m.csv").write_text("rgb\na.png\n")
    code = f"""
import sys
for name in ("torch", "onnx", "onnxscript", "yaml_is_fine"):
    sys.modules[name] = None
import trireid.cli
gallery = {str(tmp_path / "g.gallery")!r}
assert trireid.cli.main(["index", {str(tmp_path / "m.csv")!r}, "--gallery", gallery, "--model", {str(artifact)!r}]) == 0
assert trireid.cli.main(["search", "--gallery", gallery, "--rgb", {str(tmp_path / "a.png")!r}]) == 0
import trireid.serving.service
"""
    subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", code],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
