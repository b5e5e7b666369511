"""Verification finds where two networks part: a problem is planted at every stage."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import numpy_helper

import trireid.cli
from tests.conftest import GOLDENS, drop_content, export_tiny
from tests.inference.test_external import H, W, describe, network
from trireid.export.report import format_report
from trireid.export.selection import SelectedSets, SelectionReport
from trireid.export.verification import compare
from trireid.inference import Embedder, load_artifact
from trireid.inference.onnx_runtime import _open_staged
from trireid.inference.retrieval import embed_source, score_retrieval
from trireid.inference.torch import TorchEmbedder
from trireid.models import Head, ReIdNetwork, load_checkpoint
from trireid.samples import ArtifactError
from trireid.samples.sources import open_source

CHECKPOINT, CONFIG = GOLDENS / "tiny_sdtps.pth", GOLDENS / "tiny_sdtps.yml"


@pytest.fixture(scope="module")
def reference() -> Embedder:
    """The golden network in PyTorch."""
    return load_artifact(CHECKPOINT, config=CONFIG)


def alter(parameter: str) -> Embedder:
    """The network with one parameter changed."""
    network: ReIdNetwork = load_checkpoint(CHECKPOINT, CONFIG)
    values = network.get_parameter(parameter)
    torch.nn.init.normal_(
        values, std=float(values.detach().std()), generator=torch.Generator().manual_seed(0)
    )
    return TorchEmbedder(network, "altered.pth")


def test_an_artifact_is_its_checkpoint_at_every_stage(reference: Embedder, golden: Path) -> None:
    report = compare(reference, load_artifact(golden))
    assert report.holds
    assert report.parts_at is None
    assert [stage.name for stage in report.stages] == ["input", "tokens", "scores", "embedding"]
    assert all(stage.difference is not None and stage.difference < 1e-4 for stage in report.stages)
    assert report.selected_patches is not None
    assert report.selected_patches.sets == 24  # (1 + 2 + 5) samples of three images
    assert report.selected_patches.different == 0


@pytest.mark.parametrize(
    ("parameter", "stage"),
    [
        ("backbone.base.conv1.weight", "tokens"),
        ("sdtps.nir_sparse.score_predictor.0.weight", "scores"),
        ("sdtps.tir_aggr.weight.1.weight", "embedding"),
    ],
)
def test_it_says_where_two_networks_part(reference: Embedder, parameter: str, stage: str) -> None:
    report = compare(reference, alter(parameter))
    assert not report.holds
    assert report.parts_at == stage
    assert stage in format_report(report)


Change = Callable[[onnx.ModelProto], None]


def edit(golden: Path, path: Path, *changes: Change) -> Embedder:
    """The artifact with its graph changed."""
    model = onnx.load(golden)
    drop_content(model)
    for change in changes:
        change(model)
    onnx.save(model, path)
    return load_artifact(path)


def scale(name: str, factor: float) -> Change:
    """Changes a weight of the graph."""

    def change(model: onnx.ModelProto) -> None:
        tensor = next(each for each in model.graph.initializer if each.name == name)
        tensor.CopyFrom(
            numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), name)
        )

    return change


def after(name: str, operator: str, by: float | NDArray[Any] | None = None) -> Change:
    """Puts a node between the one that makes a value and those that take it."""

    def change(model: onnx.ModelProto) -> None:
        graph = model.graph
        place, node = next((i, node) for i, node in enumerate(graph.node) if name in node.output)
        inputs = [f"{name}.before"]
        if by is not None:
            kind = np.int64 if name == "tokens" else np.float32
            inputs.append(f"{name}.{operator}.by")
            graph.initializer.append(numpy_helper.from_array(np.asarray(by, kind), inputs[1]))
        node.output[list(node.output).index(name)] = inputs[0]
        graph.node.insert(place + 1, onnx.helper.make_node(operator, inputs, [name]))

    return change


def worst_patches(model: onnx.ModelProto) -> None:
    """Keeps the worst patches instead of the best."""
    for node in model.graph.node:
        if node.op_type == "TopK":
            next(a for a in node.attribute if a.name == "largest").i = 0


def in_steps(order: int) -> Change:
    """Scores in steps of 0.1, so that many patches tie, which go to the first of them or, with -1,
    to the last.
    """

    def change(model: onnx.ModelProto) -> None:
        for name in [node.input[0] for node in model.graph.node if node.op_type == "TopK"]:
            for operator, by in (
                ("Mul", 10.0),
                ("Round", None),
                ("Div", 10.0),
                ("Sub", order * 1e-7 * np.arange(8)),
            ):
                after(name, operator, by)(model)
                last = next(node for node in model.graph.node if name in node.output)
                last.input[0] = f"{name}.{operator}"
                next(node for node in model.graph.node if f"{name}.before" in node.output).output[
                    0
                ] = f"{name}.{operator}"

    return change


@pytest.mark.parametrize(
    "changes",
    [
        (scale("artifact.scale", 0.5),),
        # another contrast, which a cosine does not see
        (scale("artifact.scale", 2), scale("artifact.shift", 2)),
        (scale("artifact.scale", 1.01), scale("artifact.shift", 1.01)),
    ],
    ids=["darker", "doubled", "a little"],
)
def test_a_wrong_normalisation_parts_at_the_input(
    reference: Embedder, golden: Path, tmp_path: Path, changes: tuple[Change, ...]
) -> None:
    assert compare(reference, edit(golden, tmp_path / "wrong.onnx", *changes)).parts_at == "input"


@pytest.mark.parametrize(
    "change", [worst_patches, after("tokens", "Add", 1)], ids=["the worst", "numbered from 1"]
)
def test_other_patches_are_an_error_of_their_own(
    reference: Embedder, golden: Path, tmp_path: Path, change: Change
) -> None:
    report = compare(reference, edit(golden, tmp_path / "other.onnx", change))
    assert report.parts_at == "selected_patches"
    assert report.selected_patches is not None
    assert report.selected_patches.different > 12
    assert any("sets of selected patches" in problem for problem in report.errors)
    coarse = compare(reference, load_artifact(tmp_path / "other.onnx"), precision="int8")
    # no precision explains them
    assert any("sets of selected patches" in problem for problem in coarse.errors)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_embedding_of_another_length_is_an_error(
    reference: Embedder, golden: Path, tmp_path: Path, precision: str
) -> None:
    longer = edit(golden, tmp_path / "longer.onnx", after("embedding", "Mul", 2.0))
    report = compare(reference, longer, precision=precision)
    assert report.parts_at == "embedding"
    assert not report.holds


def test_patches_that_swap_at_a_tie_are_no_difference(golden: Path, tmp_path: Path) -> None:
    first, last = (edit(golden, tmp_path / f"{order}.onnx", in_steps(order)) for order in (1, -1))
    report = compare(first, last)
    assert report.selected_patches is not None
    assert (report.selected_patches.different, report.holds, report.parts_at) == (0, True, None)
    assert 0 < report.tied < 8
    assert report.selected_patches.margin < 1e-5
    assert f"{report.tied} samples in which a tie swaps patches are left out" in format_report(
        report
    )
    other = edit(
        tmp_path / "-1.onnx",
        tmp_path / "w.onnx",
        scale("artifact.network.sdtps.tir_aggr.weight.1.bias", 3),
    )
    assert not compare(first, other).holds  # what is not at a tie still counts


def test_scores_that_differ_are_no_tie(reference: Embedder) -> None:
    kept = compare(reference, alter("sdtps.nir_sparse.score_predictor.0.weight")).selected_patches
    assert kept is not None
    assert kept.different > 0


@pytest.mark.parametrize(
    ("precision", "passes", "fails"),
    [("fp16", 0.025, 0.04), ("int8", 0.08, 0.12)],
    ids=["fp16", "int8"],
)
def test_the_gates_on_the_cosine(
    reference: Embedder, golden: Path, tmp_path: Path, precision: str, passes: float, fails: float
) -> None:
    """An embedding that is moved by m, at right angles, has a cosine of about 1 - m^2 / 2."""
    for move, holds in ((passes, True), (fails, False)):
        moved = edit(
            golden,
            tmp_path / "moved.onnx",
            after("embedding", "Add", move * np.eye(1, reference.card.dimension)),
        )
        assert compare(reference, moved, precision=precision).holds == holds


@pytest.mark.parametrize(("move", "holds"), [(7e-5, True), (1.5e-4, False)])
def test_the_gate_on_a_number_in_float32(
    reference: Embedder, golden: Path, tmp_path: Path, move: float, holds: bool
) -> None:
    moved = edit(
        golden,
        tmp_path / "moved.onnx",
        after("embedding", "Add", move * np.eye(1, reference.card.dimension)),
    )
    assert compare(reference, moved).holds == holds


@pytest.mark.parametrize(
    ("mean", "holds"), [(0.504, True), (0.506, False), (0.496, True), (0.494, False)]
)
def test_the_gate_on_map(reference: Embedder, mean: float, holds: bool) -> None:
    found = {"reference_mAP": 0.5, "reference_rank1": 0.5, "mAP": mean, "rank1": 0.5}
    assert replace(compare(reference, reference), retrieval=found).holds == holds


def test_the_report_tells_the_two_apart(reference: Embedder) -> None:
    source = open_source("synthetic:person:2")
    other = alter("sdtps.tir_aggr.weight.1.weight")
    report = compare(reference, other, source)
    for prefix, network_ in (("reference_", reference), ("", other)):
        asked = embed_source(network_, source)
        scores = score_retrieval(asked, asked, network_.card)[-1].scores
        assert report.retrieval[f"{prefix}mAP"] == pytest.approx(scores.mAP)
        assert report.retrieval[f"{prefix}rank1"] == pytest.approx(scores.cmc[0])
    assert report.retrieval["mAP"] != report.retrieval["reference_mAP"]
    assert report.embedding.worst is not None
    kept = SelectionReport(
        sets=4, size=2, equal=1, tied=3, different=0, swapped=1, worst=0.5, mean=0.75, margin=0.0
    )
    figures = replace(report, selected_patches=kept).figures()
    assert (figures["cosine_worst"], figures["cosine_mean"]) == (
        report.embedding.worst,
        report.embedding.mean,
    )
    assert (figures["selected_overlap_worst"], figures["kept_overlap_mean"]) == (0.5, 0.75)
    assert (figures["data"], figures["samples"], figures["mAP"]) == (
        source.name,
        16,
        report.retrieval["mAP"],
    )


def test_stages_are_made_where_the_network_runs(
    golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = load_artifact(golden, threads=1)
    made: dict[str, Any] = {}
    monkeypatch.setattr(
        "onnxruntime.InferenceSession",
        lambda _, options, **more: made.update(more, options=options),
    )
    session = embedder.__dict__["_session"]
    monkeypatch.setattr(session, "get_providers", lambda: ["CUDAExecutionProvider"])
    _open_staged(golden, session)
    assert made["providers"] == ["CUDAExecutionProvider"]
    assert made["options"].intra_op_num_threads == 1


def test_two_external_networks_are_held_to_float32(tmp_path: Path) -> None:
    external = describe(
        network(tmp_path / "net.onnx", {"x": ["b", 3, H, W]}), [{"name": "x", "modality": "rgb"}]
    )
    report = compare(load_artifact(external), load_artifact(external))
    assert (report.holds, report.precision, report.selected_patches) == (True, "fp32", None)


@pytest.mark.parametrize(
    "changes", [{"image_size": (32, 32)}, {"global_local": False, "head": Head.NONE}]
)
def test_networks_of_other_sizes_are_not_compared(
    reference: Embedder, changes: dict[str, Any]
) -> None:
    assert isinstance(reference, TorchEmbedder)
    other = ReIdNetwork(replace(reference.network.config, aggregation_ratio=1.0, **changes))
    with pytest.raises(ArtifactError, match="cannot be compared"):
        compare(reference, TorchEmbedder(other, "other.pth"))


@given(st.integers(1, 7), st.floats(0, 0.3), st.floats(0, 0.1), st.integers(0, 2**32 - 1))
def test_swapped_patches_are_ties_only_where_scores_explain_them(
    kept: int, gap: float, off: float, seed: int
) -> None:
    """The best dropped patch stands `gap` below the worst kept one, and the other network swaps the
    two.
    """
    order = np.random.default_rng(seed).permutation(8)
    ranked = np.where(np.arange(8) < kept, 1.0, 1.0 - gap)
    scores = np.empty(8)
    scores[order] = ranked
    swapped = np.concatenate([order[: kept - 1], order[kept : kept + 1]])
    sets = SelectedSets(8)
    sets.add(
        {"selected_patches": order[:kept].reshape(1, 1, kept), "scores": scores.reshape(1, 1, 8)},
        {
            "selected_patches": swapped.reshape(1, 1, kept),
            "scores": (scores + off).reshape(1, 1, 8),
        },
        np.ones((1, 1), bool),
    )
    report = sets.report()
    assert report is not None
    assert (report.equal, report.tied + report.different) == (0, 1)
    if abs(gap - 2 * off) > 1e-9 and abs(gap - 1e-5) > 1e-9:
        assert report.tied == (gap < max(1e-5, 2 * off))


def test_the_command_prints_json_and_fails_where_networks_differ(
    golden: Path, artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given_ = [
        "--against",
        str(CHECKPOINT),
        "--config",
        str(CONFIG),
        "--data",
        "synthetic:person:2",
        "--json",
    ]
    assert trireid.cli.main(["verify", str(golden), *given_]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["holds"], report["samples"], report["errors"]) == (True, 16, [])
    # the old names are still answered
    assert (report["faults"], report["kept"]) == ([], report["selected_patches"])
    assert report["retrieval"]["mAP"] == pytest.approx(
        report["retrieval"]["reference_mAP"], abs=1e-6
    )
    other = export_tiny(tmp_path / "other.onnx", seed=1)
    assert trireid.cli.main(["verify", str(other), "--against", str(artifact)]) == 1
    assert "not the same network" in capsys.readouterr().out
