"""int8: matrix products in 8 bits for CPUs, but for those that 8 bits would spoil."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from trireid.inference.card import INPUTS
from trireid.inference.onnx_runtime import open_session

_PRODUCTS: Final = ("MatMul", "Gemm")
#: A product whose output 8 bits move by more than this share of its length stays in float32.
#: Those of a ViT's blocks move by 0.01 to 0.03; a projection that training has left close to the
#: identity moves by 0.3, as the ones on its diagonal leave no steps for the rest.
_MOST_MOVED: Final = 0.04
_WEIGHT_STEPS: Final = 64  # 7 bits
_ACTIVATION_STEPS: Final = 255
_LEAST: Final = 1e-12
_AXES, _FLOOR = "rows.axes", "rows.floor"


def quantize(
    model: onnx.ModelProto, probe: tuple[NDArray[Any], ...], untouched: Collection[str]
) -> onnx.ModelProto:
    """Quantize matrix products to 8 bits: weights one scale per channel, activations as they come.

    Each token is first divided by its largest number, and its product multiplied by it: a few
    tokens of a ViT have activations a hundred times larger than the rest. `reduce_range` keeps
    weights to 7 bits: CPUs without VNNI add pairs of products in 16 bits, which 8 bits overflow.
    A product that is off by too much on the probe inputs computes in float32 with its weights in
    float16, and so does the patch convolution.

    Args:
        model: The fp32 graph.
        probe: A batch of the graph's inputs.
        untouched: Names of nodes that stay as they are, weights included.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    products = [node for node in model.graph.node if _is_product(node, weights, untouched)]
    with tempfile.TemporaryDirectory() as folder:
        whole, small = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        spoilt = _find_spoilt(model, products, probe, whole)
        kept = {*untouched, *spoilt}
        onnx.save(_normalize_tokens(model, {node.name for node in products} - kept), whole)
        with _quiet():
            quantize_dynamic(
                whole,
                small,
                op_types_to_quantize=list(_PRODUCTS),
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range=True,
                # the quantizer first makes a MatMul of every Gemm, under this name
                nodes_to_exclude=[*kept, *(f"{name}_MatMul" for name in kept)],
            )
        return _halve_weights(onnx.load(small), untouched)


def list_float32_layers(model: onnx.ModelProto) -> list[str]:
    """List the modules of an int8 graph whose products or convolutions compute in float32, as
    `rgb_reduce.1`.
    """
    given = {tensor.name for tensor in model.graph.initializer}
    given |= {node.output[0] for node in model.graph.node if set(node.input) <= given}
    heavy = (*_PRODUCTS, "Conv")
    nodes = [node for node in model.graph.node if node.op_type in heavy and node.input[1] in given]
    return sorted({node.name.partition("/")[0].removeprefix("network.") for node in nodes})


def _is_product(
    node: NodeProto, weights: Mapping[str, TensorProto], untouched: Collection[str]
) -> bool:
    return (
        node.op_type in _PRODUCTS
        and node.name not in untouched
        and node.input[1] in weights
        and len(weights[node.input[1]].dims) == 2
    )


def _find_spoilt(
    model: onnx.ModelProto, products: list[NodeProto], probe: tuple[NDArray[Any], ...], file: Path
) -> set[str]:
    """The names of the products that 8 bits would spoil, measured on the probe inputs."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    names = list(dict.fromkeys(node.input[0] for node in products))
    there = {value.name for value in model.graph.output}
    shown.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in {*names} - there
    )
    onnx.save(shown, file)
    feeds = dict(zip(INPUTS, probe, strict=True))
    found = open_session(file, provider="cpu").run(names, feeds)
    inputs = dict(zip(names, found, strict=True))
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    return {
        node.name
        for node in products
        if _measure_move(node, inputs[node.input[0]], weights[node.input[1]]) > _MOST_MOVED
    }


def _measure_move(node: NodeProto, values: NDArray[np.float32], weight: TensorProto) -> float:
    """By which share of its length 8 bits move a product's output."""
    matrix, rows = numpy_helper.to_array(weight), values.reshape(-1, values.shape[-1])
    if any(each.name == "transB" and each.i for each in node.attribute):
        matrix = matrix.T
    true = rows @ matrix
    factor = np.ones((1, 1), np.float32)
    if node.op_type == "MatMul":
        factor = np.maximum(np.abs(rows).max(axis=1, keepdims=True), _LEAST)
    rows = rows / factor
    step = (rows.max(initial=0) - rows.min(initial=0)) / _ACTIVATION_STEPS
    steps = np.abs(matrix).max(axis=0) / _WEIGHT_STEPS
    found = factor * (_round(rows, step) @ _round(matrix, steps))
    return float(np.linalg.norm(found - true) / np.maximum(np.linalg.norm(true), _LEAST))


def _round(values: NDArray[Any], step: Any) -> NDArray[Any]:
    step = np.maximum(step, _LEAST)
    return np.asarray(np.round(values / step) * step)


def _normalize_tokens(model: onnx.ModelProto, names: Collection[str]) -> onnx.ModelProto:
    """The same graph, whose products of these names take tokens of the largest number 1.

    It has no notes of inner shapes: the quantizer transposes weights and leaves the notes as they
    were.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    nodes: list[NodeProto] = []
    for node in changed.graph.node:
        is_changed = node.op_type == "MatMul" and node.name in names
        nodes += _divide_tokens(node) if is_changed else [node]
    del changed.graph.node[:], changed.graph.value_info[:]
    changed.graph.node.extend(nodes)
    constants = ((_AXES, np.array([-1])), (_FLOOR, np.array(_LEAST, np.float32)))
    changed.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in constants
    )
    return changed


def _divide_tokens(node: NodeProto) -> list[NodeProto]:
    """The product between a division and a multiplication by each token's largest number."""
    value, out = node.input[0], node.output[0]
    size, largest, factor, unit, product = (
        f"{out}.{each}" for each in ("size", "largest", "factor", "unit", "product")
    )
    node.input[0], node.output[0] = unit, product
    name = node.name
    return [
        helper.make_node("Abs", [value], [size], f"{name}/Abs"),
        helper.make_node("ReduceMax", [size, _AXES], [largest], f"{name}/ReduceMax"),
        helper.make_node("Max", [largest, _FLOOR], [factor], f"{name}/Max"),
        helper.make_node("Div", [value, factor], [unit], f"{name}/Div"),
        node,
        helper.make_node("Mul", [product, factor], [out], f"{name}/Mul"),
    ]


def _halve_weights(model: onnx.ModelProto, untouched: Collection[str]) -> onnx.ModelProto:
    """Store in float16 the weights that products and convolutions have left in float32; runtimes
    cast them once, when they open the file.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    taken = {
        node.input[1]
        for node in model.graph.node
        if node.op_type in (*_PRODUCTS, "Conv") and node.name not in untouched
    }
    casts = []
    for name in sorted(taken & weights.keys()):
        values, half = numpy_helper.to_array(weights[name]), f"{name}.half"
        if values.dtype != np.float32 or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        weights[name].CopyFrom(numpy_helper.from_array(values.astype(np.float16), half))
        casts.append(helper.make_node("Cast", [half], [name], f"{half}/Cast", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


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
