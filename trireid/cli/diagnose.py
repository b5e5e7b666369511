"""`trireid diagnose`: whether one training batch is as it should be."""

from __future__ import annotations

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
    from trireid.training.command import diagnose_command

    return diagnose_command(target, as_json=out.json)
