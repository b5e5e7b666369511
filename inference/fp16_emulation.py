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
    """The graph, changed in place: an Identity stands behind each cast to float16, and before each
    cast back to float32.
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
            held = _held(node.output[0])
            nodes += [node, onnx.helper.make_node("Identity", [held], [node.output[0]])]
            node.output[0] = held
            halves |= {held, *nodes[-1].output}
        elif kind == onnx.TensorProto.FLOAT and node.input[0] in halves:
            held = _held(node.output[0])
            nodes += [onnx.helper.make_node("Identity", [node.input[0]], [held]), node]
            node.input[0] = held
        else:
            nodes.append(node)
            if halves & set(node.input):
                halves |= set(node.output)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _held(name: str) -> str:
    return f"{name}.held"


def _cast_to(node: onnx.NodeProto) -> int | None:
    return (
        next((each.i for each in node.attribute if each.name == "to"), None)
        if node.op_type == "Cast"
        else None
    )
