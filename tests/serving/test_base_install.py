"""A base installation, without an extra: help and the client work, and what is missing is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, encode_image
from tests.serving.conftest import Server

BLOCKED = (
    "torch onnx onnxscript onnxruntime faiss tensorrt matplotlib pyarrow safetensors yaml bentoml"
)


def run(code: str, blocked: str = BLOCKED) -> subprocess.CompletedProcess[str]:
    block = f"import sys\nfor name in {blocked.split()!r}: sys.modules[name] = None\n"
    return subprocess.run(
        [sys.executable, "-c", block + code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize(
    "arguments", [["--help"], ["index", "--help"], ["gallery", "--help"], ["--version"]], ids=str
)
def test_help_needs_no_extra(arguments: list[str]) -> None:
    done = run(f"import trireid.cli\ntrireid.cli.main({arguments!r})")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_client_needs_no_extra(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_image(15))
    asked = [
        "search",
        "--url",
        str(server.client.base_url),
        "--gallery",
        "people",
        "--rgb",
        str(tmp_path / "a.png"),
        "--json",
    ]
    done = run(f"import trireid.cli\nsys.exit(trireid.cli.main({asked!r}))")
    assert (done.returncode, done.stderr) == (0, "")
    assert '"hits"' in done.stdout


@pytest.mark.parametrize(("blocked", "extra"), [("onnxruntime", "cpu"), ("faiss", "cpu")])
def test_a_missing_extra_is_named(blocked: str, extra: str, tmp_path: Path) -> None:
    asked = ["index", "synthetic:person:1", "--gallery", str(tmp_path / "x")]
    done = run(f"import trireid.cli\nsys.exit(trireid.cli.main({asked!r}))", blocked)
    assert done.returncode == 2
    assert (
        done.stderr == f"trireid: {blocked} is not installed; run: pip install 'trireid[{extra}]'\n"
    )
