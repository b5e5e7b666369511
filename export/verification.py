"""Verification: whether two networks are the same, and where on the way from pixels to embedding
they part.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trireid.evaluation import Scores
from trireid.export.probe_inputs import SIZES, Batch, draw_probe_inputs
from trireid.export.selection import SelectedSets, SelectionReport
from trireid.inference.card import STAGES, Card
from trireid.inference.embedder import Embedder
from trireid.inference.retrieval import ALL, Embedded, decode_source, score_retrieval
from trireid.samples import MODALITIES, ArtifactError, Sample, SourceError
from trireid.samples.source import Source

#: How alike embeddings must be, by precision: the worst cosine.
COSINES: Final = {"fp32": 1 - 1e-6, "fp16": 0.9995, "int8": 0.995}
#: In float32, by how much any element of an embedding may differ.
DIFFERENCE: Final = 1e-4
#: By how much mAP may change, as a fraction.
MAP_CHANGE: Final = 0.005
_TINY: Final = 1e-6


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of the two: worst and mean cosine over pictures (embeddings: samples), largest
    difference of an element.

    Scores are compared without their mean. `holds`: whether no picture is further off than the
    precision explains, in direction or in length; None where one of the two does not show the
    stage. A stage that is not finite has no figures and does not hold.
    """

    name: str
    worst: float | None = None
    mean: float | None = None
    difference: float | None = None
    holds: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a comparison found. `retrieval`: mAP and Rank-1 of both as fractions; where it could not
    be measured on the samples, `unmeasured` says why. `tied`: how many samples, of which a tie
    swaps patches, the embedding's figures leave out.
    """

    candidate: str
    reference: str
    data: str
    samples: int
    precision: str
    stages: tuple[Stage, ...]
    kept: SelectionReport | None
    tied: int = 0
    retrieval: dict[str, float] = field(default_factory=dict)
    unmeasured: str | None = None

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
            found.append(
                f"embeddings have a cosine of {embedding.worst:.6f} at worst (at least {COSINES[self.precision]:.6g})"
            )
            found[-1] += f" and differ by {embedding.difference:.2g}"
            if self.precision == "fp32":
                found[-1] += f" (at most {DIFFERENCE})"
        if self.kept is not None and self._selects_otherwise:
            found.append(
                f"{self.kept.different} of {self.kept.sets} sets of kept patches differ by more than ties"
            )
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
        """The first stage that does not hold, where any does not;

        `kept` stands between the scores and the embedding.
        """
        off = {stage.name for stage in self.stages if stage.holds is False}
        if self.kept is not None and self.kept.different:
            off.add("selected_patches")
        return next((name for name in STAGES if name in off), None)

    @property
    def _selects_otherwise(self) -> bool:
        """Whether patches are kept that the scores do not explain; coarse precisions may move the
        scores themselves.
        """
        scores = next(stage for stage in self.stages if stage.name == "scores")
        return bool(self.kept and self.kept.different) and (
            self.precision == "fp32" or scores.holds is not False
        )

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        return {
            **asdict(self),
            "holds": self.holds,
            "faults": self.faults,
            "parts_at": self.parts_at,
        }

    def figures(self) -> dict[str, Any]:
        """What of it goes into a card: what was measured, on what."""
        embedding = self.embedding
        kept = (
            {}
            if self.kept is None
            else {"kept_overlap_worst": self.kept.worst, "kept_overlap_mean": self.kept.mean}
        )
        return {
            "data": self.data,
            "samples": self.samples,
            "cosine_worst": embedding.worst,
            "cosine_mean": embedding.mean,
            "max_difference": embedding.difference,
            "tied": self.tied,
            **kept,
            **self.retrieval,
        }


def compare(
    reference: Embedder,
    candidate: Embedder,
    source: Source | None = None,
    precision: str | None = None,
) -> Report:
    """Hold a network against another, stage by stage, on trial pictures (modalities and cameras
    missing among them) and on a source's samples, on which both are evaluated, too.

    `precision`: what they are held to, `fp32`, `fp16` or `int8`; None takes the coarser of the two
    cards. Raises ArtifactError where they do not see the same pictures, SourceError where the
    source has no sample that can be used.
    """
    _check_alike(reference.card, candidate.card)
    held_to = precision or _coarser(reference.card, candidate.card)
    seen = _Seen(held_to, reference, candidate)
    for batch in (draw_probe_inputs(reference.card, size) for size in SIZES):
        seen.add(batch)
    samples, pairs = _on_source(seen, source) if source else ([], [])
    figures, unmeasured = _retrieval(samples, pairs, reference.card) if samples else ({}, None)
    return Report(
        candidate=_said(candidate),
        reference=_said(reference),
        data=source.name if source else "trial pictures",
        samples=len(samples),
        precision=held_to,
        stages=seen.stages(),
        kept=seen.kept.report(),
        tied=seen.tied,
        retrieval=figures,
        unmeasured=unmeasured,
    )


@dataclass
class _Rows:
    """What was seen of a stage: of each picture the cosine and the likeness, of each batch the
    largest difference.
    """

    cosines: list[NDArray[np.float64]] = field(default_factory=list)
    likenesses: list[NDArray[np.float64]] = field(default_factory=list)
    differences: list[float] = field(default_factory=list)

    def add(self, name: str, one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
        """Add a batch of the stage; returns the likenesses, [B] for embeddings, else [3B]."""
        rows = _rows(name, one), _rows(name, other)
        self.cosines.append(_cosine(*rows))
        self.likenesses.append(_likeness(*rows))
        self.differences.append(float(np.abs(one - other).max(initial=0)))
        return self.likenesses[-1]


class _Seen:
    """Holds two networks against each other, batch by batch, and gathers what was seen of each
    stage.
    """

    def __init__(self, precision: str, reference: Embedder, candidate: Embedder) -> None:
        self.precision, self.reference, self.candidate = precision, reference, candidate
        self.kept, self.tied = SelectedSets(reference.card.patches), 0
        self._rows = {name: _Rows() for name in STAGES if name != "selected_patches"}
        self._swapped = _Rows()  # embeddings of the samples in which a tie swaps patches

    def add(self, batch: Batch) -> tuple[Any, Any]:
        """Compare one batch; returns both embeddings.

        Raises ArtifactError where a stage has another shape.
        """
        one, other = self.reference.stages(*batch), self.candidate.stages(*batch)
        for name in one.keys() & other.keys():
            if one[name].shape != other[name].shape:
                raise ArtifactError(
                    f"{self.candidate.card.name} has {name} of the shape {list(other[name].shape)},"
                    f" {self.reference.card.name} of {list(one[name].shape)}: they are not one network"
                )
        alike = np.ones((len(batch[0]), len(MODALITIES)), bool)
        for name in ("input", "tokens", "scores"):
            if name in one and name in other:
                likeness = self._rows[name].add(name, one[name], other[name])
                if name == "scores":
                    alike = likeness.reshape(alike.shape) >= COSINES[self.precision]
        tied = self.kept.add(one, other, alike)
        self._add_embeddings(one["embedding"], other["embedding"], tied)
        return one["embedding"], other["embedding"]

    def stages(self) -> tuple[Stage, ...]:
        """What was seen of each stage but the kept patches."""
        # nothing else to judge by
        if not self._rows["embedding"].cosines and self._swapped.cosines:
            self._rows["embedding"], self.tied = self._swapped, 0
        return tuple(self._stage(name, rows) for name, rows in self._rows.items())

    def _add_embeddings(
        self, one: NDArray[Any], other: NDArray[Any], tied: NDArray[np.bool_]
    ) -> None:
        """At a tie either patch is right, and the embedding is another: float32's bounds say
        nothing of such a sample.
        """
        if self.precision != "fp32":
            tied = np.zeros_like(tied)
        for rows, chosen in ((self._rows["embedding"], ~tied), (self._swapped, tied)):
            if chosen.any():
                rows.add("embedding", one[chosen], other[chosen])
        self.tied += int(tied.sum())

    def _stage(self, name: str, rows: _Rows) -> Stage:
        if not rows.cosines:
            return Stage(name=name)
        # NaN wins
        cosines, difference = np.concatenate(rows.cosines), float(np.max(rows.differences))
        if not np.isfinite(difference):
            return Stage(name=name, holds=False)
        holds = bool(np.concatenate(rows.likenesses).min() >= COSINES[self.precision])
        if name == "embedding" and self.precision == "fp32":
            holds = holds and difference <= DIFFERENCE
        return Stage(
            name=name,
            worst=float(cosines.min()),
            mean=float(cosines.mean()),
            difference=difference,
            holds=holds,
        )


def _on_source(seen: _Seen, source: Source) -> tuple[list[Sample], list[tuple[Any, Any]]]:
    samples: list[Sample] = []
    pairs = []
    for part, batch in decode_source(source, seen.reference.card, f"verifying on {source.name}"):
        pairs.append(seen.add(batch))
        samples += [entry.sample for entry in part if entry.sample is not None]
    if not samples:
        raise SourceError(f"{source.name}: no sample in it can be used", source.name)
    return samples, pairs


def _retrieval(
    samples: list[Sample], pairs: list[tuple[Any, Any]], card: Card
) -> tuple[dict[str, float], str | None]:
    """mAP and Rank-1 of both, every sample against all; or why they cannot be measured on these
    samples.
    """
    figures: dict[str, float] = {}
    for prefix, parts in zip(("reference_", ""), zip(*pairs, strict=True), strict=True):
        everything = np.ones((len(samples), len(MODALITIES)), bool)
        embedded = Embedded(
            samples,
            {ALL: np.concatenate(parts)},
            [],
            everything,
            [str(sample.id) for sample in samples],
        )
        try:
            scores: Scores = score_retrieval(embedded, embedded, card)[-1].scores
        except SourceError as error:
            return {}, error.message
        figures |= {f"{prefix}mAP": scores.mAP, f"{prefix}rank1": float(scores.cmc[0])}
    return figures, None


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


def _likeness(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cosine of rows of equal length, less where lengths differ, too: 1 - d^2 / 2, d their
    distance by the longer's length.

    A cosine alone does not see pictures that were normalised to another contrast.
    """
    longer = np.maximum(np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1))
    likeness = 1 - (np.linalg.norm(one - other, axis=1) / np.maximum(longer, _TINY)) ** 2 / 2
    return np.where(np.isfinite(likeness), likeness, -1.0)


def _check_alike(one: Card, other: Card) -> None:
    for name in ("image_size", "modalities", "dimension"):
        has, wants = getattr(other, name), getattr(one, name)
        if has != wants:
            raise ArtifactError(
                f"{other.name} has {name} {has}, {one.name} {wants}: they cannot be compared", name
            )


def _coarser(one: Card, other: Card) -> str:
    """What two cards are held to: a network of a precision of its own, as foreign ones are, is held
    to float32's.
    """
    held = {card.precision for card in (one, other)}
    return next((name for name in reversed(COSINES) if name in held), "fp32")


def _said(embedder: Embedder) -> str:
    return f"{embedder.card.name} ({embedder.card.precision}, {embedder.runtime})"
