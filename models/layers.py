"""Parts that several networks of the family share: attention, camera embeddings, normalization."""

from __future__ import annotations

import torch
from torch import Tensor, linalg, nn
from torch.nn import functional

from trireid.models.config import HEAD_WIDTH

EPSILON = 1e-12


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Query [B, T, C], key and value [B, S, C], heads side by side -> [B, T, C]; scale 64^-0.5."""
    heads = (x.unflatten(-1, (-1, HEAD_WIDTH)).transpose(1, 2) for x in (query, key, value))
    return functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)


def make_fused_projection(channels: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Weight [3C, C] and bias [3C] of query, key and value in one, initialized as in
    `torch.nn.MultiheadAttention`.
    """
    weight = nn.Parameter(torch.empty(3 * channels, channels))
    nn.init.xavier_uniform_(weight)
    return weight, nn.Parameter(torch.zeros(3 * channels))


def look_up_cameras(table: Tensor, camera: Tensor) -> Tensor:
    """Rows of a table [cameras, 1, width] for camera int64 [B], in range; zeros for -1, the unknown
    one -> [B, width].
    """
    padded = functional.pad(table.squeeze(1), (0, 0, 1, 0))
    return padded.index_select(0, camera + 1)


def normalize(x: Tensor) -> Tensor:
    """Scale the last dimension to unit length; zeros stay zeros.

    PyTorch's own expands the norm to the tensor's shape first, and so exports shape operations.
    """
    unit: Tensor = x / linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(EPSILON)
    return unit
