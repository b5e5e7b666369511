"""`trireid train`: fine-tune a network."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from trireid.cli.command import command, make_app
from trireid.cli.output import Output

app = make_app()


@command(app)
def train(
    config: Annotated[
        str, Argument(metavar="CONFIG", help="the run's settings, YAML: docs/training.md")
    ],
    out: Output,
    folder: Annotated[
        str | None,
        Option(
            "--folder", metavar="DIR", help="the run's folder (default: runs/NAME next to CONFIG)"
        ),
    ] = None,
) -> int:
    """Fine-tune a network; a killed run continues from its last save.

    Exits with 1 if the run diverges.
    """
    from trireid.training.command import train_command

    return train_command(config, folder)
