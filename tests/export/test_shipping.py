"""The bytes that are shipped are the bytes that were verified, and their figures are found."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, export_tiny
from tests.inference.tensorrt_fake import FakeCuda, FakeTensorRt, install
from trireid.export import onnx, tensorrt
from trireid.export.tensorrt import export_tensorrt
from trireid.export.tolerance import TOLERANCES
from trireid.inference import load_artifact
from trireid.inference.content import report_path
from trireid.inference.tensorrt.plan import Profile
from trireid.samples import VerificationError


def export_one(kind: str, artifact: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    if kind == "onnx":
        return export_tiny(target, 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(target.parent.parent / "cache"))
    install(monkeypatch, FakeTensorRt(FakeCuda(), "11.4.0.106"))
    return export_tensorrt(artifact, target, batch=Profile(1, 2, 4))


#: The functions by which each exporter opens the file that is compared.
OPENERS: dict[str, tuple[Any, str]] = {
    "onnx": (onnx, "load_artifact"),
    "plan": (tensorrt, "load_plan"),
}


def spy_on_opening(kind: str, monkeypatch: pytest.MonkeyPatch, act: Callable[[Path], None]) -> None:
    module, name = OPENERS[kind]
    load = getattr(module, name)

    def spy(path: Path, **options: Any) -> Any:
        opened = load(path, **options)
        if ".t." in str(path.parent):  # the temporary of the target, not the artifact of a plan
            act(path)
        return opened

    monkeypatch.setattr(module, name, spy)


@pytest.fixture(params=OPENERS)
def kind(request: pytest.FixtureRequest) -> str:
    """An ONNX file or a plan."""
    return str(request.param)


@pytest.fixture
def target(tmp_path: Path, kind: str) -> Path:
    """The file to export, in a folder of its own."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / f"t.{kind}"


def test_the_verified_bytes_are_shipped(
    kind: str, artifact: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[tuple[str, int]] = []

    def note(path: Path) -> None:
        verified.append((hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_ino))

    spy_on_opening(kind, monkeypatch, note)
    export_one(kind, artifact, target, monkeypatch)
    shipped = hashlib.sha256(target.read_bytes()).hexdigest()
    assert verified == [(shipped, target.stat().st_ino)]
    report = json.loads(report_path(target).read_text())
    assert report["artifact"]["sha256"] == shipped
    assert report["artifact"]["bytes"] == target.stat().st_size


def test_a_change_between_verification_and_shipping_is_caught(
    kind: str, artifact: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    target.write_bytes(b"the one before")
    spy_on_opening(kind, monkeypatch, damage)
    # for the artifact's stages the file is read again, and that must not be what catches it
    monkeypatch.setattr("trireid.inference.onnx_runtime.OnnxEmbedder.stages", run_as_stages)
    with pytest.raises(VerificationError, match=r"its bytes changed while they were verified"):
        export_one(kind, artifact, target, monkeypatch)
    assert target.read_bytes() == b"the one before"
    assert os.listdir(target.parent) == [target.name]


def run_as_stages(embedder: Any, *batch: Any) -> Any:
    embedding, tokens = embedder.run(*batch)
    return {"selected_patches": tokens, "embedding": embedding}


def test_the_figures_stand_next_to_the_artifact_and_count_for_it_alone(
    artifact: Path, tmp_path: Path
) -> None:
    path, report = tmp_path / "a.onnx", tmp_path / "a.report.json"
    path.write_bytes(artifact.read_bytes())
    assert "against_fp32" not in load_artifact(path).card.measured
    good = json.loads(report_path(artifact).read_text())
    report.write_text(json.dumps(good))
    figures = load_artifact(path).card.measured["against_fp32"]
    assert figures == load_artifact(artifact).card.measured["against_fp32"] == good["figures"]
    assert figures["max_difference"] <= 1e-4
    for other in (
        "{",
        "[]",
        json.dumps({**good, "artifact": {"content": "0" * 64}}),
        json.dumps({**good, "figures": [1]}),
        "[" * 100_000,
    ):
        report.write_text(other)
        assert "against_fp32" not in load_artifact(path).card.measured
    report.unlink()
    os.mkfifo(report)  # would block
    assert "against_fp32" not in load_artifact(path).card.measured


def test_reports_of_an_artifact_and_its_plan_are_two_files() -> None:
    paths = [report_path(Path(name)) for name in ("a.onnx", "a.plan")]
    assert [path.name for path in paths] == ["a.report.json", "a.plan.report.json"]


def test_the_documentation_shows_the_table() -> None:
    text = (ROOT / "docs" / "export.md").read_text()
    rows = {
        name: cells.split(" | ")
        for name, cells in re.findall(r"^\| `([^`]+)` \| (.*) \|$", text, re.MULTILINE)
        if name in TOLERANCES
    }
    patches = {None: "none but ties", 0.0: "1 in a set", 0.05: "5 in 100 of a set"}
    ignored = {"none": "none", "ties": "with a tie", "swaps": "with a swap, unless most are"}
    assert rows == {
        name: [
            f"{row.cosine:.6g}",
            "any" if row.difference is None else f"{row.difference:.0e}".replace("e-0", "e-"),
            patches[row.swapped],
            ignored[row.ignored],
            f"{100 * row.map_change:g} points",
        ]
        for name, row in TOLERANCES.items()
    }


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TOLERANCES["fp32"] = TOLERANCES["int8"]  # type: ignore[index]
