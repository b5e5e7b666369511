"""Precisions: what they change, what they leave, and what they cost, with random weights and with
real ones.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from tests.conftest import GOLDENS, encode_image, find_shared, make_sample
from tests.export.focus import load_pretrained_network
from tests.export.test_static import FAMILY
from tests.export.tolerances import change_tolerance
from trireid.export import export_onnx
from trireid.export.precision import convert
from trireid.export.tracing import ArtifactGraph, trace
from trireid.export.verification import draw_probe_inputs
from trireid.inference import load_artifact
from trireid.inference.fp16_emulation import emulate_fp16
from trireid.inference.torch import describe_network
from trireid.models import Backbone, NetworkConfig, ReIdNetwork, load_checkpoint
from trireid.samples import SourceError, VerificationError

FEW = "synthetic:person:4"


@pytest.fixture(scope="module")
def graphs() -> dict[str, onnx.ModelProto]:
    """A small SDTPS network's graph in every precision."""
    network = load_checkpoint(GOLDENS / "tiny_sdtps.pth", GOLDENS / "tiny_sdtps.yml")
    model = trace(ArtifactGraph(network).eval(), None)
    probe = draw_probe_inputs(describe_network(network, "tiny", None), 2)
    return {precision: convert(model, precision, probe) for precision in ("fp32", "fp16", "int8")}


def half_operators(graph: onnx.GraphProto) -> set[str]:
    """The kinds of the nodes that work in float16, by what the casts around them say."""
    half = {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT16}
    half |= {
        out
        for node in graph.node
        for a in node.attribute
        if a.name == "to" and a.i == TensorProto.FLOAT16
        for out in node.output
    }
    return {
        node.op_type for node in graph.node if node.op_type != "Cast" and half & set(node.input)
    }


def test_half_precision_is_for_products_alone(graphs: dict[str, onnx.ModelProto]) -> None:
    graph = graphs["fp16"].graph
    assert half_operators(graph) == {"MatMul", "Gemm", "Conv", "Attention"}
    attention = [node for node in graph.node if node.op_type == "Attention"]
    assert attention
    for node in attention:
        assert {a.name: a.i for a in node.attribute}["softmax_precision"] == TensorProto.FLOAT
    onnx.checker.check_model(graphs["fp16"], full_check=True)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_what_selects_patches_stays_as_it_was(
    graphs: dict[str, onnx.ModelProto], precision: str
) -> None:
    def find_selecting(model: onnx.ModelProto) -> list[tuple[str, list[str]]]:
        nodes = [
            n
            for n in model.graph.node
            if n.name.startswith("network.sdtps") and "_aggr" not in n.name
        ]
        return sorted((node.op_type, list(node.output)) for node in nodes)

    assert find_selecting(graphs["fp32"])
    assert find_selecting(graphs[precision]) == find_selecting(graphs["fp32"])


def test_both_make_the_file_smaller(graphs: dict[str, onnx.ModelProto]) -> None:
    fp32, fp16, int8 = (len(graphs[name].SerializeToString()) for name in ("fp32", "fp16", "int8"))
    assert fp16 < 0.8 * fp32
    # in so small a network the scales of its channels weigh as much as the weights they save
    assert int8 < 0.9 * fp32


@pytest.mark.parametrize(("precision", "least"), [("fp16", 0.9995), ("int8", 0.995)])
@pytest.mark.parametrize("name", ["sdtps_default", "demo_hdm_atm", "imagenet_sdtps"])
def test_goldens_pass_their_gates(tmp_path: Path, name: str, precision: str, least: float) -> None:
    goldens = find_shared("goldens")
    network = load_checkpoint(goldens / f"{name}.pth", goldens / f"{name}.yml")
    card = export_onnx(network, tmp_path / "a.onnx", precision=precision, data=FEW)
    found = card.measured["against_fp32"]
    assert least <= found["cosine_worst"] <= found["cosine_mean"] < 1
    assert abs(found["mAP"] - found["reference_mAP"]) <= 0.005
    assert (found["data"], found["samples"]) == (FEW, 32)


@pytest.mark.parametrize(("precision", "least"), [("fp16", 0.9995), ("int8", 0.995)])
def test_real_weights_pass_their_gates(tmp_path: Path, precision: str, least: float) -> None:
    # Eight identities: with four, mAP moves by 0.7 points on this network, whose head is random,
    # and is refused.
    card = export_onnx(
        load_pretrained_network(),
        tmp_path / "a.onnx",
        precision=precision,
        data="synthetic:person:8",
    )
    assert least <= card.measured["against_fp32"]["cosine_worst"] < 1


@pytest.mark.parametrize(("precision", "least"), [("fp16", 0.9995), ("int8", 0.995)])
def test_dinov3_passes_its_gates(tmp_path: Path, precision: str, least: float) -> None:
    torch.manual_seed(0)
    network = ReIdNetwork(FAMILY["DINOv3"]).eval()
    card = export_onnx(network, tmp_path / "a.onnx", precision=precision, data=FEW)
    assert least <= card.measured["against_fp32"]["cosine_worst"] < 1


