"""Make the goldens of DINO's backbones: the tokens that Hugging Face's transformers computes from
weights and images that a seed gives, so that the file holds but the tokens.

    python -m pip install --target build/transformers transformers==5.24.0
    PYTHONPATH=build/transformers python -m tests.goldens.make_dino
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from tests.conftest import GOLDENS
from trireid.models import Backbone, NetworkConfig, ReIdNetwork

_DINOV2: Final = NetworkConfig(
    backbone=Backbone.DINOV2,
    image_size=(56, 56),
    patch=14,
    stride=14,
    width=128,
    depth=2,
    channels=128,
    aggregation_ratio=0.5,
)
_DINOV3: Final = replace(
    _DINOV2, backbone=Backbone.DINOV3, image_size=(64, 32), patch=16, stride=16, registers=4
)
#: Networks by name; all were pretrained on 4 x 4 patches.
CASES: Final[dict[str, NetworkConfig]] = {
    "dinov2": _DINOV2,
    "dinov2, resized": replace(_DINOV2, image_size=(56, 28)),
    "dinov2 with registers": replace(_DINOV2, registers=4),
    "dinov2 with registers, resized": replace(_DINOV2, image_size=(56, 28), registers=4),
    "dinov3": _DINOV3,
}
_DINOV2_NAMES: Final = {
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "pos_embed": "embeddings.position_embeddings",
    "blocks.": "encoder.layer.",
    "attn.qkv": "attention.attention.{}",
    "attn.proj": "attention.output.dense",
}
_DINOV3_NAMES: Final = {
    "patch_embed.proj": "embeddings.patch_embeddings",
    "blocks.": "layer.",
    "attn.qkv": "attention.{}_proj",
    "attn.proj": "attention.o_proj",
    "mlp.fc1": "mlp.up_proj",
    "mlp.fc2": "mlp.down_proj",
}
_BOTH: Final = {
    "cls_token": "embeddings.cls_token",
    "mask_token": "embeddings.mask_token",
    "register_tokens": "embeddings.register_tokens",
    "ls1.gamma": "layer_scale1.lambda1",
    "ls2.gamma": "layer_scale2.lambda1",
}


def make_weights(config: NetworkConfig) -> dict[str, Tensor]:
    """Make random weights under the network's own names; as published, with a mask token and 4 x 4
    positions. NumPy promises the numbers of this generator to every version.
    """
    square = replace(config, image_size=(4 * config.patch, 4 * config.patch))
    state = ReIdNetwork(square).backbone.base.state_dict()
    random = np.random.RandomState(16)
    weights = {
        key: torch.from_numpy(0.2 * random.standard_normal(state[key].shape)).float()
        for key in sorted(state)
    }
    if config.backbone is Backbone.DINOV3:
        for key in [key for key in weights if key.endswith("qkv.bias")]:
            weights[key].unflatten(0, (3, -1))[1] = 0
    return {**weights, "mask_token": torch.zeros(1, config.width)}


def make_images(config: NetworkConfig) -> Tensor:
    """Make one normalized image, [1, 3, H, W]."""
    values = np.random.RandomState(17).standard_normal((1, 3, *config.image_size))
    return torch.from_numpy(values).float()


def to_transformers(state: dict[str, Tensor], backbone: Backbone) -> dict[str, Tensor]:
    """Rename weights as transformers has them in files, with query, key and value apart."""
    v3 = backbone is Backbone.DINOV3
    names = {**_BOTH, **(_DINOV3_NAMES if v3 else _DINOV2_NAMES)}
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        if key.startswith("norm.") and not v3:
            key = f"layer{key}"
        if "{}" not in key:
            renamed[key] = value
            continue
        for part, rows in zip(("query", "key", "value"), value.chunk(3), strict=True):
            renamed[key.format(part[0] if v3 else part)] = rows
    if v3:
        renamed = {key: value for key, value in renamed.items() if "k_proj.bias" not in key}
        renamed["embeddings.mask_token"] = state["mask_token"].unsqueeze(0)
    return renamed


def compute_tokens(config: NetworkConfig) -> NDArray[np.float32]:
    """Compute the last hidden state by transformers, registers left out."""
    import transformers  # type: ignore[import-not-found]

    sizes: dict[str, Any] = {
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.width // 64,
        "patch_size": config.patch,
        "image_size": 4 * config.patch,
    }
    name = {Backbone.DINOV2: "Dinov2", Backbone.DINOV3: "DINOv3ViT"}[config.backbone]
    if config.registers:
        sizes["num_register_tokens"] = config.registers
        name = {"Dinov2": "Dinov2WithRegisters"}.get(name, name)
    if config.backbone is Backbone.DINOV3:
        sizes["intermediate_size"] = 4 * config.width
    with tempfile.TemporaryDirectory() as folder:
        getattr(transformers, f"{name}Config")(**sizes).save_pretrained(folder)
        state = to_transformers(make_weights(config), config.backbone)
        parts = {key: value.contiguous() for key, value in state.items()}
        save_file(parts, f"{folder}/model.safetensors")
        model, report = getattr(transformers, f"{name}Model").from_pretrained(
            folder, output_loading_info=True
        )
    assert not any(report.values()), report
    with torch.inference_mode():
        tokens = model.eval()(make_images(config)).last_hidden_state.numpy()
    return np.delete(tokens, np.s_[1 : 1 + config.registers], axis=1)


if __name__ == "__main__":
    arrays = {name: compute_tokens(config) for name, config in CASES.items()}
    np.savez_compressed(GOLDENS / "dino.npz", **arrays)  # type: ignore[arg-type]
