"""Precisions: the fp32 graph in half precision for GPUs, or with 8-bit weights for CPUs.

The modules that select patches stay in float32 in both: a score that is off by its rounding swaps
patches, and a swapped patch changes the embedding by far more.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

#: The modules that score and select patches, but for the aggregation of the selected ones.
_SELECTION: Final = "network.sdtps"
_AGGREGATION: Final = "_aggr"
_HEAVY: Final = ("MatMul", "Gemm", "Conv", "Attention")


def convert(model: onnx.ModelProto, precision: str) -> onnx.ModelProto:
    """Return the graph in another precision; inputs, outputs and stages keep types and names."""
    if precision == "fp16":
        return _convert_to_fp16(model)
    return _quantize(model) if precision == "int8" else model


def _convert_to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Matrix products, convolutions and attention in float16; the residual stream, norms, softmax,
    scores and selection in float32.

    A ViT cast to float16 as a whole breaks: norms and softmax lose their sums (cosine 0.14 was seen
    against 0.9997).
    """
    half = onnx.ModelProto()
    half.CopyFrom(model)
    weights = {tensor.name: tensor for tensor in half.graph.initializer}
    nodes: list[NodeProto] = []
    for node in half.graph.node:
        nodes += _wrap_in_casts(node, weights) if _is_heavy(node) else [node]
    del half.graph.node[:]
    half.graph.node.extend(nodes)
    del half.graph.initializer[:]
    used = {name for node in nodes for name in node.input}
    half.graph.initializer.extend(tensor for name, tensor in weights.items() if name in used)
    return half


def _is_heavy(node: NodeProto) -> bool:
    return node.op_type in _HEAVY and not _selects(node)


def _selects(node: NodeProto) -> bool:
    module = node.name.partition("/")[0]
    return (
        module.startswith(_SELECTION)
        and not module.endswith(_AGGREGATION)
        and f"{_AGGREGATION}." not in module
    )


def _wrap_in_casts(node: NodeProto, weights: dict[str, TensorProto]) -> list[NodeProto]:
    """The node between casts: float16 in, float32 out. A weight is cast here and now."""
    casts = []
    for index, name in enumerate(node.input):
        if not name:
            continue
        half = f"{name}.half"
        if name in weights:
            weights.setdefault(half, _cast_weight(weights[name], half))
        else:
            half = f"{name}.half.{node.name}"
            casts.append(
                helper.make_node("Cast", [name], [half], f"{half}/Cast", to=TensorProto.FLOAT16)
            )
        node.input[index] = half
    (out,) = node.output
    node.output[0] = f"{out}.half"
    if node.op_type == "Attention":
        node.attribute.append(helper.make_attribute("softmax_precision", TensorProto.FLOAT))
    return [
        *casts,
        node,
        helper.make_node("Cast", [node.output[0]], [out], f"{out}/Cast", to=TensorProto.FLOAT),
    ]


def _cast_weight(tensor: TensorProto, name: str) -> TensorProto:
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), name)


def _quantize(model: onnx.ModelProto) -> onnx.ModelProto:
    """Weights of matrix products in 8 bits, one scale per channel; activations are quantized as
    they come.

    `reduce_range` keeps weights to 7 bits: CPUs without VNNI add pairs of products in 16 bits,
    which 8 bits overflow.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        whole, small = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        onnx.save(_without_shapes(model), whole)
        with _quiet():
            quantize_dynamic(
                whole,
                small,
                op_types_to_quantize=["MatMul", "Gemm"],
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range=True,
                nodes_to_exclude=[node.name for node in model.graph.node if _selects(node)],
            )
        return onnx.load(small)


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantizer warns, through the root logger, that it was not run on a preprocessed graph;
    ours needs none.
    """
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _without_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph without notes of inner shapes: the quantizer transposes weights and leaves the
    notes as they were.
    """
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.graph.value_info[:]
    return bare
