"""DINOv3's ViT: as DINOv2's, but positions turn queries and keys, and keys have no bias.

Source: Siméoni et al., "DINOv3" (2025); the turning is of Su et al., "RoFormer" (2021), over rows
and columns as in Heo et al., "Rotary Position Embedding for Vision Transformer" (ECCV 2024). Module
names are those of published checkpoints, but for the registers (`storage_tokens` there).
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from trireid.models.config import HEAD_WIDTH, NetworkConfig
from trireid.models.imagenet_vit import Block, ImageNetVit

_BASE: Final = 100.0


def make_periods() -> Tensor:
    """Make the periods of a head's turns, [16], in units of half the image's side."""
    return _BASE ** (torch.arange(HEAD_WIDTH // 4) / (HEAD_WIDTH // 4))


class Rotation(nn.Module):
    """Turns the channels of patches by their row and column; the first tokens stay as they are."""

    cosine: Tensor
    sine: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        # the centres of patches, from -1 to 1 over the image
        rows, columns = (2 * (torch.arange(side) + 0.5) / side - 1 for side in config.grid)
        centres = torch.cartesian_prod(rows, columns)
        angles = (2 * math.pi * centres.unsqueeze(2) / make_periods()).flatten(1)
        angles = functional.pad(angles, (0, 0, 1 + config.registers, 0)).unsqueeze(1)
        self.register_buffer("cosine", angles.cos().repeat(1, 1, 2), persistent=False)
        sine = torch.cat([-angles.sin(), angles.sin()], dim=-1)
        self.register_buffer("sine", sine, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Queries or keys [B, T, C], heads side by side -> the same, turned."""
        heads = x.unflatten(-1, (-1, HEAD_WIDTH))
        first, second = heads.chunk(2, dim=-1)
        swapped = torch.cat([second, first], dim=-1)
        turned: Tensor = heads * self.cosine + swapped * self.sine
        return turned.flatten(2)


class QueryKeyValue(nn.Linear):
    """The fused projection; the bias of keys counts as 0."""

    mask: Tensor

    def __init__(self, width: int) -> None:
        super().__init__(width, 3 * width)
        mask = torch.tensor([1.0, 0.0, 1.0]).repeat_interleave(width)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, width] -> [B, T, 3 * width]."""
        return functional.linear(x, self.weight, self.bias * self.mask)


class Dinov3Vit(ImageNetVit):
    """The ViT, without the random shifts and scales of positions in pretraining."""

    epsilon = 1e-5

    def _make_positions(self, config: NetworkConfig) -> None:
        return None

    def _make_rotation(self, config: NetworkConfig) -> Rotation:
        return Rotation(config)

    def _make_block(self, config: NetworkConfig) -> Block:
        block = super()._make_block(config)
        block.attn.qkv = QueryKeyValue(config.width)
        return block
