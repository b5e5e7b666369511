"""The camera embedding, with a camera that nobody knows."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def camera_vectors(table: Tensor, camera: Tensor) -> Tensor:
    """Rows of a table [cameras, 1, width] for camera int64 [B], in range; zeros for -1, the unknown
    one -> [B, width].
    """
    padded = functional.pad(table.squeeze(1), (0, 0, 1, 0))
    return padded.index_select(0, camera + 1)
