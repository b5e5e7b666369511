"""The learning rate over time: linear warm-up, then a cosine."""

from __future__ import annotations

import math

import torch

FLOOR = 0.001
_TENTH = 0.1


def rate_at(step: int, peak: float, start: float | None, warmup: int, total: int) -> float:
    """The rate of a step (0-based): from `start` (None: a tenth of the peak) to `peak` in `warmup`
    steps, then to 0.001 of it.

    The research code starts every group at 3.5e-5, so that a group whose peak is lower *falls*
    during the warm-up.
    """
    if step < warmup:
        begin = _TENTH * peak if start is None else start
        return begin + (peak - begin) * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return peak * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * progress)))


def set_rates(
    optimiser: torch.optim.Optimizer, step: int, start: float | None, warmup: int, total: int
) -> None:
    """Set every group's rate for a step."""
    for group in optimiser.param_groups:
        group["lr"] = rate_at(step, group["peak"], start, warmup, total)
