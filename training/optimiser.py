"""Which parameter learns how fast: the pretrained backbone slowly, the rest at the full rate, its biases at twice that."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from training.settings import OptimiserName, OptimiserSettings

BACKBONE = "backbone.base."


def make_optimiser(network: nn.Module, branches: nn.Module, settings: OptimiserSettings) -> torch.optim.Optimizer:
    """Adam or AdamW with one group for each pair of rate and decay; `peak` of a group is its rate after the warm-up."""
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
        return torch.optim.Adam(groups)
    return torch.optim.AdamW(groups)


def freeze(network: nn.Module) -> None:
    """Take the backbone out of training."""
    network.get_submodule("backbone").requires_grad_(False)


def _rate_and_decay(name: str, parameter: nn.Parameter, settings: OptimiserSettings) -> tuple[float, float]:
    decay = settings.weight_decay if settings.decay_vectors or parameter.ndim > 1 else 0.0
    if name.startswith(BACKBONE) and settings.backbone_rate is not None:
        return settings.backbone_rate, decay
    is_bias = name.endswith("bias") and not name.startswith(BACKBONE)
    return settings.rate * (settings.bias_factor if is_bias else 1.0), decay
