"""Verification finds where two networks part: a fault is planted at every stage."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

import trireid
from export import Embedder, export_onnx, load_artifact
from export.kept import KeptSets
from export.torch_runtime import TorchEmbedder
from export.verification import compare
from export.verification_text import text
from models import Head, ReIdNetwork, load_checkpoint
from samples import ArtifactError
from tests.conftest import GOLDENS, export_tiny

CHECKPOINT, CONFIG = GOLDENS / "tiny_sdtps.pth", GOLDENS / "tiny_sdtps.yml"


@pytest.fixture(scope="module")
def reference() -> Embedder:
    """The golden network in PyTorch."""
    return load_artifact(CHECKPOINT, config=CONFIG)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its artifact."""
    path = tmp_path_factory.mktemp("verify") / "golden.onnx"
    export_onnx(load_checkpoint(CHECKPOINT, CONFIG), path)
    return path


def altered(parameter: str) -> Embedder:
    """The network with one parameter changed."""
    network: ReIdNetwork = load_checkpoint(CHECKPOINT, CONFIG)
    values = network.get_parameter(parameter)
    torch.nn.init.normal_(values, std=float(values.detach().std()), generator=torch.Generator().manual_seed(0))
    return TorchEmbedder(network, "altered.pth")


def test_an_artifact_is_its_checkpoint_at_every_stage(reference: Embedder, exported: Path) -> None:
    report = compare(reference, load_artifact(exported))
    assert report.holds
    assert report.parts_at is None
    assert [stage.name for stage in report.stages] == ["input", "tokens", "scores", "embedding"]
    assert all(stage.difference is not None and stage.difference < 1e-4 for stage in report.stages)
    assert report.kept is not None
    assert report.kept.sets == 24  # (1 + 2 + 5) samples of three pictures
    assert report.kept.different == 0


@pytest.mark.parametrize(
    ("parameter", "stage"),
    [
        ("backbone.base.conv1.weight", "tokens"),
        ("sdtps.nir_sparse.score_predictor.0.weight", "scores"),
        ("sdtps.tir_aggr.weight.1.weight", "embedding"),
    ],
)
def test_it_says_where_two_networks_part(reference: Embedder, parameter: str, stage: str) -> None:
    report = compare(reference, altered(parameter))
    assert not report.holds
    assert report.parts_at == stage
    assert stage in text(report)


def test_a_wrong_normalisation_parts_at_the_input(reference: Embedder, exported: Path, tmp_path: Path) -> None:
    model = onnx.load(exported)
    scale = next(t for t in model.graph.initializer if list(t.dims) == [3] and np.allclose(numpy_helper.to_array(t), 2 / 255))
    scale.CopyFrom(numpy_helper.from_array(np.full(3, 1 / 255, np.float32), scale.name))
    onnx.save(model, tmp_path / "wrong.onnx")
    assert compare(reference, load_artifact(tmp_path / "wrong.onnx")).parts_at == "input"


def test_other_patches_are_a_fault_even_where_the_scores_agree(reference: Embedder, exported: Path, tmp_path: Path) -> None:
    model = onnx.load(exported)
    for node in model.graph.node:
        if node.op_type == "TopK":  # the worst patches instead of the best
            next(a for a in node.attribute if a.name == "largest").i = 0
    onnx.save(model, tmp_path / "worst.onnx")
    report = compare(reference, load_artifact(tmp_path / "worst.onnx"))
    assert report.kept is not None
    assert report.kept.different > 12
    assert any("sets of kept patches" in fault for fault in report.faults)


@pytest.mark.parametrize("changes", [{"image_size": (32, 32)}, {"global_local": False, "head": Head.NONE}])
def test_networks_of_other_sizes_are_not_compared(reference: Embedder, changes: dict[str, Any]) -> None:
    assert isinstance(reference, TorchEmbedder)
    other = ReIdNetwork(replace(reference.network.config, aggregation_ratio=1.0, **changes))
    with pytest.raises(ArtifactError, match="cannot be compared"):
        compare(reference, TorchEmbedder(other, "other.pth"))


@given(st.integers(1, 7), st.floats(0, 0.3), st.floats(0, 0.1), st.integers(0, 2**32 - 1))
def test_swapped_patches_are_ties_only_where_scores_explain_them(kept: int, gap: float, off: float, seed: int) -> None:
    """The best dropped patch stands `gap` below the worst kept one, and the other network swaps the two."""
    order = np.random.default_rng(seed).permutation(8)
    ranked = np.where(np.arange(8) < kept, 1.0, 1.0 - gap)
    scores = np.empty(8)
    scores[order] = ranked
    swapped = np.concatenate([order[: kept - 1], order[kept : kept + 1]])
    sets = KeptSets(8)
    sets.add(
        {"kept": order[:kept].reshape(1, 1, kept), "scores": scores.reshape(1, 1, 8)},
        {"kept": swapped.reshape(1, 1, kept), "scores": (scores + off).reshape(1, 1, 8)},
    )
    report = sets.report()
    assert report is not None
    assert (report.equal, report.tied + report.different) == (0, 1)
    if abs(gap - 2 * off) > 1e-9 and abs(gap - 1e-5) > 1e-9:
        assert report.tied == (gap < max(1e-5, 2 * off))


def test_the_command_prints_json_and_fails_where_networks_differ(
    exported: Path, artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given_ = ["--against", str(CHECKPOINT), "--config", str(CONFIG), "--data", "synthetic:person:2", "--json"]
    assert trireid.main(["verify", str(exported), *given_]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["holds"], report["samples"], report["faults"]) == (True, 16, [])
    assert report["retrieval"]["mAP"] == pytest.approx(report["retrieval"]["reference_mAP"], abs=1e-6)
    other = export_tiny(tmp_path / "other.onnx", seed=1)
    assert trireid.main(["verify", str(other), "--against", str(artifact)]) == 1
    assert "not the same network" in capsys.readouterr().out
