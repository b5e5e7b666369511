"""Float16 as a GPU computes it, on a CPU: every value that the graph casts to float16 is rounded to
it.

On CPUs ONNX Runtime multiplies float16 in float32, and drops the casts around a product as a pair
that cancels out, whatever the optimisation level: an artifact would pass its gates with activations
that a GPU rounds, or that overflow there.
"""

from __future__ import annotations

from typing import Final

import onnx

#: ONNX Runtime's optimiser that would remove what holds the rounding in place; a session on such a
#: graph does without it.
REMOVER: Final = "EliminateIdentity"


def emulate_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Change a graph in place so that a CPU rounds like a GPU: an Identity stands behind each cast
    to float16, and before each cast back to float32. Returns the graph.
    """
    nodes: list[onnx.NodeProto] = []
    halves = {
        tensor.name
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT16
    }
    for node in model.graph.node:
        kind = _cast_to(node)
        if kind == onnx.TensorProto.FLOAT16:
            rounded = _name_identity(node.output[0])
            nodes += [node, onnx.helper.make_node("Identity", [rounded], [node.output[0]])]
            node.output[0] = rounded
            halves |= {rounded, *nodes[-1].output}
        elif kind == onnx.TensorProto.FLOAT and node.input[0] in halves:
            rounded = _name_identity(node.output[0])
            nodes += [onnx.helper.make_node("Identity", [node.input[0]], [rounded]), node]
            node.input[0] = rounded
        else:
            nodes.append(node)
            if halves & set(node.input):
                halves |= set(node.output)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _name_identity(name: str) -> str:
    return f"{name}.rounded"


def _cast_to(node: onnx.NodeProto) -> int | None:
    return (
        next((each.i for each in node.attribute if each.name == "to"), None)
        if node.op_type == "Cast"
        else None
    )
