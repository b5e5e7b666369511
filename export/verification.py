"""Verification: whether two networks are the same, and at which stage from pixels to embedding
they part. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trireid.evaluation import Scores
from trireid.export.report import Report, Stage
from trireid.export.selection import SelectedSets
from trireid.export.tolerance import PRECISIONS, TOLERANCES, name_tolerance
from trireid.inference.card import STAGES, Card
from trireid.inference.embedder import Cameras, Embedder, Images, Present, Tokens
from trireid.inference.onnx_runtime import OnnxEmbedder
from trireid.inference.retrieval import ALL, Embedded, decode_source, score_retrieval
from trireid.inference.tensorrt.runtime import TensorRtEmbedder
from trireid.samples import MODALITIES, ArtifactError, Sample, SourceError
from trireid.samples.source import Source

#: Batch sizes of the probe inputs.
SIZES: Final = (1, 2, 5)
_CELL: Final = 8  # pixels of one colour
_CHANNELS: Final = 3
_PRESENT: Final = 0.7
_TINY: Final = 1e-6
Batch = tuple[Images, Cameras, Present]


def draw_probe_inputs(card: Card, size: int) -> Batch:
    """Draw inputs on which two networks are compared, whatever they were trained for.

    Args:
        card: The network's.
        size: How many samples.

    Returns:
        Smooth random images uint8 [B, 3, H, W, 3], cameras int64 [B] (unknown ones among them) and
        a mask bool [B, 3] with modalities missing; the same for the same card and size.
    """
    draw = np.random.default_rng(size)
    height, width = card.image_size
    count = len(MODALITIES)
    cells = draw.integers(
        0, 256, (size, count, -(-height // _CELL), -(-width // _CELL), _CHANNELS), dtype=np.uint8
    )
    coarse = cells.repeat(_CELL, axis=2).repeat(_CELL, axis=3)[:, :, :height, :width]
    images = coarse ^ draw.integers(0, 32, coarse.shape, dtype=np.uint8)
    present = draw.random((size, count)) < _PRESENT
    present[~present.any(axis=1), 0] = True
    return images, draw.integers(-1, max(1, card.cameras), size), present


def compare(
    reference: Embedder,
    candidate: Embedder,
    source: Source | None = None,
    precision: str | None = None,
    sizes: Sequence[int] = SIZES,
) -> Report:
    """Compare a network with a reference, stage by stage.

    They are compared on probe inputs (modalities and cameras missing among them) and on a source's
    samples, on which both are evaluated, too.

    Args:
        reference: The network that is right.
        candidate: The network in question.
        source: Samples, or None.
        precision: A row of `trireid.export.tolerance.TOLERANCES`; None takes that of the coarser
            of the two cards, in TensorRT if one of them is a plan.
        sizes: Batch sizes of the probe inputs.

    Returns:
        The report, whose `holds` is the verdict.

    Raises:
        ArtifactError: They do not see the same images.
        SourceError: No sample of the source can be used.
    """
    _check_comparable(reference.card, candidate.card)
    in_tensorrt = any(isinstance(each, TensorRtEmbedder) for each in (reference, candidate))
    row = name_tolerance(
        precision or _find_coarser(reference.card, candidate.card), in_tensorrt=in_tensorrt
    )
    comparison = _Comparison(row, reference, candidate, shows_stages=not in_tensorrt)
    for size in sizes:
        comparison.add(draw_probe_inputs(reference.card, size), also_plain=True)
    samples, pairs = _compare_on_source(comparison, source) if source else ([], [])
    figures, unmeasured = _measure(samples, pairs, reference.card) if samples else ({}, None)
    return Report(
        candidate=_describe(candidate),
        reference=_describe(reference),
        data=source.name if source else "probe inputs",
        samples=len(samples),
        precision=row,
        stages=comparison.stages(),
        selected_patches=comparison.selected.report(),
        tied=comparison.tied,
        retrieval=figures,
        unmeasured=unmeasured,
    )


@dataclass
class _Rows:
    """The figures of a stage: of each image the cosine and the likeness, of each batch the largest
    difference.
    """

    cosines: list[NDArray[np.float64]] = field(default_factory=list)
    likenesses: list[NDArray[np.float64]] = field(default_factory=list)
    differences: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(map(len, self.cosines))

    def add(self, name: str, one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
        """Add a batch of the stage; returns the likenesses, [B] for embeddings, else [3B]."""
        rows = _flatten(name, one), _flatten(name, other)
        self.cosines.append(_compute_cosines(*rows))
        self.likenesses.append(_compute_likenesses(*rows))
        self.differences.append(float(np.abs(one - other).max(initial=0)))
        return self.likenesses[-1]

    def extend(self, others: _Rows) -> None:
        self.cosines += others.cosines
        self.likenesses += others.likenesses
        self.differences += others.differences


class _Comparison:
    """Compares two networks, batch by batch, and gathers the figures of each stage."""

    def __init__(
        self, row: str, reference: Embedder, candidate: Embedder, *, shows_stages: bool
    ) -> None:
        self.reference, self.candidate = reference, candidate
        self.selected, self.tied = SelectedSets(reference.card.patches), 0
        self._tolerance, self._shows_stages = TOLERANCES[row], shows_stages
        self._rows = {name: _Rows() for name in STAGES if name != "selected_patches"}
        self._ignored = _Rows()

    def add(self, batch: Batch, *, also_plain: bool = False) -> tuple[Any, Any]:
        """Compare one batch.

        Args:
            batch: The inputs.
            also_plain: Run the artifact as it is, too, without its stages as further outputs.

        Returns:
            Both embeddings.

        Raises:
            ArtifactError: A stage has another shape.
        """
        one, other = self._run(self.reference, batch), self._run(self.candidate, batch)
        self._check_shapes(one, other)
        alike = np.ones((len(batch[0]), len(MODALITIES)), bool)
        for name in ("input", "tokens", "scores"):
            if name in one and name in other:
                likeness = self._rows[name].add(name, one[name], other[name])
                if name == "scores":
                    alike = likeness.reshape(alike.shape) >= self._tolerance.cosine
        tied, swapped = self.selected.add(one, other, alike)
        masks = {"none": np.zeros_like(tied), "ties": tied, "swaps": swapped}
        ignored = masks[self._tolerance.ignored]
        self._add_embeddings(one["embedding"], other["embedding"], ignored)
        self.tied += int(ignored.sum())
        if also_plain and self._shows_stages and isinstance(self.candidate, OnnxEmbedder):
            embedding, tokens = self.candidate.run(*batch)
            same = _select_alike(tokens, other["selected_patches"])
            rows = same if same.any() else np.ones_like(same)
            self._add_embeddings(one["embedding"][rows], embedding[rows], ignored[rows])
        return one["embedding"], other["embedding"]

    def stages(self) -> tuple[Stage, ...]:
        """Return the figures of each stage but the selected patches."""
        judged, ignored = len(self._rows["embedding"]), len(self._ignored)
        # not that many are left out that little is left to judge by
        is_little = judged < ignored if self._tolerance.ignored == "swaps" else judged == 0
        if ignored and is_little:
            self._rows["embedding"].extend(self._ignored)
            self.tied = 0
        return tuple(self._summarize(name, rows) for name, rows in self._rows.items())

    def _run(self, embedder: Embedder, batch: Batch) -> dict[str, NDArray[Any]]:
        if self._shows_stages:
            return embedder.stages(*batch)
        embedding, tokens = embedder.run(*batch)
        return {"selected_patches": tokens, "embedding": embedding}

    def _check_shapes(self, one: dict[str, NDArray[Any]], other: dict[str, NDArray[Any]]) -> None:
        for name in one.keys() & other.keys():
            if one[name].shape != other[name].shape:
                raise ArtifactError(
                    f"{self.candidate.card.name} has {name} of the shape"
                    f" {list(other[name].shape)}, {self.reference.card.name} of"
                    f" {list(one[name].shape)}: they are not one network"
                )

    def _add_embeddings(
        self, one: NDArray[Any], other: NDArray[Any], ignored: NDArray[np.bool_]
    ) -> None:
        """At a tie either patch is right, and the embedding is another one: the bounds of float32
        do not apply to such a sample.
        """
        for rows, chosen in ((self._rows["embedding"], ~ignored), (self._ignored, ignored)):
            if chosen.any():
                rows.add("embedding", one[chosen], other[chosen])

    def _summarize(self, name: str, rows: _Rows) -> Stage:
        if not rows.cosines:
            return Stage(name=name)
        # NaN wins
        cosines, difference = np.concatenate(rows.cosines), float(np.max(rows.differences))
        if not np.isfinite(difference):
            return Stage(name=name, holds=False)
        holds = bool(np.concatenate(rows.likenesses).min() >= self._tolerance.cosine)
        if name == "embedding" and self._tolerance.difference is not None:
            holds = holds and difference <= self._tolerance.difference
        return Stage(
            name=name,
            worst=float(cosines.min()),
            mean=float(cosines.mean()),
            difference=difference,
            holds=holds,
        )


def _select_alike(one: Tokens, other: Tokens) -> NDArray[np.bool_]:
    """Whether two runs select the same patches for a sample, bool [B]."""
    return np.asarray((np.sort(one, axis=2) == np.sort(other, axis=2)).all(axis=(1, 2)))


def _compare_on_source(
    comparison: _Comparison, source: Source
) -> tuple[list[Sample], list[tuple[Any, Any]]]:
    samples: list[Sample] = []
    pairs = []
    card = comparison.reference.card
    for part, batch in decode_source(source, card, f"verifying on {source.name}"):
        pairs.append(comparison.add(batch))
        samples += [entry.sample for entry in part if entry.sample is not None]
    if not samples:
        raise SourceError(f"{source.name}: no sample in it can be used", source.name)
    return samples, pairs


def _measure(
    samples: list[Sample], pairs: list[tuple[Any, Any]], card: Card
) -> tuple[dict[str, float], str | None]:
    """mAP and Rank-1 of both, every sample against all; or why they cannot be measured on these
    samples.
    """
    figures: dict[str, float] = {}
    everything = np.ones((len(samples), len(MODALITIES)), bool)
    names = [str(sample.id) for sample in samples]
    for prefix, parts in zip(("reference_", ""), zip(*pairs, strict=True), strict=True):
        embedded = Embedded(samples, {ALL: np.concatenate(parts)}, [], everything, names)
        try:
            scores: Scores = score_retrieval(embedded, embedded, card)[-1].scores
        except SourceError as error:
            return {}, error.message
        figures |= {f"{prefix}mAP": scores.mAP, f"{prefix}rank1": scores.rank1}
    return figures, None


def _flatten(name: str, values: NDArray[Any]) -> NDArray[np.float64]:
    """A row for each image, or each sample if the stage joins its images."""
    parts = 1 if name == "embedding" else 2
    rows = values.reshape(int(np.prod(values.shape[:parts])), -1).astype(np.float64)
    return rows - rows.mean(axis=1, keepdims=True) if name == "scores" else rows


def _compute_cosines(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1)
    nothing = (lengths[0] < _TINY) & (lengths[1] < _TINY)  # two rows of zeros are alike
    cosine = (one * other).sum(axis=1) / np.maximum(lengths[0] * lengths[1], _TINY**2)
    return np.where(np.isfinite(cosine), np.where(nothing, 1.0, cosine), -1.0)


def _compute_likenesses(
    one: NDArray[np.float64], other: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The cosine of rows of equal length, less if lengths differ, too: 1 - d^2 / 2, d their
    distance by the longer's length.

    A cosine alone does not see images that were normalised to another contrast.
    """
    longer = np.maximum(np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1))
    likeness = 1 - (np.linalg.norm(one - other, axis=1) / np.maximum(longer, _TINY)) ** 2 / 2
    return np.where(np.isfinite(likeness), likeness, -1.0)


def _check_comparable(one: Card, other: Card) -> None:
    for name in ("image_size", "modalities", "dimension"):
        has, wants = getattr(other, name), getattr(one, name)
        if has != wants:
            raise ArtifactError(
                f"{other.name} has {name} {has}, {one.name} {wants}: they cannot be compared", name
            )


def _find_coarser(one: Card, other: Card) -> str:
    """The coarser precision of two cards; a network of a precision of its own, as external ones
    are, counts as float32.
    """
    found = {card.precision for card in (one, other)}
    return next((name for name in reversed(PRECISIONS) if name in found), "fp32")


def _describe(embedder: Embedder) -> str:
    return f"{embedder.card.name} ({embedder.card.precision}, {embedder.runtime})"
