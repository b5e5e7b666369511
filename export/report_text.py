"""A verification's report as text for people."""

from __future__ import annotations

from collections.abc import Iterator

from trireid.export.verification import Report, Stage


def format_report(report: Report) -> str:
    """The report: what was compared, a line for each stage, the kept patches, retrieval, and the
    verdict.
    """
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    yield report.candidate
    yield f"against {report.reference}"
    yield (
        f"on {report.data}"
        + (f", {report.samples} samples" if report.samples else "")
        + f"; held to {report.precision}"
    )
    yield ""
    yield f"{'stage':<10} {'worst cosine':>12} {'mean cosine':>12} {'difference':>11}"
    yield from map(_stage, report.stages)
    yield ""
    yield from _kept(report)
    if report.retrieval:
        had, has = (100 * report.retrieval[f"{prefix}mAP"] for prefix in ("reference_", ""))
        first, second = (100 * report.retrieval[f"{prefix}rank1"] for prefix in ("reference_", ""))
        mean, rank1 = (
            f"{had:.2f} -> {has:.2f} ({has - had:+.2f})",
            f"{first:.2f} -> {second:.2f} ({second - first:+.2f})",
        )
        yield f"retrieval: mAP {mean}, Rank-1 {rank1}"
    elif report.unmeasured:
        yield f"retrieval: not measured, for {report.unmeasured}"
    yield ""
    yield (
        "the same network" if report.holds else f"not the same network: {'; '.join(report.faults)}"
    )
    if report.parts_at:
        yield f"the first stage that is further off than {report.precision} explains: {report.parts_at}"


def _stage(stage: Stage) -> str:
    if stage.worst is None:
        return f"{stage.name:<10} {'not shown by both' if stage.holds is None else 'not finite'}"
    verdict = "" if stage.holds else "   off"
    return f"{stage.name:<10} {stage.worst:>12.7f} {stage.mean:>12.7f} {stage.difference:>11.2g}{verdict}"


def _kept(report: Report) -> Iterator[str]:
    kept = report.kept
    if kept is None:
        yield "kept patches: neither selects any, or one does not show them"
        return
    yield (
        f"kept patches: {kept.sets} sets, {kept.equal} equal, {kept.tied} with ties swapped, {kept.different} different;"
        f" in common {kept.worst:.1%} at worst, {kept.mean:.1%} in the mean; largest margin {kept.margin:.2g}"
    )
    if report.tied:
        yield f"{report.tied} samples in which a tie swaps patches are left out of the embedding's figures"
