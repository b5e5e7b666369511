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

from trireid.samples import ConfigError

State = dict[str, Tensor]

#: Patterns of others' names and what stands for them here, one after the other.
_RENAMED: Final = (
    # of transformers: a model within another, the embeddings, the blocks and their parts
    (r"^(dinov2|dinov2_with_registers)\.", ""),
    (r"^embeddings\.patch_embeddings\.(projection\.)?", "patch_embed.proj."),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.", ""),
    (r"^(encoder\.)?layer\.(?=\d)", "blocks."),
    (r"^layernorm\.", "norm."),
    (r"\.attention\.(attention\.|output\.)?", ".attn."),
    (r"\.attn\.(dense|o_proj)\.", ".attn.proj."),
    (r"\.attn\.(q|k|v)(uery|ey|alue|_proj)\.", r".attn.\1."),
    (r"\.layer_scale(\d)\.lambda1$", r".ls\1.gamma"),
    # of timm
    (r"^reg_token$", "register_tokens"),
)
#: Tensors that only pretraining has.
_DROPPED: Final = ("mask_token",)
_SWIGLU: Final = re.compile(r"\.mlp\.(w1|w12|weights_in|gate_proj)\.")
_TIMM_REGISTERS: Final = "reg_token"
_PART: Final = re.compile(r"(?P<attention>.+\.attn)\.q\.(?P<kind>weight|bias)$")


def rename_dino_keys(state: Mapping[str, Tensor], path: Path) -> State:
    """Return the weights of a DINO backbone under the network's own names.

    Names that are not known stay as they are.

    Args:
        state: Weights as Meta, timm or transformers name them.
        path: Their file, for messages.

    Raises:
        ConfigError: the blocks have SwiGLU in place of the MLP.
    """
    gated = next((key for key in state if _SWIGLU.search(key)), None)
    if gated is not None:
        raise ConfigError(
            f"{path}: {gated} is of SwiGLU, which the family's blocks do not have; take a variant "
            "with an MLP, as ViT-S, ViT-B or ViT-L",
            "pretrained",
        )
    renamed = {rename_dino_key(key): value for key, value in state.items()}
    for name in _DROPPED:
        renamed.pop(name, None)
    if _TIMM_REGISTERS in state and "pos_embed" in renamed:
        # timm has the class token's position in the class token
        renamed["pos_embed"] = functional.pad(renamed["pos_embed"], (0, 0, 1, 0))
    return _fuse_attention(renamed)


def rename_dino_key(key: str) -> str:
    """Return the network's own name for one of a file of a DINO backbone."""
    for pattern, ours in _RENAMED:
        key = re.sub(pattern, ours, key)
    return key


def _fuse_attention(state: State) -> State:
    """Join query, key and value if they stand apart, as in transformers."""
    for match in filter(None, map(_PART.match, list(state))):
        parts = [f"{match['attention']}.{part}.{match['kind']}" for part in "qkv"]
        if all(part in state for part in parts):
            fused = torch.cat([state.pop(part) for part in parts])
            state[f"{match['attention']}.qkv.{match['kind']}"] = fused
    return state