def test_the_precision_is_in_card_and_fingerprint(tmp_path: Path, golden: Path) -> None:
    network = load_checkpoint(GOLDENS / "tiny_sdtps.pth", GOLDENS / "tiny_sdtps.yml")
    card, other = (
        export_onnx(network, tmp_path / "h.onnx", precision="fp16", data=FEW),
        load_artifact(golden).card,
    )
    assert (other.precision, card.precision) == ("fp32", "fp16")
    assert other.fingerprint != card.fingerprint
    whole, half = (
        load_artifact(path).embed([make_sample(1)]) for path in (golden, tmp_path / "h.onnx")
    )
    assert 0 < np.abs(whole - half).max() < 1e-2


def test_what_overflows_on_a_gpu_is_refused_on_a_cpu(tmp_path: Path) -> None:
    """Activations over float16's 65504:

    ONNX Runtime computes them in float32 on a CPU, and would not notice.
    """
    network = load_checkpoint(GOLDENS / "tiny_sdtps.pth", GOLDENS / "tiny_sdtps.yml")
    with torch.no_grad():
        block = "backbone.base.transformer.resblocks.0"
        network.get_parameter(f"{block}.ln_2.weight").mul_(1e3)
        network.get_parameter(f"{block}.mlp.c_fc.weight").mul_(1e3)
    with pytest.raises(
        VerificationError, match=r"embeddings are not finite.*they part at the tokens"
    ):
        export_onnx(network, tmp_path / "a.onnx", precision="fp16", data=FEW)
    assert [path.name for path in tmp_path.iterdir()] == ["a.report.json"]


def test_half_precision_rounds_on_a_cpu(graphs: dict[str, onnx.ModelProto]) -> None:
    held = onnx.ModelProto()
    held.CopyFrom(graphs["fp16"])
    nodes = emulate_fp16(held).graph.node
    makers = {name: node.op_type for node in nodes for name in node.output}
    takers = {name: node.op_type for node in nodes for name in node.input}
    half = half_operators(graphs["fp16"].graph)
    for node in nodes:
        if node.op_type in half and not node.name.startswith("network.sdtps"):
            assert "Cast" not in {makers.get(name) for name in node.input}
            assert takers[node.output[0]] == "Identity"


def test_a_precision_needs_data_on_which_retrieval_can_be_measured(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_image(1))
    (tmp_path / "m.csv").write_text("rgb\na.png\n")
    network = load_checkpoint(GOLDENS / "tiny_sdtps.pth", GOLDENS / "tiny_sdtps.yml")
    with pytest.raises(
        SourceError,
        match=r"change of mAP decides.*none of 1 samples has an identity.*another SOURCE",
    ):
        export_onnx(network, tmp_path / "a.onnx", precision="fp16", data=str(tmp_path / "m.csv"))
    assert not list(tmp_path.glob("*.onnx")) + list(tmp_path.glob("*.json"))


def test_a_precision_that_changes_retrieval_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_tolerance(monkeypatch, "int8", map_change=-1.0)
    network = load_checkpoint(GOLDENS / "tiny_sdtps.pth", GOLDENS / "tiny_sdtps.yml")
    with pytest.raises(VerificationError, match="mAP changes by"):
        export_onnx(network, tmp_path / "a.onnx", precision="int8", data=FEW)
    assert [path.name for path in tmp_path.iterdir()] == ["a.report.json"]


def make_outlier_network() -> ReIdNetwork:
    """A small network with the two things that spoil 8 bits: a class token with activations a
    hundred times larger than other tokens', and projections close to the identity.
    """
    torch.manual_seed(0)
    network = ReIdNetwork(
        NetworkConfig(
            backbone=Backbone.DINOV2,
            image_size=(56, 28),
            patch=14,
            stride=14,
            width=128,
            depth=2,
            channels=128,
        )
    )
    with torch.no_grad():
        network.get_parameter("backbone.base.cls_token")[..., 0] = 100
        for block in range(2):
            network.get_parameter(f"backbone.base.blocks.{block}.norm2.weight")[0] = 30
        for name in ("rgb", "nir", "tir"):
            network.get_parameter(f"{name}_reduce.0.weight")[:128] = 5
            identity = torch.cat([torch.zeros(128, 128), torch.eye(128)], dim=1)
            weight = network.get_parameter(f"{name}_reduce.1.weight")
            weight.copy_(identity + 0.005 * torch.randn(128, 256))
    return network.eval()


def test_int8_keeps_in_float32_what_8_bits_would_spoil(tmp_path: Path) -> None:
    card = export_onnx(make_outlier_network(), tmp_path / "a.onnx", precision="int8", data=FEW)
    layers = card.measured["float32_layers"]
    assert {f"{name}_reduce.1" for name in ("rgb", "nir", "tir")} <= set(layers)
    assert not [name for name in layers if ".blocks." in name]
    report = json.loads((tmp_path / "a.report.json").read_text())
    assert report["artifact"]["float32_layers"] == layers
    assert load_artifact(tmp_path / "a.onnx").card.measured["float32_layers"] == layers
    # tokens, too: the class token's outliers take no steps from the patches
    assert next(each for each in report["stages"] if each["name"] == "tokens")["worst"] > 0.9995
