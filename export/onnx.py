"""Export to ONNX: one file with the card inside, which appears only if it has proved to be the
same network.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, Final

import onnx

from trireid.export.precision import convert
from trireid.export.quantization import list_float32_layers
from trireid.export.report import Report
from trireid.export.shipping import check_target, ship
from trireid.export.tolerance import PRECISIONS
from trireid.export.tracing import ArtifactGraph, trace
from trireid.export.verification import compare, draw_probe_inputs
from trireid.inference.artifact import CHECKPOINTS, load_artifact
from trireid.inference.card import METADATA_KEY, Card
from trireid.inference.content import compute_content
from trireid.inference.tensorrt.plan import SUFFIXES
from trireid.inference.torch import TorchEmbedder, compute_fingerprint, describe_network
from trireid.models import ReIdNetwork
from trireid.samples import Kind, SourceError
from trireid.samples.source import Source
from trireid.samples.sources import open_source

#: The SOURCE on which a precision other than fp32 is measured by default.
PROBE_SOURCE = "synthetic:{kind}:16"
_PROBE_SIZE: Final = 2


def export_onnx(
    network: ReIdNetwork,
    path: str | PathLike[str],
    *,
    precision: str = "fp32",
    batch: int | None = None,
    name: str | None = None,
    kind: Kind | None = None,
    measured: Mapping[str, Any] | None = None,
    license: str = "",
    data: Source | str | None = None,
) -> Card:
    """Export a network and verify the artifact against it; the file appears only if it agrees.

    The tolerances are those of `trireid.export.tolerance`. FILE.report.json, next to the artifact,
    holds everything that was found.

    Args:
        network: A network of the family.
        path: The ONNX file.
        precision: `fp32`, `fp16` (for GPUs) or `int8` (for CPUs).
        batch: A fixed batch size; None for a dynamic one.
        name: The card's name; None takes the file's.
        kind: `person` or `vehicle`; None takes the image's shape.
        measured: Figures for the card.
        license: Of the weights, for the card: an SPDX expression, and in words whose they are.
        data: A SOURCE on which the two are compared, too; a precision other than fp32 takes 16
            drawn identities by default.

    Returns:
        The card, with the verification's figures in `measured["against_fp32"]`, and of int8 the
        modules that stay in float32 in `measured["float32_layers"]`.

    Raises:
        VerificationError: They disagree; the file that was there stays.
        ArtifactError: Nothing can be written there.
        SourceError: A precision other than fp32 cannot be measured on the data.
        ValueError: The precision is unknown.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision: {precision!r} is not one of {', '.join(PRECISIONS)}")
    target = Path(path)
    check_target(target, ".onnx", (*CHECKPOINTS, *SUFFIXES))
    network.eval()
    card = describe_network(network, name or target.stem, kind, precision)
    fingerprint = compute_fingerprint(network, card)
    card = replace(card, fingerprint=fingerprint, measured=dict(measured or {}), license=license)
    source = _open_source(data, card)
    probe = draw_probe_inputs(card, batch or _PROBE_SIZE)
    model = convert(trace(ArtifactGraph(network).eval(), batch), precision, probe)
    about = {"float32_layers": list_float32_layers(model)} if precision == "int8" else {}
    card = _insert_card(model, replace(card, measured={**card.measured, **about}))

    def verify(temporary: Path) -> Report:
        reference = TorchEmbedder(network, target, "cpu")
        report = compare(reference, load_artifact(temporary, provider="cpu"), source, precision)
        _check_measured(report)
        return report

    def write(temporary: Path) -> None:
        temporary.write_bytes(model.SerializeToString())

    report = ship(target, write, verify, {"content": card.content, **about})
    return replace(card, measured={**card.measured, "against_fp32": report.figures()})


def _check_measured(report: Report) -> None:
    if report.precision != "fp32" and report.unmeasured:
        raise SourceError(
            f"{report.data}: the change of mAP decides whether {report.precision} is good enough,"
            f" and cannot be measured on it: {report.unmeasured}; give another SOURCE, or none for"
            " drawn identities",
            report.data,
        )


def _open_source(data: Source | str | None, card: Card) -> Source | None:
    if data is None and card.precision != "fp32":
        data = PROBE_SOURCE.format(kind=card.kind)
    return open_source(data) if isinstance(data, str) else data


def _insert_card(model: onnx.ModelProto, card: Card) -> Card:
    """Put the card into the file's metadata; return it with the digest of the content."""
    onnx.helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.checker.check_model(model)
    content = compute_content(io.BytesIO(model.SerializeToString()), card.to_json())
    card = replace(card, content=content)
    onnx.helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    return card
