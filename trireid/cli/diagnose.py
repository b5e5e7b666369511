"""`trireid diagnose`: whether one training batch is as it should be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument

from trireid.cli.command import command, make_app
from trireid.cli.output import Output

app = make_app()


@command(app)
def diagnose(
    target: Annotated[
        str,
        Argument(
            metavar="CONFIG|CHECKPOINT", help="a run's settings, or a checkpoint that train wrote"
        ),
    ],
    out: Output,
) -> int:
    """Check one training batch: where gradient flows, and which embedding evaluation reads.

    Exits with 1 if something is wrong.
    """
    from trireid.training.diagnosis import diagnose_file, format_diagnosis, to_mapping

    diagnosis = diagnose_file(Path(target))
    out.result(to_mapping(diagnosis), *format_diagnosis(diagnosis).split("\n"))
    return 1 if diagnosis.errors else 0
