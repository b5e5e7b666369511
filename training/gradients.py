"""Gradient norms of one batch: per module, per branch, and per path through the SDTPS head."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trireid.models import ReIdNetwork
from trireid.models.sdtps import NAMES, PATHS
from trireid.training.batch import Batch
from trireid.training.loss_heads import LossHeads, sum_losses
from trireid.training.optimizer import BACKBONE, ExpAvgSq, compute_root_mean_square


@dataclass(frozen=True)
class PathGradient:
    """Norms of the gradient that comes down a path:

    `arriving`, at what the path holds; `backbone`, at its parameters.
    """

    arriving: float
    backbone: float


@dataclass(frozen=True)
class Gradients:
    """Norms of one batch's gradient.

    `modules`: at the parameters of each module; `branches`: at the backbone's parameters, of each
    branch's loss; `paths`: through each path of the head (`trireid.models.sdtps.PATHS`; None:
    nothing flows there). `mask_share`: the mask path's part of the whole gradient, projected on it,
    at the backbone and at the score predictors. `update_share`: the same of the step that Adam
    takes for this gradient, in which each number is divided by its root mean square so far: 1 means
    that the mask alone says where Adam goes.
    """

    loss: float
    modules: dict[str, float]
    branches: dict[str, float]
    paths: dict[str, PathGradient | None]
    mask_share: dict[str, float]
    update_share: dict[str, float]


def measure_gradients(
    network: ReIdNetwork,
    loss_heads: LossHeads,
    batch: Batch,
    *,
    head: bool = True,
    exp_avg_sq: ExpAvgSq | None = None,
) -> Gradients:
    """Measure one forward and backward pass in training mode and float32; batch-norm statistics and
    gradients are left changed.

    `head` False: as in the epochs that train `ori` alone. `exp_avg_sq`: Adam's running
    means so far; None: none yet.
    """
    network.train(), loss_heads.train()
    with _record_paths(network) as taps:
        features = network.features(batch.images, batch.camera, batch.present)
        outputs = loss_heads.compute_losses(features, batch.labels, head=head)
    named = [*network.named_parameters(), *_name_parameters(loss_heads)]
    parameters = {name: parameter for name, parameter in named if parameter.requires_grad}
    loss = sum_losses(outputs)
    whole = _compute_gradient([loss], None, parameters)
    arriving = {path: _compute_arriving(loss, passed) for path, passed in taps.items()}
    backbone = {name: p for name, p in parameters.items() if name.startswith(BACKBONE)}
    predictors = {name: p for name, p in parameters.items() if "score_predictor" in name}
    mask_share, update_share, branches = {}, {}, {}
    for name, part in (("backbone", backbone), ("predictor", predictors)):
        if part and any(g is not None for g in arriving.get("mask", ())):
            masked = _propagate(taps["mask"], arriving["mask"], part)
            own = {key: whole[key] for key in part}
            mask_share[name] = _compute_share(masked, list(own.values()))
            update_share[name] = _compute_update_share(masked, own, exp_avg_sq or {})
    for name, output in outputs.items() if backbone else ():
        gradient = _compute_gradient([output.loss], None, backbone)
        branches[name] = _compute_norm(gradient.values())
    return Gradients(
        loss=float(loss.detach()),
        modules=_group_by_module(whole),
        branches=branches,
        paths={path: _measure_path(taps[path], arriving[path], backbone) for path in taps},
        mask_share=mask_share,
        update_share=update_share,
    )


@dataclass(frozen=True)
class Tap:
    """A tensor as it came to a path, and the copy that went down it."""

    came: Tensor
    went: Tensor


@contextmanager
def _record_paths(network: ReIdNetwork) -> Iterator[dict[str, list[Tap]]]:
    """Record the tensors that pass the head's paths in the block, by hooks."""
    taps: dict[str, list[Tap]] = {}
    handles = []
    for path in PATHS if hasattr(network, "sdtps") else ():
        taps[path] = []
        for name in NAMES:
            module = network.get_submodule(f"sdtps.{name}_sparse.paths.{path}")
            handles.append(module.register_forward_hook(_make_hook(taps[path])))
    try:
        yield taps
    finally:
        for handle in handles:
            handle.remove()


def _make_hook(passed: list[Tap]) -> Any:
    def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        copy = output.view_as(output)
        passed.append(Tap(inputs[0], copy))
        return copy

    return hook


def _compute_arriving(loss: Tensor, passed: Sequence[Tap]) -> list[Tensor | None]:
    """Compute the loss's gradient at the tensors of a path; None where none arrives."""
    flowing = [tap.went for tap in passed if tap.went.requires_grad]
    found = iter(
        torch.autograd.grad(loss, flowing, retain_graph=True, allow_unused=True) if flowing else ()
    )
    return [next(found) if tap.went.requires_grad else None for tap in passed]


