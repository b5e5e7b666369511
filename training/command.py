"""What `trireid train`, `diagnose` and `experiment` do with their arguments."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from samples import ConfigError, TrireidError
from samples.printable import printable
from training.arms import ARMS
from training.data import list_not_used
from training.diagnosis import as_mapping, as_text, diagnose_file
from training.experiment import Scale, run_experiment
from training.loop import train
from training.settings_file import read_settings


def train_command(config: str, folder: str | None) -> int:
    """Train; 0 when done, 1 when the run stopped itself."""
    path = Path(config)
    settings = read_settings(path)
    run = Path(folder) if folder else path.parent / "runs" / path.stem
    training = train(settings, run)
    try:
        training.run()
    except TrireidError as error:
        if error.code != "diverged":
            raise
        print(f"trireid: {printable(error.message)}", file=sys.stderr)
        return 1
    result = json.loads((run / "result.json").read_text())
    print(f"{run / 'best.pth'}: epoch {result['best_epoch']}, validation mAP {100 * result['validation_mAP']:.1f} %")
    for each in list_not_used(settings.data):
        print(printable(f"not used: {each}"), file=sys.stderr)
    return 0


def diagnose_command(target: str, *, as_json: bool) -> int:
    """Print the diagnosis; 0 when nothing is at fault, 1 when something is."""
    diagnosis = diagnose_file(Path(target))
    print(json.dumps(as_mapping(diagnosis), indent=1) if as_json else as_text(diagnosis))
    return 1 if diagnosis.faults else 0


def experiment_command(given: argparse.Namespace) -> int:
    """Run the arms, then write the report where asked."""
    folder = Path(given.folder)
    arms = [name.strip() for name in given.arms.split(";")] if given.arms else list(ARMS)
    changes = {name: value for name in ("epochs", "threads") if (value := getattr(given, name)) is not None}
    if given.report_only and not given.report:
        raise ConfigError("--report-only: say where to, with --report FILE.md", "report")
    if not given.report_only:
        run_experiment(folder, arms, given.seeds, replace(Scale(), **changes))
    if given.report:
        from training.report import write_report

        write_report(folder, arms, given.seeds, Path(given.report))
    return 0
