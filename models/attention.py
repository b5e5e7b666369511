"""Multi-head attention with heads of 64 channels, as every transformer of the family has it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from trireid.models.config import HEAD_WIDTH


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Query [B, T, C], key and value [B, S, C], heads side by side -> [B, T, C]; scale 64^-0.5."""
    heads = (x.unflatten(-1, (-1, HEAD_WIDTH)).transpose(1, 2) for x in (query, key, value))
    return functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)


def fused_projection(channels: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Weight [3C, C] and bias [3C] of query, key and value in one, as `torch.nn.MultiheadAttention`
    starts them.
    """
    weight = nn.Parameter(torch.empty(3 * channels, channels))
    nn.init.xavier_uniform_(weight)
    return weight, nn.Parameter(torch.zeros(3 * channels))
