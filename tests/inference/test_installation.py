"""Alternatives that are installed together are noticed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from trireid.inference.installation import find_conflicts


def pretend_installed(folder: Path, *names: str) -> None:
    """Metadata of packages, as pip leaves it."""
    for name in names:
        info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")


def test_one_build_of_each_is_fine() -> None:
    assert find_conflicts() == []


def test_two_builds_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_installed(tmp_path, "onnxruntime", "onnxruntime-gpu", "faiss-cpu", "faiss-gpu-cuvs")
    monkeypatch.syspath_prepend(str(tmp_path))
    runtime, faiss = find_conflicts()
    assert runtime.startswith("onnxruntime and onnxruntime-gpu are installed together")
    assert faiss.startswith("faiss-cpu and faiss-gpu-cuvs are installed together")


def test_the_command_line_says_so(tmp_path: Path) -> None:
    pretend_installed(tmp_path, "onnxruntime-gpu")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "trireid",
            "search",
            "--gallery",
            str(tmp_path / "none"),
            "--rgb",
            "x",
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        check=False,
        timeout=60,
    )
    assert "trireid: warning: onnxruntime and onnxruntime-gpu are installed together" in done.stderr
