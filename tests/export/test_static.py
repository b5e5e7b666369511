"""The static path: no network of the family exports to a graph whose shapes depend on the data, or
on more than the batch.
"""

from __future__ import annotations

from dataclasses import replace

import onnx
import pytest

from trireid.export import export_onnx
from trireid.export.tracing import ArtifactGraph, trace
from trireid.models import Backbone, Head, NetworkConfig, ReIdNetwork

SMALL = NetworkConfig(
    image_size=(64, 32), width=64, depth=1, channels=64, cameras=4, aggregation_ratio=0.5
)
FAMILY = {
    "SDTPS": SMALL,
    "SDTPS relaxed": replace(SMALL, sparse_ratio=0.7),
    "SDTPS, nothing dropped": replace(SMALL, sparse_ratio=1.0),
    "HDM": replace(SMALL, head=Head.HDM),
    "HDM and ATMoE": replace(SMALL, head=Head.HDM_ATM),
    "backbone alone": replace(SMALL, head=Head.NONE, cameras=0, global_local=False),
    "ImageNet": replace(SMALL, backbone=Backbone.IMAGENET),
    "ImageNet, overlapping": replace(SMALL, backbone=Backbone.IMAGENET, stride=8),
    "DINOv2": replace(SMALL, backbone=Backbone.DINOV2, registers=4),
    "DINOv3": replace(SMALL, backbone=Backbone.DINOV3, registers=4),
}
DATA_DEPENDENT = {
    "NonZero",
    "Loop",
    "If",
    "Scan",
    "Compress",
    "Unique",
    "NonMaxSuppression",
    "SequenceAt",
}


@pytest.fixture(scope="module", params=FAMILY)
def dynamic(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[NetworkConfig, onnx.GraphProto]:
    """A network of the family and its graph, with a dynamic batch."""
    config = FAMILY[request.param]
    path = tmp_path_factory.mktemp("static") / "a.onnx"
    export_onnx(ReIdNetwork(config), path)
    return config, with_shapes(onnx.load(path))


def with_shapes(model: onnx.ModelProto) -> onnx.GraphProto:
    return onnx.shape_inference.infer_shapes(model, strict_mode=True).graph


def attribute(node: onnx.NodeProto, name: str) -> int | None:
    return next((a.i for a in node.attribute if a.name == name), None)


def test_shapes_depend_on_nothing_but_the_batch(
    dynamic: tuple[NetworkConfig, onnx.GraphProto],
) -> None:
    _, graph = dynamic
    operators = [node.op_type for node in graph.node]
    assert not DATA_DEPENDENT & set(operators)
    shapes = [node for node in graph.node if node.op_type == "Shape"]
    assert len(shapes) <= 1
    for node in shapes:  # of the images, and only their first dimension: the batch
        assert (list(node.input), attribute(node, "start"), attribute(node, "end")) == (
            ["images"],
            0,
            1,
        )
    kinds = {
        value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input)
    }
    for node in graph.node:
        if node.op_type == "Where":  # on values, never on shapes
            assert kinds[node.input[2]] == onnx.TensorProto.FLOAT


def test_top_k_has_a_constant_k(dynamic: tuple[NetworkConfig, onnx.GraphProto]) -> None:
    config, graph = dynamic
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    top = [node for node in graph.node if node.op_type == "TopK"]
    assert [constants[node.input[1]].item() for node in top] == (
        [config.selected_patches] * 3 if config.head is Head.SDTPS else []
    )


@pytest.mark.parametrize("name", ["SDTPS", "HDM and ATMoE", "ImageNet, overlapping", "DINOv3"])
def test_a_fixed_batch_leaves_no_symbol_and_no_shape(name: str) -> None:
    graph = with_shapes(trace(ArtifactGraph(ReIdNetwork(FAMILY[name]).eval()), 2))
    assert not {"Shape", *DATA_DEPENDENT} & {node.op_type for node in graph.node}
    for value in (*graph.input, *graph.output, *graph.value_info):
        assert all(dim.HasField("dim_value") for dim in value.type.tensor_type.shape.dim), (
            value.name
        )
