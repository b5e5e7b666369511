"""The comparison of arms: one pretrained backbone, the same data, seeds and budget; resumable, one
process per run.

A folder holds `backbone/` (the pretraining, if there is one), `backbone.pth`, `cache/` (images)
and, for each run, `ARM/SEED/` as `trireid train` leaves it. Runs that are finished are passed over.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor
from tqdm import tqdm

from research.arms import ARMS, make_arm_settings
from research.cost import find_missing_costs, measure_costs
from research.runs import Results, get_run_folder
from research.studies import Study, make_backbone_settings, make_common_settings
from trireid.demo.start_weights import read_start_weights
from trireid.samples import ConfigError, TrireidError
from trireid.training.files import save, write_text
from trireid.training.settings import parse_settings


def run_experiment(folder: Path, arms: Sequence[str], seeds: int, study: Study) -> list[Path]:
    """Run what is not finished, seed by seed, so that an interrupted comparison holds whole rounds;
    the runs' folders.

    A run that stops by itself (NaN, divergence) is a result: it is kept, and the next one starts.
    Raises ConfigError for an unknown arm, and CheckpointError where the study's start weights are
    not installed.
    """
    unknown = [arm for arm in arms if arm not in ARMS]
    if unknown:
        raise ConfigError(f"--arms: there is no {unknown[0]}; there are {', '.join(ARMS)}", "arms")
    folder.mkdir(parents=True, exist_ok=True)
    common = make_common_settings(study, folder)
    with _lock_run(folder / "backbone"):
        _prepare_backbone(folder, study)
        unmeasured = find_missing_costs(folder, arms)
        if unmeasured:
            measure_costs(folder, {arm: make_arm_settings(common, arm, 0) for arm in unmeasured})
    finished = Results.read(study.results).runs
    runs = [(arm, seed) for seed in range(seeds) for arm in arms if (arm, seed) not in finished]
    for arm, seed in tqdm(runs, desc="runs", unit="run"):
        run = get_run_folder(folder, arm, seed)
        with _lock_run(run) as free:
            if free:
                _train(run, make_arm_settings(common, arm, seed))
    return [get_run_folder(folder, arm, seed) for arm, seed in runs]


def _prepare_backbone(folder: Path, study: Study) -> None:
    """Leave the start of all runs in `backbone.pth`."""
    path = folder / "backbone.pth"
    if not path.exists():
        save(read_start_weights() if study.is_pretrained else _pretrain(folder, study), path)


def _pretrain(folder: Path, study: Study) -> dict[str, Tensor]:
    """Train a backbone on another world."""
    _train(folder / "backbone", make_backbone_settings(study, folder))
    if not (folder / "backbone" / "last.pth").exists():
        raise TrireidError(
            f"the backbone's pretraining stopped; see {folder / 'backbone' / 'train.log'}"
        )
    state = torch.load(folder / "backbone" / "last.pth", weights_only=True)["state_dict"]
    prefix = "BACKBONE.base."
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _train(run: Path, settings: dict[str, Any]) -> None:
    """`trireid train` in a process of its own, so that time and memory are the run's alone."""
    if (run / "result.json").exists() or (run / "stopped.txt").exists():
        return
    parse_settings(settings)
    run.mkdir(parents=True, exist_ok=True)
    write_text(run / "train.yml", yaml.safe_dump(settings, sort_keys=False))
    command = [
        sys.executable,
        "-m",
        "trireid",
        "train",
        str(run / "train.yml"),
        "--folder",
        str(run),
    ]
    with (run / "train.log").open("a") as log:
        code = subprocess.run(command, stdout=log, stderr=log, check=False).returncode
    if not code:
        return
    why = (run / "train.log").read_text().splitlines()[-1]
    if not (run / "stopped.pt").exists():
        raise TrireidError(
            f"a run failed with exit code {code}: {why} (all of it: {run / 'train.log'})"
        )
    write_text(run / "stopped.txt", why + "\n")


@contextmanager
def _lock_run(run: Path) -> Iterator[bool]:
    """Whether this process has a run to itself: several may share a folder, and each takes what the
    others leave.

    The backbone and the costs are waited for.
    """
    run.mkdir(parents=True, exist_ok=True)
    with (run / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if run.name == "backbone" else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
