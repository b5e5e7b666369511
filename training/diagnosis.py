"""Errors of a run, found before it starts: by one batch, forward and backward, and by the branches
that evaluation reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from trireid.models import Features, Head, ReIdNetwork
from trireid.models.sdtps import AttentionGradient, Gumbel
from trireid.training.batch import Batch, Batches
from trireid.training.data import Data
from trireid.training.files import read_own
from trireid.training.gradients import Gradients, PathGradient, measure_gradients
from trireid.training.initialization import initialize_network
from trireid.training.loss_heads import LossHeads
from trireid.training.settings import Settings, parse_settings, read_settings, rename_old
from trireid.training.validation import select_embedding

#: A module's gradient norm over this explodes: losses of this kind give 0.01 to 1000.
EXPLODING: Final = 1e5
#: So does a path that brings the backbone this many times what the tokens bring.
TIMES_TOKENS: Final = 1e4
_PATH_NAMES: Final = {
    "tokens": "selected and fused patches themselves",
    "predictor": "score predictor",
    "own": "own score",
    "cross": "cross scores",
    "extra": "all scores, through the fusion of the dropped",
    "mask": "all scores, through the mask of the selected",
}


@dataclass(frozen=True)
class Diagnosis:
    """`gradients` of one batch; `reads`: the branches that each reported pattern depends on;
    `errors`, in words.
    """

    gradients: Gradients
    reads: dict[int, tuple[str, ...]]
    errors: list[str]


def diagnose(
    network: ReIdNetwork, loss_heads: LossHeads, batch: Batch, settings: Settings
) -> Diagnosis:
    """Measure one batch and find dead and exploding modules and branches that evaluation hides."""
    with torch.no_grad():
        features = network.eval().features(batch.images, batch.camera, batch.present)
    reads = {
        pattern: find_branches_read(features, pattern) for pattern in settings.logging.patterns
    }
    gradients = measure_gradients(network, loss_heads, batch)
    errors = [
        *_find_module_errors(gradients.modules),
        *_find_path_errors(gradients.paths, settings),
        *_find_evaluation_errors(reads, settings),
    ]
    return Diagnosis(gradients, reads, errors)


def diagnose_file(path: Path) -> Diagnosis:
    """Diagnose the first batch of a run, from its settings or from a checkpoint that it wrote."""
    if path.suffix in (".yml", ".yaml"):
        settings, state = read_settings(path), None
    else:
        content = read_own(path)
        own = {"pretrained": str(path), "pretrained_weights": None}
        settings = parse_settings({**rename_old(content["training"]), **own})
        state = content["state_dict"]
    if settings.runtime.threads:
        torch.set_num_threads(settings.runtime.threads)
    data = Data.load(settings.data, settings.network, settings.batch, settings.identities_per_step)
    batches, network = Batches(data.train, settings), initialize_network(settings)
    loss_heads = LossHeads(settings.network, int(batches.labels.max()) + 1, settings.loss)
    if state is not None:
        loss_heads.load_published_state(state)
    torch.manual_seed(settings.seed)
    return diagnose(network, loss_heads, batches.make(0), settings)


def find_branches_read(features: Features, pattern: int) -> tuple[str, ...]:
    """Find the branches on which a pattern's embedding depends, by its gradient."""
    parts = {"ori": features.ori, "head": features.head}
    held = {
        name: part.detach().clone().requires_grad_()
        for name, part in parts.items()
        if part is not None
    }
    embedded = select_embedding(
        Features(held["ori"], held.get("head"), features.selections, features.tokens), pattern
    )
    found = torch.autograd.grad(embedded.sum(), list(held.values()), allow_unused=True)
    return tuple(
        name for name, g in zip(held, found, strict=True) if g is not None and bool(g.any())
    )


