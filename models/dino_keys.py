"""The names of DINO's weights: as Meta published them, as timm and as Hugging Face's transformers
have them. The network's own are those of DINOv2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from trireid.models.config import Backbone
from trireid.models.dinov3_vit import make_periods
from trireid.samples import ConfigError

State = dict[str, Tensor]

#: Patterns of others' names and what stands for them here, one after the other.
_RENAMED: Final = (
    # of transformers: a model within another, the embeddings, the blocks and their parts
    (r"^(dinov2|dinov2_with_registers)\.", ""),
    (r"^embeddings\.patch_embeddings\.(projection\.)?", "patch_embed.proj."),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.", ""),
    (r"^(encoder\.|model\.)?layer\.(?=\d)", "blocks."),
    (r"^layernorm\.", "norm."),
    (r"\.attention\.(attention\.|output\.)?", ".attn."),
    (r"\.attn\.(dense|o_proj)\.", ".attn.proj."),
    (r"\.attn\.(q|k|v)(uery|ey|alue|_proj)\.", r".attn.\1."),
    (r"\.layer_scale(\d)\.lambda1$", r".ls\1.gamma"),
    (r"\.mlp\.up_proj\.", ".mlp.fc1."),
    (r"\.mlp\.down_proj\.", ".mlp.fc2."),
    # of timm
    (r"\.attn\.(q|v)_bias$", r".attn.\1.bias"),
    (r"\.gamma_(\d)$", r".ls\1.gamma"),
    # of timm, and of DINOv3
    (r"^(reg_token|storage_tokens)$", "register_tokens"),
)
#: Tensors that only pretraining has, and masks that are the same in every file.
_DROPPED: Final = re.compile(r"mask_token|local_cls_norm\..+|.+\.attn\.qkv\.bias_mask")
_PERIODS: Final = "rope_embed.periods"
_SWIGLU: Final = re.compile(r"\.mlp\.(w1|w12|weights_in|gate_proj|fc1_g)\.")
_TIMM_REGISTERS: Final = "reg_token"
_QUERY: Final = re.compile(r"(.+\.attn)\.q\.(weight|bias)")
#: Periods are published in bfloat16.
_ROUNDING: Final = 0.01


def rename_dino_keys(state: Mapping[str, Tensor], backbone: Backbone, file: Path) -> State:
    """Return the weights of a DINO backbone under the network's own names.

    Names that are not known stay as they are.

    Args:
        state: Weights as Meta, timm or transformers name them.
        backbone: Which version of DINO they are meant for.
        file: Their file, for messages.

    Raises:
        ConfigError: they are of another variant: with SwiGLU in place of the MLP, with other
            periods of positions, or with a bias of keys in DINOv3.
    """
    _check_variant(state, file)
    renamed = {rename_dino_key(key): value for key, value in state.items()}
    renamed = {key: value for key, value in renamed.items() if not _is_dropped(key, value)}
    if _TIMM_REGISTERS in state and "pos_embed" in renamed:
        # timm has the class token's position in the class token
        renamed["pos_embed"] = functional.pad(renamed["pos_embed"], (0, 0, 1, 0))
    if backbone is Backbone.DINOV3:
        renamed.pop(_PERIODS, None)
        _add_biases(renamed, file)
    return _fuse_attention(renamed)


def rename_dino_key(key: str) -> str:
    """Return the network's own name for one of a file of a DINO backbone."""
    for pattern, ours in _RENAMED:
        key = re.sub(pattern, ours, key)
    return key


def _is_dropped(key: str, value: Tensor) -> bool:
    """Whether inference lacks a tensor; transformers saves no registers as a table of none."""
    return _DROPPED.fullmatch(key) is not None or not value.numel()


def _check_variant(state: Mapping[str, Tensor], file: Path) -> None:
    gated = next((key for key in state if _SWIGLU.search(key)), None)
    if gated is not None:
        raise ConfigError(
            f"{file}: {gated} is of SwiGLU, which the family's blocks do not have; take a variant "
            "with an MLP, as ViT-S, ViT-B or ViT-L",
            "pretrained",
        )
    own = make_periods()
    periods = state.get(_PERIODS, own).float()
    if periods.shape != own.shape or not torch.allclose(periods, own, rtol=_ROUNDING):
        raise ConfigError(
            f"{file}: {_PERIODS} is from {periods.min():g} to {periods.max():g}, the family's from "
            f"{own.min():g} to {own.max():g}; take weights of heads of 64 channels and base 100",
            "pretrained",
        )


def _add_biases(state: State, file: Path) -> None:
    """Add the biases that count as 0 in DINOv3: of keys, or, if a file has none, of all three."""
    for key in [key for key in state if key.endswith(".attn.q.bias")]:
        own = key.replace(".q.", ".k.")
        if state.setdefault(own, torch.zeros_like(state[key])).any():
            raise ConfigError(
                f"{file}: {own} is not 0, but DINOv3's keys of attention have no bias", "pretrained"
            )
    for key in [key for key in state if key.endswith(".attn.qkv.weight")]:
        attention = key.removesuffix(".qkv.weight")
        if not any(f"{attention}.{part}.bias" in state for part in ("qkv", "q", "v")):
            state[f"{attention}.qkv.bias"] = torch.zeros(len(state[key]))


def _fuse_attention(state: State) -> State:
    """Join query, key and value if they stand apart, as in transformers."""
    for attention, kind in (
        match.groups() for match in map(_QUERY.fullmatch, list(state)) if match
    ):
        parts = [f"{attention}.{part}.{kind}" for part in "qkv"]
        if all(part in state for part in parts):
            state[f"{attention}.qkv.{kind}"] = torch.cat([state.pop(part) for part in parts])
    return state
