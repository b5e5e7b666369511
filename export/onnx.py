"""Export to ONNX: one file with the card inside, left behind only if it has shown that it is the
same network.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import onnx

from trireid.export.graph import ArtifactGraph
from trireid.export.precision import PRECISIONS, convert
from trireid.export.target import check_target
from trireid.export.tracing import trace
from trireid.export.verification import Report, compare
from trireid.inference.artifact import CHECKPOINTS, load_artifact
from trireid.inference.card import METADATA_KEY, Card
from trireid.inference.content import compute_content
from trireid.inference.tensorrt.plan import SUFFIXES
from trireid.inference.torch import TorchEmbedder, compute_fingerprint, describe_network
from trireid.models import ReIdNetwork
from trireid.samples import Kind, SourceError, VerificationError
from trireid.samples.durable import draft_of, write_whole
from trireid.samples.source import Source
from trireid.samples.sources import open_source

#: What a precision other than fp32 is measured on where nothing is said.
TRIAL_SOURCE = "synthetic:{kind}:16"


def export_onnx(
    network: ReIdNetwork,
    path: str | PathLike[str],
    *,
    precision: str = "fp32",
    batch: int | None = None,
    name: str | None = None,
    kind: Kind | None = None,
    measured: Mapping[str, Any] | None = None,
    data: Source | str | None = None,
) -> Card:
    """Export a network and verify the artifact against it; the file appears only if it agrees.

    `precision`: `fp32`, `fp16` (for GPUs) or `int8` (for CPUs). `batch`: a fixed batch size, None
    for a dynamic one. `name`, `kind`, `measured` go into the card. `data`: a SOURCE on which the
    two are compared beside trial pictures; the others than fp32 take 16 drawn identities where none
    is given. What they are held to: see `trireid.export.verification`. Beside the artifact,
    FILE.report.json says all that was found.

    Raises VerificationError where they disagree, and then leaves the report alone; ArtifactError
    where nothing can be written there; SourceError where another precision than fp32 cannot be
    measured on the data; ValueError for an unknown precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision: {precision!r} is not one of {', '.join(PRECISIONS)}")
    target = Path(path)
    check_target(target, ".onnx", (*CHECKPOINTS, *SUFFIXES))
    network.eval()
    card = describe_network(network, name or target.stem, kind, precision)
    card = replace(card, fingerprint=compute_fingerprint(network, card))
    source = _source(data, card)
    # the report of what is there, or neither
    with draft_of(report_path(target)) as beside, draft_of(target) as draft:
        model = convert(trace(ArtifactGraph(network).eval(), batch), precision)
        _write(model, card, draft)
        report = compare(
            TorchEmbedder(network, target, "cpu"),
            load_artifact(draft, provider="cpu"),
            source,
            precision,
        )
        _check_measured(report)
        text = json.dumps(report.to_json(), indent=2).encode()
        if not report.holds:
            write_whole(report_path(target), text)
            raise _failed(target, report)
        beside.write_bytes(text)
        card = replace(card, measured={**(measured or {}), "against_fp32": report.figures()})
        return _write(model, card, draft)


def report_path(target: Path) -> Path:
    """Where the report of an export stands: beside it."""
    return target.with_suffix(".report.json")


def _failed(target: Path, report: Report) -> VerificationError:
    where = f"; they part at the {report.parts_at}" if report.parts_at else ""
    return VerificationError(
        f"{target}: not written, for it is not the same network: {'; '.join(report.faults)}{where};"
        f" {report_path(target)} says more",
        str(target),
    )


def _check_measured(report: Report) -> None:
    if report.precision != "fp32" and report.unmeasured:
        raise SourceError(
            f"{report.data}: {report.precision} is held to its change of mAP, which cannot be measured on it:"
            f" {report.unmeasured}; give another SOURCE, or none, and drawn identities are taken",
            report.data,
        )


def _source(data: Source | str | None, card: Card) -> Source | None:
    if data is None and card.precision != "fp32":
        data = TRIAL_SOURCE.format(kind=card.kind)
    return open_source(data) if isinstance(data, str) else data


def _write(model: onnx.ModelProto, card: Card, path: Path) -> Card:
    """Write the file; returns its card, which records its content."""
    onnx.helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.checker.check_model(model)
    content = compute_content(io.BytesIO(model.SerializeToString()), card.to_json())
    card = replace(card, content=content)
    onnx.helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    path.write_bytes(model.SerializeToString())
    return card
