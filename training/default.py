"""The embedded default networks: trained on the synthetic world, measured on identities never trained on, exported.

    python -m training.default --kind person --folder runs/person --output assets/person.onnx

An interrupted run goes on where its last save stands.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation import Scores, evaluate
from evaluation.baselines import raw_pixels, striped_histogram
from export import export_onnx
from models import NetworkConfig, ReIdNetwork
from samples import KINDS, Kind
from training.augment import Augmentation
from training.loop import train as make_training
from training.pictures import PictureSet, normalised, synthetic_set
from training.settings import (
    BatchSettings,
    DataSettings,
    LossSettings,
    MachineSettings,
    OptimiserName,
    OptimiserSettings,
    ScheduleSettings,
    Settings,
    UpkeepSettings,
)

SIZES: Final[dict[Kind, tuple[int, int]]] = {"person": (256, 128), "vehicle": (128, 256)}
CAMERAS: Final = 6
TEST_IDENTITIES: Final = 100
_BATCH: Final = 32
_EPOCH: Final = 50
Describe = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Default:
    """What an embedded default is made of: its kind, how many drawn identities it sees, how often each camera draws one.

    Trained from scratch: AdamW, one rate for all, and loss weights that leave the plateau of equal features sooner.
    """

    kind: Kind
    steps: int = 700
    seed: int = 0
    threads: int | None = None
    identities: int = 600
    validation_identities: int = 20
    shots: int = 3

    @property
    def network(self) -> NetworkConfig:
        """A small network of the family: 4 blocks of 128 channels, SDTPS 128 -> 64 -> 25."""
        return NetworkConfig(image_size=SIZES[self.kind], width=128, depth=4, channels=128, cameras=CAMERAS)

    @property
    def settings(self) -> Settings:
        """The run's settings; an epoch is 50 steps, and steps are rounded up to whole epochs."""
        drawn = self.identities + self.validation_identities
        source = DataSettings(
            source=f"synthetic:{self.kind}:{drawn}", shots=self.shots, validation_identities=self.validation_identities
        )
        rate = 1e-3
        return Settings(
            network=self.network,
            data=source,
            batch=BatchSettings(identities=16, samples=4),
            loss=LossSettings(identity=1.0, triplet=1.0),
            optimiser=OptimiserSettings(
                name=OptimiserName.ADAMW,
                rate=rate,
                backbone_rate=None,
                bias_factor=1.0,
                weight_decay=0.05,
                decay_vectors=False,
                clip=5.0,
            ),
            schedule=ScheduleSettings(
                epochs=-(-self.steps // _EPOCH), steps_per_epoch=_EPOCH, warmup_epochs=1, warmup_rate=rate / _EPOCH
            ),
            augmentation=Augmentation(erase=0.3, drop_modality=0.2, drop_camera=0.5),
            machine=MachineSettings(device="cpu", threads=self.threads),
            upkeep=UpkeepSettings(evaluate_every=0),
            seed=self.seed,
        )


def train(default: Default, folder: Path) -> ReIdNetwork:
    """Train a default in `folder`, or take its run up where it was left."""
    return make_training(default.settings, folder).run()


def measure(network: ReIdNetwork, kind: Kind) -> dict[str, Any]:
    """mAP and Rank-1 in percent on 100 test identities, across cameras: each pattern, and what a network has to beat."""
    test = synthetic_set(kind, TEST_IDENTITIES, SIZES[kind], split="test", shots=2)
    torch.manual_seed(0)
    untrained = ReIdNetwork(network.config).eval()
    described: dict[str, Describe] = {
        "network": lambda images: _embedded(network, images, 3),
        "network, pattern 1 (global)": lambda images: _embedded(network, images, 1),
        "network, pattern 2 (SDTPS)": lambda images: _embedded(network, images, 2),
        "untrained network": lambda images: _embedded(untrained, images, 3),
        "raw pixels": raw_pixels,
        "striped histogram": striped_histogram,
    }
    return {name: _percent(_retrieval(test, describe)) for name, describe in described.items()}


def _retrieval(test: PictureSet, describe: Describe) -> Scores:
    """Every sample is a query once; its own camera's pictures of its identity are dropped."""
    starts = range(0, len(test.images), _BATCH)
    features = np.concatenate([describe(test.images[start : start + _BATCH]) for start in starts])
    return evaluate(features, features, test.identities, test.identities, test.cameras, test.cameras)


def _embedded(network: ReIdNetwork, images: NDArray[np.uint8], pattern: int) -> NDArray[np.float32]:
    """Embeddings with the camera unknown, as most users ask."""
    with torch.inference_mode():
        return network(normalised(images, network.config), pattern=pattern).numpy()  # type: ignore[no-any-return]


def _percent(scores: Scores) -> dict[str, float]:
    return {"mAP": round(100 * scores.mAP, 1), "rank1": round(100 * scores.rank1, 1)}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.default", description="train, measure and export a default network"
    )
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--steps", type=int, default=Default.steps)
    parser.add_argument("--seed", type=int, default=Default.seed)
    parser.add_argument("--threads", type=int, help="threads of PyTorch (default: all cores)")
    parser.add_argument("--folder", type=Path, required=True, help="where the run keeps its saves and its log")
    parser.add_argument("--output", type=Path, required=True, help="the ONNX artifact to write")
    given = parser.parse_args()
    default = Default(kind=given.kind, steps=given.steps, seed=given.seed, threads=given.threads)
    network = train(default, given.folder)
    results = measure(network, given.kind)
    print(json.dumps(results, indent=1))
    command = f"python -m training.default --kind {given.kind} --steps {given.steps} --seed {given.seed}"
    measured = {"training": {"command": command, "seed": given.seed, "data": "drawn pictures"}, "test": results}
    card = export_onnx(network, given.output, name=f"trireid-default-{given.kind}", kind=given.kind, measured=measured)
    print(f"{given.output}: {given.output.stat().st_size / 1e6:.1f} MB, fingerprint {card.fingerprint[:12]}")


if __name__ == "__main__":
    main()
