"""What is wrong with a run before it has run: one batch, forward and backward, and what evaluation
reads.
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
from trireid.training.gradients import Gradients, PathGradient, measure
from trireid.training.initialization import start_network
from trireid.training.loss_heads import Branches
from trireid.training.settings import Settings
from trireid.training.settings_file import read_settings, settings_of
from trireid.training.validation import embedding

#: A module's gradient norm over this explodes: losses of this kind give 0.01 to 1000.
EXPLODING: Final = 1e5
#: So does a path that brings the backbone this many times what the tokens bring.
TIMES_TOKENS: Final = 1e4
_ABOUT: Final = {
    "tokens": "kept and fused patches themselves",
    "predictor": "score predictor",
    "own": "own score",
    "cross": "cross scores",
    "extra": "all scores, through the fusion of the dropped",
    "mask": "all scores, through the mask of the kept",
}


@dataclass(frozen=True)
class Diagnosis:
    """`gradients` of one batch;

    `reads`: the branches that each reported pattern's embedding depends on; `faults`, in words.
    """

    gradients: Gradients
    reads: dict[int, tuple[str, ...]]
    faults: list[str]


def diagnose(
    network: ReIdNetwork, branches: Branches, batch: Batch, settings: Settings
) -> Diagnosis:
    """Measure one batch and name what is dead, what explodes, and what evaluation never shows."""
    with torch.no_grad():
        features = network.eval().features(batch.images, batch.camera, batch.present)
    reads = {pattern: reading(features, pattern) for pattern in settings.upkeep.patterns}
    gradients = measure(network, branches, batch)
    faults = [
        *_module_faults(gradients.modules),
        *_path_faults(gradients.paths, settings),
        *_evaluation_faults(reads, settings),
    ]
    return Diagnosis(gradients, reads, faults)


def diagnose_file(path: Path) -> Diagnosis:
    """Diagnose the first batch of a run, from its settings or from a checkpoint that it wrote."""
    if path.suffix in (".yml", ".yaml"):
        settings, state = read_settings(path), None
    else:
        content = read_own(path)
        settings, state = (
            settings_of({**content["training"], "start": str(path)}),
            content["state_dict"],
        )
    if settings.machine.threads:
        torch.set_num_threads(settings.machine.threads)
    data = Data.of(settings.data, settings.network, settings.batch, settings.identities_per_step)
    batches, network = Batches(data.train, settings), start_network(settings)
    branches = Branches(settings.network, int(batches.labels.max()) + 1, settings.loss)
    if state is not None:
        branches.load_published(state)
    torch.manual_seed(settings.seed)
    return diagnose(network, branches, batches.at(0), settings)


def reading(features: Features, pattern: int) -> tuple[str, ...]:
    """The branches on which a pattern's embedding depends, found by its gradient."""
    parts = {"ori": features.ori, "head": features.head}
    held = {
        name: part.detach().clone().requires_grad_()
        for name, part in parts.items()
        if part is not None
    }
    embedded = embedding(
        Features(held["ori"], held.get("head"), features.selections, features.tokens), pattern
    )
    found = torch.autograd.grad(embedded.sum(), list(held.values()), allow_unused=True)
    return tuple(
        name for name, g in zip(held, found, strict=True) if g is not None and bool(g.any())
    )


def as_text(diagnosis: Diagnosis) -> str:
    """The tables, for people."""
    gradients = diagnosis.gradients
    lines = [f"loss {gradients.loss:.4f}", "", f"{'gradient norm':>14}  module"]
    lines += [f"{norm:>14.4g}  {name}{_flag(norm)}" for name, norm in gradients.modules.items()]
    lines += ["", f"{'at backbone':>14}  of the loss of"]
    lines += [f"{norm:>14.4g}  {name}" for name, norm in gradients.branches.items()]
    if gradients.paths:
        lines += ["", f"{'at backbone':>14}  {'arriving':>12}  through the head's"]
        lines += [_path_line(name, path) for name, path in gradients.paths.items()]
    lines += [
        f"{share:>14.4g}  is the mask's share of the {of} at the {name}"
        for of, shares in (
            ("gradient", gradients.mask_share),
            ("first step of Adam", gradients.update_share),
        )
        for name, share in shares.items()
    ]
    lines += [
        "",
        *(
            f"evaluation's pattern {pattern} reads: {', '.join(read)}"
            for pattern, read in diagnosis.reads.items()
        ),
    ]
    return "\n".join(
        [*lines, "", *(f"fault: {fault}" for fault in diagnosis.faults or ["none found"])]
    )


def as_mapping(diagnosis: Diagnosis) -> dict[str, Any]:
    """The same, for programs."""
    gradients = diagnosis.gradients
    paths = {name: None if path is None else vars(path) for name, path in gradients.paths.items()}
    return {**vars(gradients), "paths": paths, "reads": diagnosis.reads, "faults": diagnosis.faults}


def _path_line(name: str, path: PathGradient | None) -> str:
    if path is None:
        return f"{'none':>14}  {'none':>12}  {_ABOUT[name]}"
    return f"{path.backbone:>14.4g}  {path.arriving:>12.4g}  {_ABOUT[name]}"


def _flag(norm: float) -> str:
    return "  <- dead" if norm == 0 else "  <- exploding" if not norm < EXPLODING else ""


def _module_faults(modules: Mapping[str, float]) -> Iterator[str]:
    for name, norm in modules.items():
        if norm == 0:
            yield f"{name} is dead: no gradient reaches it"
        elif not norm < EXPLODING:
            yield f"{name} explodes: its gradient's norm is {norm:.3g}"


def _path_faults(paths: Mapping[str, PathGradient | None], settings: Settings) -> Iterator[str]:
    for name in ("tokens", "predictor", "own", "cross"):
        path = paths.get(name, PathGradient(math.inf, math.inf))
        if path is None or path.arriving == 0:
            cause = _detached(name, settings.sdtps.attention_gradient)
            yield f"no gradient passes through the {_ABOUT[name]}{cause}"
    tokens = paths.get("tokens")
    for name, path in paths.items():
        if (
            path is not None
            and tokens is not None
            and not _size(path) <= TIMES_TOKENS * _size(tokens)
        ):
            yield (
                f"the gradient through the {_ABOUT[name]} explodes: {_size(path) / _size(tokens):.3g} times the tokens'"
                + (
                    " (sdtps.gumbel: published multiplies it by 1e10; take on, or off)"
                    if settings.sdtps.gumbel is Gumbel.PUBLISHED
                    else ""
                )
            )


def _detached(path: str, switch: AttentionGradient) -> str:
    stops = {
        "own": (AttentionGradient.NONE,),
        "cross": (AttentionGradient.NONE, AttentionGradient.SELF),
    }
    return (
        f": detached by sdtps.attention_gradient: {switch.value}"
        if switch in stops.get(path, ())
        else ""
    )


def _size(path: PathGradient) -> float:
    return path.backbone or path.arriving


def _evaluation_faults(reads: Mapping[int, tuple[str, ...]], settings: Settings) -> Iterator[str]:
    if settings.network.head is Head.NONE:
        return
    for branch, pattern in (("head", 2), ("ori", 1)):
        if (branch,) not in reads.values():
            yield (
                f"evaluation never shows the {branch} features apart (it reports patterns {list(reads)}): "
                f"report pattern {pattern} in upkeep.patterns"
            )
