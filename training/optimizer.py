"""Which parameter learns how fast: the pretrained backbone slowly, the rest at the full rate, its
biases at twice that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from trireid.training.settings import OptimiserName, OptimiserSettings

BACKBONE = "backbone.base."
#: By a parameter's name: Adam's running mean of its squared gradient, and the steps that are in it.
Squares = Mapping[str, tuple[Tensor, int]]
_KEPT: Final = 0.999
_EPSILON: Final = 1e-8


def make_optimiser(
    network: nn.Module, branches: nn.Module, settings: OptimiserSettings
) -> torch.optim.Optimizer:
    """Adam or AdamW with one group for each pair of rate and decay;

    `peak` of a group is its rate after the warm-up.
    """
    grouped: dict[tuple[float, float], list[nn.Parameter]] = {}
    named = [*network.named_parameters(), *branches.named_parameters()]
    for name, parameter in named:
        if parameter.requires_grad:
            grouped.setdefault(_rate_and_decay(name, parameter, settings), []).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": parameters, "lr": rate, "peak": rate, "weight_decay": decay}
        for (rate, decay), parameters in sorted(grouped.items(), key=lambda item: item[0])
    ]
    if settings.name is OptimiserName.ADAM:
        return torch.optim.Adam(groups, betas=(0.9, _KEPT), eps=_EPSILON)
    return torch.optim.AdamW(groups, betas=(0.9, _KEPT), eps=_EPSILON)


def squares_of(optimiser: torch.optim.Optimizer, network: nn.Module) -> Squares:
    """What an optimiser of `make_optimiser` has seen of the network's gradients."""
    states = {
        name: optimiser.state[p] for name, p in network.named_parameters() if p in optimiser.state
    }
    return {name: (state["exp_avg_sq"], int(state["step"])) for name, state in states.items()}


def root_mean_square(gradient: Tensor, before: tuple[Tensor, int] | None) -> Tensor:
    """What Adam divides a gradient by, float64: the root of its running mean of squares, this one
    in it.

    Source: Kingma and Ba, "Adam: a method for stochastic optimization" (2015), algorithm 1.
    """
    mean, steps = before or (torch.zeros_like(gradient), 0)
    mean = _KEPT * mean.double() + (1 - _KEPT) * gradient.double().square()
    return (mean / (1 - _KEPT ** (steps + 1))).sqrt() + _EPSILON


def freeze(network: nn.Module) -> None:
    """Take the backbone out of training."""
    network.get_submodule("backbone").requires_grad_(False)


def _rate_and_decay(
    name: str, parameter: nn.Parameter, settings: OptimiserSettings
) -> tuple[float, float]:
    decay = settings.weight_decay if settings.decay_vectors or parameter.ndim > 1 else 0.0
    if name.startswith(BACKBONE) and settings.backbone_rate is not None:
        return settings.backbone_rate, decay
    is_bias = name.endswith("bias") and not name.startswith(BACKBONE)
    return settings.rate * (settings.bias_factor if is_bias else 1.0), decay
