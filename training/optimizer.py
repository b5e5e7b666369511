"""The optimizer and its learning rates: a low one for the pretrained backbone, the full one for the
rest, twice that for its biases; linear warm-up, then a cosine.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from trireid.training.settings import OptimizerName, OptimizerSettings

BACKBONE = "backbone.base."
#: By a parameter's name: Adam's running mean of its squared gradient, and the steps that are in it.
ExpAvgSq = Mapping[str, tuple[Tensor, int]]
_BETA2: Final = 0.999
_EPSILON: Final = 1e-8
#: The share of the learning rate at which the cosine ends.
_FLOOR: Final = 0.001
_TENTH: Final = 0.1
#: Parameters of the backbones that come after the blocks.
_AFTER_BLOCKS: Final = ("norm.", "ln_post.", "proj")


def make_optimizer(
    network: nn.Module, loss_heads: nn.Module, settings: OptimizerSettings
) -> torch.optim.Optimizer:
    """Make Adam or AdamW with one group for each pair of learning rate and decay; `peak` of a group
    is its learning rate after the warm-up.
    """
    grouped: dict[tuple[float, float], list[nn.Parameter]] = {}
    named = [*network.named_parameters(), *loss_heads.named_parameters()]
    for name, parameter in named:
        if parameter.requires_grad:
            grouped.setdefault(_choose_lr_and_decay(name, parameter, settings), []).append(
                parameter
            )
    groups: list[dict[str, Any]] = [
        {"params": parameters, "lr": lr, "peak": lr, "weight_decay": decay}
        for (lr, decay), parameters in sorted(grouped.items(), key=lambda item: item[0])
    ]
    if settings.name is OptimizerName.ADAM:
        return torch.optim.Adam(groups, betas=(0.9, _BETA2), eps=_EPSILON)
    return torch.optim.AdamW(groups, betas=(0.9, _BETA2), eps=_EPSILON)


def get_exp_avg_sq(optimizer: torch.optim.Optimizer, network: nn.Module) -> ExpAvgSq:
    """Get the running means that an optimizer of `make_optimizer` keeps for the network."""
    states = {
        name: optimizer.state[p] for name, p in network.named_parameters() if p in optimizer.state
    }
    return {name: (state["exp_avg_sq"], int(state["step"])) for name, state in states.items()}


def compute_root_mean_square(gradient: Tensor, before: tuple[Tensor, int] | None) -> Tensor:
    """Compute the divisor of a gradient in Adam, float64: the root of its running mean of squares,
    this one in it.

    Source: Kingma and Ba, "Adam: a method for stochastic optimization" (2015), algorithm 1.
    """
    mean, steps = before or (torch.zeros_like(gradient), 0)
    mean = _BETA2 * mean.double() + (1 - _BETA2) * gradient.double().square()
    return (mean / (1 - _BETA2 ** (steps + 1))).sqrt() + _EPSILON


def freeze(network: nn.Module) -> None:
    """Take the backbone out of training."""
    network.get_submodule("backbone").requires_grad_(False)


def freeze_blocks(network: nn.Module, blocks: int) -> None:
    """Take the lowest blocks of the backbone, patch embedding and positions out of training."""
    for name, parameter in network.get_submodule(BACKBONE.rstrip(".")).named_parameters():
        block = re.search(r"blocks\.(\d+)\.", name)
        is_low = int(block[1]) < blocks if block else not name.startswith(_AFTER_BLOCKS)
        parameter.requires_grad_(parameter.requires_grad and not is_low)


def _choose_lr_and_decay(
    name: str, parameter: nn.Parameter, settings: OptimizerSettings
) -> tuple[float, float]:
    decay = settings.weight_decay if settings.decay_vectors or parameter.ndim > 1 else 0.0
    if name.startswith(BACKBONE) and settings.backbone_lr is not None:
        return settings.backbone_lr, decay
    is_bias = name.endswith("bias") and not name.startswith(BACKBONE)
    return settings.lr * (settings.bias_factor if is_bias else 1.0), decay


def compute_lr(step: int, peak: float, start: float | None, warmup: int, total: int) -> float:
    """Compute the learning rate of a step (0-based): from `start` (None: a tenth of the peak) to
    `peak` in `warmup` steps, then to 0.001 of it.

    The research code starts every group at 3.5e-5, so that a group whose peak is lower *falls*
    during the warm-up.
    """
    if step < warmup:
        begin = _TENTH * peak if start is None else start
        return begin + (peak - begin) * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return peak * (_FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * progress)))


def set_lr(
    optimizer: torch.optim.Optimizer, step: int, start: float | None, warmup: int, total: int
) -> None:
    """Set every group's learning rate for a step."""
    for group in optimizer.param_groups:
        group["lr"] = compute_lr(step, group["peak"], start, warmup, total)