def format_diagnosis(diagnosis: Diagnosis) -> str:
    """Format the tables as text."""
    gradients = diagnosis.gradients
    lines = [f"loss {gradients.loss:.4f}", "", f"{'gradient norm':>14}  module"]
    lines += [f"{norm:>14.4g}  {name}{_flag(norm)}" for name, norm in gradients.modules.items()]
    lines += ["", f"{'at backbone':>14}  of the loss of"]
    lines += [f"{norm:>14.4g}  {name}" for name, norm in gradients.branches.items()]
    if gradients.paths:
        lines += ["", f"{'at backbone':>14}  {'arriving':>12}  through the head's"]
        lines += [_format_path(name, path) for name, path in gradients.paths.items()]
    shares = {"gradient": gradients.mask_share, "first step of Adam": gradients.update_share}
    for kind, by_module in shares.items():
        for name, share in by_module.items():
            lines.append(f"{share:>14.4g}  is the mask's share of the {kind} at the {name}")
    lines.append("")
    for pattern, branches in diagnosis.reads.items():
        lines.append(f"evaluation's pattern {pattern} reads: {', '.join(branches)}")
    lines += ["", *(f"error: {error}" for error in diagnosis.errors or ["none found"])]
    return "\n".join(lines)


def to_mapping(diagnosis: Diagnosis) -> dict[str, Any]:
    """Make a mapping for JSON."""
    gradients = diagnosis.gradients
    paths = {name: None if path is None else vars(path) for name, path in gradients.paths.items()}
    errors = {"errors": diagnosis.errors, "faults": diagnosis.errors}  # the key in version 0.1
    return {**vars(gradients), "paths": paths, "reads": diagnosis.reads, **errors}


def _format_path(name: str, path: PathGradient | None) -> str:
    if path is None:
        return f"{'none':>14}  {'none':>12}  {_PATH_NAMES[name]}"
    return f"{path.backbone:>14.4g}  {path.arriving:>12.4g}  {_PATH_NAMES[name]}"


def _flag(norm: float) -> str:
    return "  <- dead" if norm == 0 else "  <- exploding" if not norm < EXPLODING else ""


def _find_module_errors(modules: Mapping[str, float]) -> Iterator[str]:
    for name, norm in modules.items():
        if norm == 0:
            yield f"{name} is dead: no gradient reaches it"
        elif not norm < EXPLODING:
            yield f"{name} explodes: its gradient's norm is {norm:.3g}"


def _find_path_errors(
    paths: Mapping[str, PathGradient | None], settings: Settings
) -> Iterator[str]:
    for name in ("tokens", "predictor", "own", "cross"):
        path = paths.get(name, PathGradient(math.inf, math.inf))
        if path is None or path.arriving == 0:
            cause = _explain_detached(name, settings.sdtps.attention_gradient)
            yield f"no gradient passes through the {_PATH_NAMES[name]}{cause}"
    tokens = paths.get("tokens")
    advice = ""
    if settings.sdtps.gumbel is Gumbel.PUBLISHED:
        advice = " (sdtps.gumbel: published multiplies it by 1e10; take on, or off)"
    for name, path in paths.items():
        if path is None or tokens is None:
            continue
        if not _get_size(path) <= TIMES_TOKENS * _get_size(tokens):
            times = f"{_get_size(path) / _get_size(tokens):.3g} times the tokens'"
            yield f"the gradient through the {_PATH_NAMES[name]} explodes: {times}{advice}"


def _explain_detached(path: str, switch: AttentionGradient) -> str:
    stops = {
        "own": (AttentionGradient.NONE,),
        "cross": (AttentionGradient.NONE, AttentionGradient.SELF),
    }
    return (
        f": detached by sdtps.attention_gradient: {switch.value}"
        if switch in stops.get(path, ())
        else ""
    )


def _get_size(path: PathGradient) -> float:
    return path.backbone or path.arriving


def _find_evaluation_errors(
    reads: Mapping[int, tuple[str, ...]], settings: Settings
) -> Iterator[str]:
    if settings.network.head is Head.NONE:
        return
    for branch, pattern in (("head", 2), ("ori", 1)):
        if (branch,) not in reads.values():
            yield (
                f"evaluation never shows the {branch} features apart (it reports patterns "
                f"{list(reads)}): "
                f"report pattern {pattern} in logging.patterns"
            )
