"""Finished runs: their files in a folder, and one file that keeps what the report needs of them."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from trireid.training.files import write_text

#: Of `epochs.csv`, the columns that the report reads.
_EPOCH_COLUMNS: Final = ("epoch", "loss", "accuracy_head", "mAP_3", "zero_gradients")


@dataclass(frozen=True)
class Run:
    """A finished run:

    `result.json`, and the rows of its tables. `result` None: it stopped itself, as `stopped` says.
    """

    arm: str
    seed: int
    result: dict[str, Any] | None
    stopped: str
    epochs: list[dict[str, str]]
    gradients: list[dict[str, str]]

    @classmethod
    def read(cls, folder: Path, arm: str, seed: int) -> Run | None:
        """Read the files of a run; None if it is not finished."""
        run = get_run_folder(folder, arm, seed)
        result, stopped = run / "result.json", run / "stopped.txt"
        if not result.exists() and not stopped.exists():
            return None
        return cls(
            arm,
            seed,
            json.loads(result.read_text()) if result.exists() else None,
            stopped.read_text().strip() if stopped.exists() else "",
            _read_rows(run / "epochs.csv"),
            _read_rows(run / "gradients.csv"),
        )


@dataclass(frozen=True)
class Results:
    """Finished runs by arm and seed, and the CPU seconds of a step by arm."""

    runs: Mapping[tuple[str, int], Run]
    costs: Mapping[str, float]

    @classmethod
    def read(cls, path: Path | None) -> Results:
        """Read what `write` left; nothing where there is no file."""
        content = json.loads(path.read_text()) if path and path.exists() else {}
        runs = [Run(**each) for each in content.get("runs", ())]
        return cls({(run.arm, run.seed): run for run in runs}, content.get("costs", {}))

    def write(self, path: Path) -> None:
        """Write a line per run, in the order of the runs, numbers to four digits."""
        lines = [json.dumps(_shorten(run)) for run in self.runs.values()]
        costs = json.dumps(self.costs)
        text = f'{{"costs": {costs},\n"runs": [\n' + ",\n".join(lines) + "\n]}\n"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)


def get_run_folder(folder: Path, arm: str, seed: int) -> Path:
    """Get the folder of a run."""
    return folder / arm.replace(",", "").replace(" ", "-") / str(seed)


def _shorten(run: Run) -> dict[str, Any]:
    epochs = [{name: row.get(name, "") for name in _EPOCH_COLUMNS} for row in run.epochs]
    return asdict(run) | {"epochs": _round_rows(epochs), "gradients": _round_rows(run.gradients)}


def _round_rows(rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    return [{name: f"{float(cell):.4g}" for name, cell in row.items() if cell} for row in rows]


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
