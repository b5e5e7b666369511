"""The cost of a step of each arm, measured in turns, so that load on the machine is shared."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from trireid.training.data import Data
from trireid.training.files import write_text
from trireid.training.loop import Training
from trireid.training.settings import parse_settings

_ROUNDS: Final = 7
_FILE: Final = "cost.json"


def measure_costs(folder: Path, settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Median CPU seconds of a step for each named settings, to `cost.json`; steps take turns, the
    first is not counted.
    """
    with tempfile.TemporaryDirectory() as scratch:
        runs = {
            arm: _prepare(Path(scratch) / str(index), settings[arm])
            for index, arm in enumerate(settings)
        }
        taken: dict[str, list[float]] = {arm: [] for arm in runs}
        for _ in range(_ROUNDS):
            for arm, run in runs.items():
                taken[arm].append(run.take_step()["cpu_seconds"])
    costs = {arm: round(float(np.median(seconds[1:])), 4) for arm, seconds in taken.items()}
    write_text(folder / _FILE, json.dumps(read_costs(folder) | costs, indent=1) + "\n")


def read_costs(folder: Path) -> dict[str, float]:
    """Read the measured costs; empty before."""
    path = folder / _FILE
    costs: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
    return costs


def find_missing_costs(folder: Path, arms: Sequence[str]) -> list[str]:
    """Arms that were not measured yet."""
    return [arm for arm in arms if arm not in read_costs(folder)]


def _prepare(folder: Path, settings: Mapping[str, Any]) -> Training:
    made = parse_settings(settings)
    return Training(
        made, Data.load(made.data, made.network, made.batch, made.identities_per_step), folder
    )
