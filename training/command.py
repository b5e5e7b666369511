"""The commands `trireid train` and `trireid diagnose`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from trireid.samples.errors import TrainingDivergedError
from trireid.samples.printable import printable
from trireid.training.data import list_not_used
from trireid.training.diagnosis import diagnose_file, format_diagnosis, to_mapping
from trireid.training.loop import prepare_training
from trireid.training.settings import read_settings


def train_command(config: str, folder: str | None) -> int:
    """Train; 0 when done, 1 when the run stopped itself."""
    path = Path(config)
    settings = read_settings(path)
    run = Path(folder) if folder else path.parent / "runs" / path.stem
    training = prepare_training(settings, run)
    try:
        training.run()
    except TrainingDivergedError as error:
        print(f"trireid: {printable(error.message)}", file=sys.stderr)
        return 1
    result = json.loads((run / "result.json").read_text())
    print(
        f"{run / 'best.pth'}: epoch {result['best_epoch']}, validation mAP "
        f"{100 * result['validation_mAP']:.1f} %"
    )
    for each in list_not_used(settings.data):
        print(printable(f"not used: {each}"), file=sys.stderr)
    return 0


def diagnose_command(target: str, *, as_json: bool) -> int:
    """Print the diagnosis; 0 without errors, 1 with."""
    diagnosis = diagnose_file(Path(target))
    print(json.dumps(to_mapping(diagnosis), indent=1) if as_json else format_diagnosis(diagnosis))
    return 1 if diagnosis.errors else 0
