"""A verification's report: the figures of each stage, the verdict, and both as text for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from trireid.export.selection import SelectionReport
from trireid.export.tolerance import TOLERANCES, Tolerance
from trireid.inference.card import STAGES


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of the two: worst and mean cosine over images (embeddings: samples), largest
    difference of an element.

    Scores are compared without their mean. `holds`: whether no image is further off than the
    precision explains, in direction or in length; None if one of the two does not show the stage.
    A stage that is not finite has no figures and does not hold.
    """

    name: str
    worst: float | None = None
    mean: float | None = None
    difference: float | None = None
    holds: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """The result of a comparison.

    `precision`: the row of `TOLERANCES`; `retrieval`: mAP and Rank-1 of both as fractions, or
    `unmeasured` says why there are none; `tied`: how many samples with swapped patches the
    embedding's figures leave out.
    """

    candidate: str
    reference: str
    data: str
    samples: int
    precision: str
    stages: tuple[Stage, ...]
    selected_patches: SelectionReport | None
    tied: int = 0
    retrieval: dict[str, float] = field(default_factory=dict)
    unmeasured: str | None = None

    @property
    def tolerance(self) -> Tolerance:
        """The bounds of the precision."""
        return TOLERANCES[self.precision]

    @property
    def embedding(self) -> Stage:
        """The last stage, which decides."""
        return self.stages[-1]

    @property
    def errors(self) -> list[str]:
        """Why the two are not the same network, a line each; empty if they are."""
        change = self.retrieval.get("mAP", 0) - self.retrieval.get("reference_mAP", 0)
        moved = f"mAP changes by {100 * change:+.2f} points (at most {self._map_points:g})"
        found = [self._check_embedding(), self._check_selection()]
        found.append(moved if abs(change) > self.tolerance.map_change else None)
        return [each for each in found if each is not None]

    @property
    def holds(self) -> bool:
        """Whether the two are the same network, as far as the precision lets them."""
        return not self.errors

    @property
    def parts_at(self) -> str | None:
        """The first stage that does not hold, if any does not;

        `selected_patches` stands between the scores and the embedding.
        """
        off = {stage.name for stage in self.stages if stage.holds is False}
        if self.selected_patches is not None and self._selects_others:
            off.add("selected_patches")
        return next((name for name in STAGES if name in off), None)

    @property
    def _map_points(self) -> float:
        return 100 * self.tolerance.map_change

    @property
    def _selects_others(self) -> bool:
        """Whether more patches are swapped than the tolerance allows, ties apart."""
        found = self.selected_patches
        if found is None or self.tolerance.swapped is None:
            return bool(found and found.different)
        return found.swapped > self.tolerance.count_allowed(found.size)

    def _check_embedding(self) -> str | None:
        embedding, bound = self.embedding, self.tolerance.difference
        if embedding.worst is None:
            return "embeddings are not finite"
        if embedding.holds:
            return None
        within = "" if bound is None else f" (at most {bound:g})"
        return (
            f"embeddings have a cosine of {embedding.worst:.6f} at worst (at least"
            f" {self.tolerance.cosine:.6g}) and differ by {embedding.difference:.2g}{within}"
        )

    def _check_selection(self) -> str | None:
        found = self.selected_patches
        if found is None or not self._selects_others:
            return None
        if self.tolerance.swapped is not None:
            allowed = self.tolerance.count_allowed(found.size)
            return f"{found.swapped} patches of a set are other ones (at most {allowed})"
        # coarse precisions may move the scores themselves
        scores = next(stage for stage in self.stages if stage.name == "scores")
        if self.precision != "fp32" and scores.holds is False:
            return None
        return (
            f"{found.different} of {found.sets} sets of selected patches differ by more than ties"
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything, as JSON has it; `kept` and `faults` are old names."""
        values = asdict(self)
        verdict = {"holds": self.holds, "errors": self.errors, "parts_at": self.parts_at}
        old = {"kept": values["selected_patches"], "faults": self.errors}
        return {**values, "tolerance": asdict(self.tolerance), **verdict, **old}

    def figures(self) -> dict[str, Any]:
        """Return the figures for a card, and the data they were measured on."""
        embedding, selected = self.embedding, self.selected_patches
        overlap = {} if selected is None else {"worst": selected.worst, "mean": selected.mean}
        return {
            "data": self.data,
            "samples": self.samples,
            "cosine_worst": embedding.worst,
            "cosine_mean": embedding.mean,
            "max_difference": embedding.difference,
            "tied": self.tied,
            **{f"selected_overlap_{name}": value for name, value in overlap.items()},
            # the old names, for one minor version
            **{f"kept_overlap_{name}": value for name, value in overlap.items()},
            **self.retrieval,
        }


def format_report(report: Report) -> str:
    """Return the report as text: the two networks, a line for each stage, the selected patches,
    retrieval, and the verdict.
    """
    return "\n".join(_format_lines(report))


def _format_lines(report: Report) -> Iterator[str]:
    samples = f", {report.samples} samples" if report.samples else ""
    yield report.candidate
    yield f"against {report.reference}"
    yield f"on {report.data}{samples}; within the tolerances of {report.precision}"
    yield ""
    yield f"{'stage':<10} {'worst cosine':>12} {'mean cosine':>12} {'difference':>11}"
    yield from map(_format_stage, report.stages)
    yield ""
    yield from _format_selection(report)
    if report.retrieval:
        mean, rank1 = (_format_change(report.retrieval, name) for name in ("mAP", "rank1"))
        yield f"retrieval: mAP {mean}, Rank-1 {rank1}"
    elif report.unmeasured:
        yield f"retrieval: not measured: {report.unmeasured}"
    yield ""
    errors = "; ".join(report.errors)
    yield f"not the same network: {errors}" if errors else "the same network"
    if report.parts_at:
        yield (
            f"the first stage that is further off than {report.precision} explains:"
            f" {report.parts_at}"
        )


def _format_change(retrieval: dict[str, float], name: str) -> str:
    before, after = 100 * retrieval[f"reference_{name}"], 100 * retrieval[name]
    return f"{before:.2f} -> {after:.2f} ({after - before:+.2f})"


def _format_stage(stage: Stage) -> str:
    if stage.worst is None:
        return f"{stage.name:<10} {'not shown by both' if stage.holds is None else 'not finite'}"
    figures = f"{stage.worst:>12.7f} {stage.mean:>12.7f} {stage.difference:>11.2g}"
    return f"{stage.name:<10} {figures}{'' if stage.holds else '   off'}"


def _format_selection(report: Report) -> Iterator[str]:
    found = report.selected_patches
    if found is None:
        yield "selected patches: neither selects any, or one does not show them"
        return
    yield (
        f"selected patches: {found.sets} sets, {found.equal} equal, {found.tied} with ties swapped,"
        f" {found.different} different; in common {found.worst:.1%} at worst, {found.mean:.1%} in"
        f" the mean; largest margin {found.margin:.2g}"
    )
    if report.tied:
        yield (
            f"{report.tied} samples in which a tie swaps patches are left out of the embedding's"
            " figures"
        )
