"""The comparison of arms: one pretrained backbone, the same data, seeds and budget; resumable, one
process per run.

A folder holds `backbone/` (the pretraining), `backbone.pth`, `cache/` (images) and, for each run,
`ARM/SEED/` as `trireid train` leaves it. Runs that are finished are passed over.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
import yaml
from tqdm import tqdm

from research.arms import ARMS, make_arm_settings
from research.cost import find_missing_costs, measure_costs
from trireid.samples import ConfigError, TrireidError
from trireid.training.files import save, write_text
from trireid.training.settings import parse_settings

_NETWORK: Final = {"image_size": [128, 64], "width": 128, "depth": 4, "channels": 128, "cameras": 6}
#: Every group starts here in the warm-up, as in the research code: a tenth of the head's rate.
_TENTH: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large the comparison is. `lr`: of the head; the backbone's is in the notes' ratio to
    it, 5e-6 to 3.5e-4.

    `identities` (train and validation), `validation_identities` of them, and `test_identities` are
    of world 0; the backbone comes from `backbone_identities` of world 1, which has other cameras
    and other identities.
    """

    epochs: int = 50
    identities: int = 80
    validation_identities: int = 16
    test_identities: int = 60
    lr: float = 1.4e-3
    batch: tuple[int, int] = (4, 4)
    backbone_identities: int = 300
    backbone_epochs: int = 27
    threads: int = 1

    @property
    def backbone_lr(self) -> float:
        """Of the pretrained backbone."""
        return self.lr * 5e-6 / 3.5e-4


def make_common_settings(scale: Scale, folder: Path) -> dict[str, Any]:
    """Make the settings that all arms share: the recipe `full`."""
    return {
        "network": {**_NETWORK, "head": "sdtps"},
        "pretrained": str(folder / "backbone.pth"),
        "data": {
            "source": f"synthetic:person:{scale.identities}",
            "validation_identities": scale.validation_identities,
            "test": f"synthetic:person:{scale.test_identities}",
            "cache": str(folder / "cache"),
        },
        "batch": {"identities": scale.batch[0], "samples": scale.batch[1]},
        "sdtps": {"attention_gradient": "full", "gumbel": "on"},
        "optimizer": {"lr": scale.lr, "backbone_lr": scale.backbone_lr},
        "schedule": {
            "epochs": scale.epochs,
            "warmup_epochs": min(3, scale.epochs - 1),
            "warmup_lr": _TENTH * scale.lr,
            "steps_per_epoch": (scale.identities - scale.validation_identities) // scale.batch[0],
        },
        "runtime": {"device": "auto", "threads": scale.threads},
        "logging": {"evaluate_every": 5, "diagnose_every": 5, "save_every": 50},
    }


def make_backbone_settings(scale: Scale, folder: Path) -> dict[str, Any]:
    """The pretraining: no head, from scratch, on another world's identities."""
    return {
        "network": {**_NETWORK, "head": "none"},
        "data": {
            "source": f"synthetic:person:{scale.backbone_identities}",
            "world": 1,
            "cache": str(folder / "cache"),
        },
        "batch": {"identities": 8, "samples": 4},
        "loss": {"identity": 1.0, "triplet": 1.0},
        "optimizer": {
            "name": "adamw",
            "lr": 1e-3,
            "backbone_lr": None,
            "weight_decay": 0.05,
            "clip": 5.0,
        },
        "schedule": {
            "epochs": scale.backbone_epochs,
            "warmup_epochs": min(2, scale.backbone_epochs - 1),
            "warmup_lr": 2e-5,
        },
        "augmentation": {"drop_camera": 0.5},
        "runtime": {"device": "auto", "threads": scale.threads},
        "logging": {"evaluate_every": 9},
    }


def run_experiment(folder: Path, arms: Sequence[str], seeds: int, scale: Scale) -> list[Path]:
    """Run what is not finished, seed by seed, so that an interrupted comparison holds whole rounds;
    the runs' folders.

    A run that stops by itself (NaN, divergence) is a result: it is kept, and the next one starts.
    Raises ConfigError for an unknown arm.
    """
    unknown = [arm for arm in arms if arm not in ARMS]
    if unknown:
        raise ConfigError(f"--arms: there is no {unknown[0]}; there are {', '.join(ARMS)}", "arms")
    folder.mkdir(parents=True, exist_ok=True)
    with _lock_run(folder / "backbone"):
        _pretrain(folder, scale)
    unmeasured = find_missing_costs(folder, arms)
    if unmeasured:
        measure_costs(
            folder,
            {
                arm: make_arm_settings(make_common_settings(scale, folder), arm, 0)
                for arm in unmeasured
            },
        )
    runs = [(arm, seed) for seed in range(seeds) for arm in arms]
    for arm, seed in tqdm(runs, desc="runs", unit="run"):
        with _lock_run(get_run_folder(folder, arm, seed)) as free:
            if free:
                _train(
                    get_run_folder(folder, arm, seed),
                    make_arm_settings(make_common_settings(scale, folder), arm, seed),
                )
    return [get_run_folder(folder, arm, seed) for arm, seed in runs]


def get_run_folder(folder: Path, arm: str, seed: int) -> Path:
    """Get the folder of a run."""
    return folder / arm.replace(",", "").replace(" ", "-") / str(seed)


def _pretrain(folder: Path, scale: Scale) -> None:
    if (folder / "backbone.pth").exists():
        return
    _train(folder / "backbone", make_backbone_settings(scale, folder))
    if not (folder / "backbone" / "last.pth").exists():
        raise TrireidError(
            f"the backbone's pretraining stopped; see {folder / 'backbone' / 'train.log'}"
        )
    state = torch.load(folder / "backbone" / "last.pth", weights_only=True)["state_dict"]
    prefix = "BACKBONE.base."
    save(
        {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)},
        folder / "backbone.pth",
    )


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

    The pretraining is waited for.
    """
    run.mkdir(parents=True, exist_ok=True)
    with (run / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if run.name == "backbone" else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
