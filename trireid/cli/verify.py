"""`trireid verify`: whether two networks are the same."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from trireid.cli.command import command, make_app
from trireid.cli.options import (
    NETWORK,
    Checkpoint,
    ComparisonSource,
    OutsideImages,
    Runtime,
    open_comparison,
)
from trireid.cli.output import Output

app = make_app()


@command(app)
def verify(
    file: Annotated[str, Argument(metavar="FILE", help=NETWORK)],
    against: Annotated[str, Option("--against", metavar="FILE", help=f"the reference: {NETWORK}")],
    checkpoint: Checkpoint,
    runtime: Runtime,
    out: Output,
    data: ComparisonSource = None,
    allow_outside: OutsideImages = False,
) -> int:
    """Compare two networks on probe images, and show the layer at which they differ.

    Exits with 1 if they are not the same.
    """
    from trireid.export.report import format_report
    from trireid.export.verification import compare
    from trireid.inference import load_artifact

    runtime.apply()
    config = checkpoint.read_config()
    candidate, reference = (
        load_artifact(each, config=config, weights=checkpoint.weights) for each in (file, against)
    )
    report = compare(reference, candidate, open_comparison(data, allow_outside))
    out.result(report.to_json(), *format_report(report).split("\n"))
    return 0 if report.holds else 1