def _measure_path(
    passed: Sequence[Tap], arriving: Sequence[Tensor | None], backbone: dict[str, nn.Parameter]
) -> PathGradient | None:
    flowing = [g for g in arriving if g is not None]
    if not flowing:
        return None
    at_backbone = _propagate(passed, arriving, backbone)
    return PathGradient(_compute_norm(flowing), _compute_norm(at_backbone))


def _propagate(
    passed: Sequence[Tap], arriving: Sequence[Tensor | None], parameters: dict[str, nn.Parameter]
) -> list[Tensor]:
    """Compute the part of the parameters' gradient that comes through a path."""
    pairs = [
        (tap.came, g)
        for tap, g in zip(passed, arriving, strict=True)
        if g is not None and tap.came.requires_grad
    ]
    return list(
        _compute_gradient([came for came, _ in pairs], [g for _, g in pairs], parameters).values()
    )


def _compute_gradient(
    outputs: list[Tensor], weights: list[Tensor] | None, parameters: dict[str, nn.Parameter]
) -> dict[str, Tensor]:
    """Compute the gradient at each parameter, zeros where none arrives."""
    if not outputs or not parameters:
        return {name: torch.zeros_like(p) for name, p in parameters.items()}
    found = torch.autograd.grad(
        outputs, list(parameters.values()), weights, retain_graph=True, allow_unused=True
    )
    return {
        name: torch.zeros_like(parameter) if gradient is None else gradient
        for (name, parameter), gradient in zip(parameters.items(), found, strict=True)
    }


def _name_parameters(loss_heads: LossHeads) -> list[tuple[str, nn.Parameter]]:
    return [(f"branches.{name}", parameter) for name, parameter in loss_heads.named_parameters()]


def _group_by_module(gradients: dict[str, Tensor]) -> dict[str, float]:
    grouped: dict[str, list[Tensor]] = {}
    for name, gradient in gradients.items():
        grouped.setdefault(get_module_name(name), []).append(gradient)
    return {name: _compute_norm(part) for name, part in grouped.items()}


def get_module_name(parameter: str) -> str:
    """Get the line of the table that a parameter counts in: a block, a part of the head, a
    classifier.
    """
    parts = parameter.split(".")
    blocks = next((i for i, part in enumerate(parts) if part in ("resblocks", "blocks")), None)
    if blocks is not None:
        return ".".join(parts[: blocks + 2])
    return (
        ".".join(parts[:3]) if parts[0] in ("backbone", "sdtps", "branches", "fusion") else parts[0]
    )


def _compute_norm(gradients: Any) -> float:
    """Compute the norm of several tensors' gradient as one vector, in float64: 1e10 squared times a
    million overflows float32.
    """
    return float(sum(float(g.double().square().sum()) for g in gradients) ** 0.5)


def _compute_share(part: Sequence[Tensor], whole: Sequence[Tensor]) -> float:
    length = sum(float(g.double().square().sum()) for g in whole)
    along = sum(float((p.double() * g.double()).sum()) for p, g in zip(part, whole, strict=True))
    return along / length if length else 0.0


def _compute_update_share(
    part: Sequence[Tensor], whole: Mapping[str, Tensor], exp_avg_sq: ExpAvgSq
) -> float:
    """As `_compute_share`, of Adam's step for this gradient alone: the mean of earlier gradients is
    left out.
    """
    divisors = [
        compute_root_mean_square(gradient, exp_avg_sq.get(name)) for name, gradient in whole.items()
    ]
    pairs = zip(part, whole.values(), divisors, strict=True)
    scaled = [(mine.double() / divisor, of.double() / divisor) for mine, of, divisor in pairs]
    return _compute_share([mine for mine, _ in scaled], [of for _, of in scaled])


def to_columns(measured: Gradients) -> dict[str, float]:
    """Make the norms at the backbone a row of `gradients.csv`; NaN where nothing flows."""
    row = {"loss": measured.loss}
    for name in ("ori", "head"):
        row[f"branch_{name}"] = measured.branches.get(name, math.nan)
    for name, path in measured.paths.items():
        row[f"path_{name}"] = math.nan if path is None else path.backbone
    for name in ("backbone", "predictor"):
        row[f"mask_share_{name}"] = measured.mask_share.get(name, math.nan)
    for name in ("backbone", "predictor"):
        row[f"update_share_{name}"] = measured.update_share.get(name, math.nan)
    return row
