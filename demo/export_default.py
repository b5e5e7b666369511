"""The end of an embedded default's recipe: measured on identities never trained on, exported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trireid.demo.retrieval import measure
from trireid.export import export_onnx
from trireid.models import ReIdNetwork
from trireid.samples import Kind
from trireid.training.settings import Precision


def export_default(
    network: ReIdNetwork,
    kind: Kind,
    output: Path,
    training: Mapping[str, Any],
    *,
    precision: str = "fp32",
    measured_in: Precision = Precision.FLOAT32,
    license: str = "",
) -> None:
    """Measure a default, print its scores, and write its artifact.

    Args:
        network: In eval mode.
        kind: Of its subjects.
        output: The ONNX artifact.
        training: How it was made, for the card: `command`, `seed`, `data` and what else is known.
        precision: Of the artifact.
        measured_in: Precision in which the scores are measured.
        license: Of the weights, for the card.

    Raises:
        VerificationError: The artifact is another network; nothing is written.
    """
    results = measure(network, kind, measured_in)
    print(json.dumps(results, indent=1))
    card = export_onnx(
        network,
        output,
        precision=precision,
        name=f"trireid-default-{kind}",
        kind=kind,
        measured={"training": training, "test": results},
        license=license,
    )
    size = output.stat().st_size / 1e6
    print(f"{output}: {size:.1f} MB, fingerprint {card.fingerprint[:12]}")
