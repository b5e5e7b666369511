"""L2 normalisation in a form that exports without shapes: torch's own expands the norm to the
tensor's shape first.
"""

from __future__ import annotations

from torch import Tensor, linalg

EPSILON = 1e-12


def unit(x: Tensor) -> Tensor:
    """Scale the last dimension to unit length; zeros stay zeros."""
    unit_length: Tensor = x / linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(EPSILON)
    return unit_length
