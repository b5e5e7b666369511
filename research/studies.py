"""The studies: a network, its start, the arms and the size of their comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from research.arms import ARMS

#: Every group starts here in the warm-up, as in the research code: a tenth of the head's rate.
_TENTH: Final = 0.1
_RESULTS: Final = Path(__file__).with_name("results")
_SMALL: Final = {"image_size": [128, 64], "width": 128, "depth": 4, "channels": 128, "cameras": 6}
#: ViT-S/14 at half its usual image size, 8 x 4 patches, without its upper four blocks: before any
#: training the tokens of block 7 retrieve persons best, those of the last blocks worst.
_DINOV2: Final = {
    "backbone": "vit_small_patch14_dinov2",
    "image_size": [112, 56],
    "patch": 14,
    "stride": 14,
    "width": 384,
    "depth": 8,
    "channels": 384,
    "cameras": 6,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}


@dataclass(frozen=True, kw_only=True)
class Study:
    """A comparison of `arms`. `lr`: of the head; the backbone's is in the notes' ratio to it, 5e-6
    to 3.5e-4.

    `identities` (train and validation), `validation_identities` of them, and `test_identities` are
    of world 0. The backbone comes from `backbone_identities` of world 1, which has other cameras
    and other identities, or, if `is_pretrained`, from elsewhere (`trireid.demo.start_weights`).
    `results`: a file of finished runs, which are not run again. `name`: in the report's marks and
    the names of its images.
    """

    name: str = ""
    arms: tuple[str, ...] = tuple(ARMS)
    network: Mapping[str, Any] = field(default_factory=lambda: _SMALL)
    is_pretrained: bool = False
    epochs: int = 50
    steps_per_epoch: int = 16
    identities: int = 80
    validation_identities: int = 16
    test_identities: int = 60
    lr: float = 1.4e-3
    batch: tuple[int, int] = (4, 4)
    precision: str = "float32"
    evaluate_every: int = 5
    diagnose_every: int = 5
    backbone_identities: int = 300
    backbone_epochs: int = 27
    threads: int = 1
    results: Path | None = None

    @property
    def backbone_lr(self) -> float:
        """Of the pretrained backbone."""
        return self.lr * 5e-6 / 3.5e-4


STUDIES: Final[dict[str, Study]] = {
    "synthetic": Study(results=_RESULTS / "synthetic.json"),
    "dinov2": Study(
        name="dinov2",
        arms=(
            "control",
            "none",
            "full",
            "relaxed",
            "sdtps delay",
            "as published",
            "faster backbone",
            "frozen",
        ),
        network=_DINOV2,
        is_pretrained=True,
        steps_per_epoch=4,
        # the notes' own: four times that, as in the other study, hardly trains DeMo's head here
        lr=3.5e-4,
        precision="bfloat16",
        evaluate_every=25,
        diagnose_every=25,
        results=_RESULTS / "dinov2.json",
    ),
}


def make_common_settings(study: Study, folder: Path) -> dict[str, Any]:
    """Make the settings that all arms share: the recipe `full`."""
    return {
        "network": {**study.network, "head": "sdtps"},
        "pretrained": str(folder / "backbone.pth"),
        "data": {
            "source": f"synthetic:person:{study.identities}",
            "validation_identities": study.validation_identities,
            "test": f"synthetic:person:{study.test_identities}",
            "cache": str(folder / "cache"),
        },
        "batch": {"identities": study.batch[0], "samples": study.batch[1]},
        "sdtps": {"attention_gradient": "full", "gumbel": "on"},
        "optimizer": {"lr": study.lr, "backbone_lr": study.backbone_lr},
        "schedule": {
            "epochs": study.epochs,
            "warmup_epochs": min(3, study.epochs - 1),
            "warmup_lr": _TENTH * study.lr,
            "steps_per_epoch": study.steps_per_epoch,
        },
        "runtime": {"device": "auto", "threads": study.threads, "precision": study.precision},
        "logging": {
            "evaluate_every": study.evaluate_every,
            "diagnose_every": study.diagnose_every,
            "save_every": 50,
        },
    }


def make_backbone_settings(study: Study, folder: Path) -> dict[str, Any]:
    """The pretraining: no head, from scratch, on another world's identities."""
    return {
        "network": {**study.network, "head": "none"},
        "data": {
            "source": f"synthetic:person:{study.backbone_identities}",
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
            "epochs": study.backbone_epochs,
            "warmup_epochs": min(2, study.backbone_epochs - 1),
            "warmup_lr": 2e-5,
        },
        "augmentation": {"drop_camera": 0.5},
        "runtime": {"device": "auto", "threads": study.threads},
        "logging": {"evaluate_every": 9},
    }
