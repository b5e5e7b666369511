"""`trireid train`: fine-tune a network."""

from __future__ import annotations

import json
from pathlib import Path
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
    from trireid.samples.errors import TrainingDivergedError
    from trireid.training.data import list_not_used
    from trireid.training.loop import prepare_training
    from trireid.training.settings import read_settings

    path = Path(config)
    settings = read_settings(path)
    run = Path(folder) if folder else path.parent / "runs" / path.stem
    training = prepare_training(settings, run)
    try:
        training.run()
    except TrainingDivergedError as error:
        return out.fail(error.message, 1)
    result = json.loads((run / "result.json").read_text())
    best, score = run / "best.pth", 100 * result["validation_mAP"]
    out.result(
        {"checkpoint": str(best), **result},
        f"{best}: epoch {result['best_epoch']}, validation mAP {score:.1f} %",
    )
    for each in list_not_used(settings.data):
        out.note(f"not used: {each}")
    return 0
