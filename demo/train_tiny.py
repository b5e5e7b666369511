"""The small embedded networks, `person-tiny` and `vehicle-tiny`: trained from scratch on the
synthetic world, measured on identities never trained on, exported.

    python -m trireid.demo.train_tiny --kind person --folder runs/person --output
    demo/assets/person-tiny.onnx

An interrupted run goes on where its last save stands.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from trireid.demo.export_default import export_default
from trireid.models import NetworkConfig, ReIdNetwork
from trireid.samples import KINDS, Kind
from trireid.training.augment import Augmentation
from trireid.training.loop import prepare_training
from trireid.training.settings import (
    BatchSettings,
    DataSettings,
    LoggingSettings,
    LossSettings,
    OptimizerName,
    OptimizerSettings,
    RuntimeSettings,
    ScheduleSettings,
    Settings,
)

SIZES: Final[dict[Kind, tuple[int, int]]] = {"person": (256, 128), "vehicle": (128, 256)}
CAMERAS: Final = 6
_EPOCH: Final = 25
_CENTER: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Default:
    """A small embedded network: its kind, the number of synthetic identities, the shots per camera.

    Trained from scratch in three stages: on images of half the size, whose steps cost a quarter;
    on whole ones, the backbone at half the rate; and at half of all rates with a loss on each
    modality's features apart. AdamW, and loss weights that leave the plateau of equal features
    sooner. Half of the batches lack a modality or two, so that such queries are found, too; in
    the last stage all seven subsets are equally frequent.

    The first two stages are told the camera of half of the samples. The last has no camera
    embeddings, nor has what is shipped: a user's camera 3 is not the drawn world's, and to know it
    made searches worse, most of all with one modality.
    """

    kind: Kind
    half_steps: int = 900
    steps: int = 900
    segment_steps: int = 500
    seed: int = 0
    threads: int | None = None
    identities: int = 1200
    validation_identities: int = 20
    shots: int = 2

    @property
    def network(self) -> NetworkConfig:
        """A small network of the family: 4 blocks of 128 channels, SDTPS 128 -> 64 -> 25, no camera
        embeddings.
        """
        return NetworkConfig(image_size=SIZES[self.kind], width=128, depth=4, channels=128)

    @property
    def camera_network(self) -> NetworkConfig:
        """The same with the drawn world's cameras."""
        return replace(self.network, cameras=CAMERAS)

    @property
    def half_network(self) -> NetworkConfig:
        """`camera_network` on images of half the height and width: 32 patches, all kept, made into
        25 tokens as of a whole one.

        So every weight has the shape it has in the whole network, and the second stage begins with
        nothing untrained.
        """
        height, width = SIZES[self.kind]
        return replace(
            self.camera_network,
            image_size=(height // 2, width // 2),
            sparse_ratio=1.0,
            aggregation_ratio=0.8,
        )

    def make_settings(
        self,
        network: NetworkConfig,
        steps: int,
        cache: Path,
        start: Path | None = None,
        *,
        last: bool = False,
    ) -> Settings:
        """Make the settings of a stage; an epoch is 25 steps, steps are rounded up to epochs."""
        drawn = self.identities + self.validation_identities
        rate = 5e-4 if last else 1e-3
        return Settings(
            network=network,
            data=DataSettings(
                source=f"synthetic:{self.kind}:{drawn}",
                shots=self.shots,
                validation_identities=self.validation_identities,
                cache=str(cache),
            ),
            pretrained=None if start is None else str(start),
            batch=BatchSettings(identities=16, samples=4),
            loss=LossSettings(identity=1.0, triplet=1.0, center=_CENTER, segments=float(last)),
            optimizer=OptimizerSettings(
                name=OptimizerName.ADAMW,
                lr=rate,
                backbone_lr=None if start is None else rate / 2,
                bias_factor=1.0,
                weight_decay=0.05,
                decay_vectors=False,
                clip=5.0,
            ),
            schedule=ScheduleSettings(
                epochs=-(-steps // _EPOCH),
                steps_per_epoch=_EPOCH,
                warmup_epochs=2,
                warmup_lr=rate / 50,
            ),
            augmentation=Augmentation(
                pad=10 * min(network.image_size) // 128,
                erase=0.3,
                drop_modality=6 / 7 if last else 0.5,  # six of the seven subsets lack something
                drop_together=True,
                drop_camera=0.5 if network.cameras else 0.0,
            ),
            runtime=RuntimeSettings(device="cpu", threads=self.threads),
            logging=LoggingSettings(evaluate_every=0),
            seed=self.seed,
        )


def train(default: Default, folder: Path) -> ReIdNetwork:
    """Train a default in `folder`, or take its run up where it was left."""
    images, half, whole = folder / "images", folder / "half", folder / "whole"
    prepare_training(
        default.make_settings(default.half_network, default.half_steps, images), half
    ).run()
    prepare_training(
        default.make_settings(default.camera_network, default.steps, images, half / "last.pth"),
        whole,
    ).run()
    last = default.make_settings(
        default.network, default.segment_steps, images, whole / "last.pth", last=True
    )
    return prepare_training(last, folder / "segments").run()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m trireid.demo.train_tiny",
        description="train, measure and export a small network",
    )
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument(
        "--half-steps",
        type=int,
        default=Default.half_steps,
        help="of the first stage, on half-size images",
    )
    parser.add_argument(
        "--steps", type=int, default=Default.steps, help="of the second stage, on whole images"
    )
    parser.add_argument(
        "--segment-steps",
        type=int,
        default=Default.segment_steps,
        help="of the third, on each modality apart",
    )
    parser.add_argument("--seed", type=int, default=Default.seed)
    parser.add_argument("--threads", type=int, help="threads of PyTorch (default: all cores)")
    parser.add_argument(
        "--folder", type=Path, required=True, help="where the run keeps its saves and its log"
    )
    parser.add_argument("--output", type=Path, required=True, help="the ONNX artifact to write")
    given = parser.parse_args()
    steps = {name: getattr(given, name) for name in ("half_steps", "steps", "segment_steps")}
    default = Default(kind=given.kind, seed=given.seed, threads=given.threads, **steps)
    network = train(default, given.folder)
    command = (
        f"python -m trireid.demo.train_tiny --kind {given.kind} --half-steps "
        f"{given.half_steps} --steps {given.steps} "
        f"--segment-steps {given.segment_steps} --seed {given.seed} --threads {given.threads}"
    )
    training = {"command": command, "seed": given.seed, "data": "drawn images"}
    export_default(network, given.kind, given.output, training)


if __name__ == "__main__":
    main()
