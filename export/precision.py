"""Precisions: the fp32 graph in half precision for GPUs, or with 8-bit weights for CPUs.

The modules that select patches stay in float32 in both: a score that is off by its rounding swaps
patches, and a swapped patch changes the embedding by far more.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from trireid.export.quantization import quantize

#: The modules that score and select patches, but for the aggregation of the selected ones.
_SELECTION: Final = "network.sdtps"
_AGGREGATION: Final = "_aggr"
_HEAVY: Final = ("MatMul", "Gemm", "Conv", "Attention")


def convert(
    model: onnx.ModelProto, precision: str, probe: tuple[NDArray[Any], ...]
) -> onnx.ModelProto:
    """Return the graph in another precision; inputs, outputs and stages keep types and names.

    Args:
        model: The fp32 graph.
        precision: One of `trireid.export.tolerance.PRECISIONS`.
        probe: A batch of the graph's inputs, on which int8 measures what 8 bits would spoil.
    """
    if precision == "fp16":
        return _convert_to_fp16(model)
    if precision == "int8":
        return quantize(model, probe, [node.name for node in model.graph.node if _selects(node)])
    return model


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
