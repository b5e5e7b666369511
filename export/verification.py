"""Verification: whether two networks are the same, and where on the way from pixels to embedding they part."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from evaluation import Scores
from export.card import STAGES, Card
from export.embedder import Embedder
from export.kept import KeptReport, KeptSets
from export.retrieval import ALL, Embedded, decoded, retrieval
from export.trial import SIZES, Batch, trial
from samples import ArtifactError, Sample, SourceError
from samples.source import Source

#: How alike embeddings must be, by precision: the worst cosine.
COSINES: Final = {"fp32": 1 - 1e-6, "fp16": 0.9995, "int8": 0.995}
#: In float32, by how much any element of an embedding may differ.
DIFFERENCE: Final = 1e-4
#: By how much mAP may change, as a fraction.
MAP_CHANGE: Final = 0.005
_TINY: Final = 1e-6


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of the two: worst and mean cosine over pictures (embeddings: samples), largest difference of an element.

    Scores are compared without their mean. `holds`: None where one of the two does not show the stage. A stage that is not
    finite has no figures and does not hold.
    """

    name: str
    worst: float | None = None
    mean: float | None = None
    difference: float | None = None
    holds: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a comparison found. `retrieval`: mAP and Rank-1 of both as fractions, where the data have identities."""

    candidate: str
    reference: str
    data: str
    samples: int
    precision: str
    stages: tuple[Stage, ...]
    kept: KeptReport | None
    retrieval: dict[str, float] = field(default_factory=dict)

    @property
    def embedding(self) -> Stage:
        """The last stage, which decides."""
        return self.stages[-1]

    @property
    def faults(self) -> list[str]:
        """What keeps the two from being the same network, a line each; empty where they are."""
        found = []
        embedding = self.embedding
        if embedding.worst is None:
            found.append("embeddings are not finite")
        elif not embedding.holds:
            found.append(f"embeddings have a cosine of {embedding.worst:.6f} at worst (at least {COSINES[self.precision]:.6g})")
            if self.precision == "fp32":
                found[-1] += f" and differ by {embedding.difference:.2g} (at most {DIFFERENCE})"
        if self.kept is not None and self.kept.different and self.precision == "fp32":
            found.append(f"{self.kept.different} of {self.kept.sets} sets of kept patches differ by more than ties")
        change = self.retrieval.get("mAP", 0) - self.retrieval.get("reference_mAP", 0)
        if abs(change) > MAP_CHANGE:
            found.append(f"mAP changes by {100 * change:+.2f} points (at most {100 * MAP_CHANGE})")
        return found

    @property
    def holds(self) -> bool:
        """Whether the two are the same network, as far as the precision lets them."""
        return not self.faults

    @property
    def parts_at(self) -> str | None:
        """The first stage that does not hold, where any does not."""
        return next((stage.name for stage in self.stages if stage.holds is False), None)

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        return {**asdict(self), "holds": self.holds, "faults": self.faults, "parts_at": self.parts_at}

    def figures(self) -> dict[str, Any]:
        """What of it goes into a card: what was measured, on what."""
        embedding = self.embedding
        kept = {} if self.kept is None else {"kept_overlap_worst": self.kept.worst, "kept_overlap_mean": self.kept.mean}
        return {
            "data": self.data,
            "samples": self.samples,
            "cosine_worst": embedding.worst,
            "cosine_mean": embedding.mean,
            "max_difference": embedding.difference,
            **kept,
            **self.retrieval,
        }


def compare(reference: Embedder, candidate: Embedder, source: Source | None = None, precision: str | None = None) -> Report:
    """Hold a network against another, stage by stage, on trial pictures (modalities and cameras missing among them) and on a
    source's samples, on which both are evaluated, too.

    `precision`: what they are held to, `fp32`, `fp16` or `int8`; None takes the coarser of the two cards. Raises ArtifactError
    where they do not see the same pictures, SourceError where the source has no sample that can be used.
    """
    _check_alike(reference.card, candidate.card)
    held_to = precision or _coarser(reference.card, candidate.card)
    stages, kept = _Stages(COSINES[held_to]), KeptSets(reference.card.patches)
    for batch in (trial(reference.card, size) for size in SIZES):
        _one(reference, candidate, batch, stages, kept)
    samples, pairs = _on_source(reference, candidate, source, stages, kept) if source else ([], [])
    return Report(
        candidate=_said(candidate),
        reference=_said(reference),
        data=source.name if source else "trial pictures",
        samples=len(samples),
        precision=held_to,
        stages=stages.results(held_to),
        kept=kept.report(),
        retrieval=_retrieval(samples, pairs, reference.card) if samples else {},
    )


class _Stages:
    """Gathers what was seen of each stage."""

    def __init__(self, least: float) -> None:
        self._least = least
        self._cosines: dict[str, list[NDArray[np.float64]]] = {}
        self._differences: dict[str, list[float]] = {}

    def add(self, name: str, reference: NDArray[Any], candidate: NDArray[Any]) -> None:
        rows = [_rows(name, values) for values in (reference, candidate)]
        self._cosines.setdefault(name, []).append(_cosine(*rows))
        self._differences.setdefault(name, []).append(float(np.abs(reference - candidate).max(initial=0)))

    def results(self, precision: str) -> tuple[Stage, ...]:
        return tuple(self._result(name, precision) for name in STAGES if name != "kept")

    def _result(self, name: str, precision: str) -> Stage:
        if name not in self._cosines:
            return Stage(name=name)
        cosines, difference = np.concatenate(self._cosines[name]), float(np.max(self._differences[name]))  # NaN wins
        if not np.isfinite(difference):
            return Stage(name=name, holds=False)
        holds = bool(cosines.min() >= self._least)
        if name == "embedding" and precision == "fp32":
            holds = holds and difference <= DIFFERENCE
        return Stage(name=name, worst=float(cosines.min()), mean=float(cosines.mean()), difference=difference, holds=holds)


def _one(reference: Embedder, candidate: Embedder, batch: Batch, stages: _Stages, kept: KeptSets) -> tuple[Any, Any]:
    """Compare one batch; returns both embeddings. Raises ArtifactError where a stage has another shape."""
    one, other = reference.stages(*batch), candidate.stages(*batch)
    for name in one.keys() & other.keys():
        if one[name].shape != other[name].shape:
            raise ArtifactError(
                f"{candidate.card.name} has {name} of the shape {list(other[name].shape)},"
                f" {reference.card.name} of {list(one[name].shape)}: they are not one network"
            )
        if name != "kept":
            stages.add(name, one[name], other[name])
    kept.add(one, other)
    return one["embedding"], other["embedding"]


def _on_source(
    reference: Embedder, candidate: Embedder, source: Source, stages: _Stages, kept: KeptSets
) -> tuple[list[Sample], list[tuple[Any, Any]]]:
    samples: list[Sample] = []
    pairs = []
    for part, batch in decoded(source, reference.card, f"verifying on {source.name}"):
        pairs.append(_one(reference, candidate, batch, stages, kept))
        samples += part
    if not samples:
        raise SourceError(f"{source.name}: no sample in it can be used", source.name)
    return samples, pairs


def _retrieval(samples: list[Sample], pairs: list[tuple[Any, Any]], card: Card) -> dict[str, float]:
    """mAP and Rank-1 of both, every sample against all; nothing where the samples have no identities to find."""
    figures: dict[str, float] = {}
    for prefix, parts in zip(("reference_", ""), zip(*pairs, strict=True), strict=True):
        embedded = Embedded(samples, {ALL: np.concatenate(parts)}, [])
        try:
            scores: Scores = retrieval(embedded, embedded, card)[-1].scores
        except SourceError:
            return {}
        figures |= {f"{prefix}mAP": scores.mAP, f"{prefix}rank1": float(scores.cmc[0])}
    return figures


def _rows(name: str, values: NDArray[Any]) -> NDArray[np.float64]:
    """A row for each picture, or each sample where the stage joins its pictures."""
    parts = 1 if name == "embedding" else 2
    rows = values.reshape(int(np.prod(values.shape[:parts])), -1).astype(np.float64)
    return rows - rows.mean(axis=1, keepdims=True) if name == "scores" else rows


def _cosine(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1)
    nothing = (lengths[0] < _TINY) & (lengths[1] < _TINY)  # two rows of zeros are alike
    cosine = (one * other).sum(axis=1) / np.maximum(lengths[0] * lengths[1], _TINY**2)
    return np.where(np.isfinite(cosine), np.where(nothing, 1.0, cosine), -1.0)


def _check_alike(one: Card, other: Card) -> None:
    for name in ("image_size", "modalities", "dimension"):
        has, wants = getattr(other, name), getattr(one, name)
        if has != wants:
            raise ArtifactError(f"{other.name} has {name} {has}, {one.name} {wants}: they cannot be compared", name)


def _coarser(one: Card, other: Card) -> str:
    order = list(COSINES)
    return max((card.precision for card in (one, other)), key=lambda name: order.index(name) if name in order else 0)


def _said(embedder: Embedder) -> str:
    return f"{embedder.card.name} ({embedder.card.precision}, {embedder.runtime})"
