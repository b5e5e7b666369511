"""A small run: a network of one block, images of one color per identity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.goldens.make import CONFIG
from trireid.training.augment import Augmentation
from trireid.training.data import Data
from trireid.training.image_set import ImageSet
from trireid.training.settings import (
    BatchSettings,
    DataSettings,
    LoggingSettings,
    OptimizerSettings,
    ScheduleSettings,
    Settings,
)

torch.set_num_threads(1)  # the networks are tiny: a second thread only waits for a core

Changed = Callable[..., Settings]


def make_image_set(identities: int, each: int = 4, seed: int = 0, prefix: str = "p") -> ImageSet:
    """64 x 32 images; identities differ in color, shots in noise, every shot is another
    camera's.
    """
    draw = np.random.default_rng(seed)
    colours = draw.integers(40, 216, (identities, 3, 1, 1, 3))
    noise = draw.integers(-40, 40, (identities, each, 3, 64, 32, 3))
    images = (colours[:, None] + noise).clip(0, 255).astype(np.uint8).reshape(-1, 3, 64, 32, 3)
    names = np.repeat([f"{prefix}{i}" for i in range(identities)], each)
    cameras = np.tile(np.arange(each, dtype=np.int64), identities)
    return ImageSet(images, names, cameras, np.ones((len(images), 3), np.bool_))


@pytest.fixture(scope="session")
def data() -> Data:
    """Six identities to train on, three to validate with, three to test on."""
    return Data(
        make_image_set(6),
        make_image_set(3, seed=1, prefix="v"),
        make_image_set(3, seed=2, prefix="t"),
    )


@pytest.fixture(scope="session")
def settings() -> Settings:
    """Twelve steps in four epochs."""
    return Settings(
        network=CONFIG,
        data=DataSettings(source="synthetic:person:9"),
        batch=BatchSettings(identities=2, samples=2),
        optimizer=OptimizerSettings(backbone_lr=None, lr=1e-3),
        schedule=ScheduleSettings(epochs=4, warmup_epochs=1),
        augmentation=Augmentation(pad=2),
        logging=LoggingSettings(evaluate_every=2, save_every=5, diagnose_every=2),
    )


@pytest.fixture(scope="session")
def changed(settings: Settings) -> Changed:
    """`changed(schedule={"epochs": 2})`: the small run with some settings replaced."""

    def make(**sections: dict[str, Any]) -> Settings:
        parts = {
            name: replace(getattr(settings, name), **values) for name, values in sections.items()
        }
        return replace(settings, **parts)

    return make


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of synthetic images that all runs share: drawing takes longer than these runs do."""
    return tmp_path_factory.mktemp("drawn")


@pytest.fixture
def run_yaml(tmp_path: Path, drawn: Path) -> Path:
    """A run's configuration in a file: 64 drawn steps, long enough to be killed in."""
    (tmp_path / "run.yml").write_text(
        "network: "
        "{image_size: [64, 32], width: 64, depth: 1, channels: 32, cameras: 6, "
        "aggregation_ratio: 0.5}\n"
        "data: {source: 'synthetic:person:8', validation_identities: 2, cache: CACHE}\n"
        "batch: {identities: 2, samples: 4}\n"
        "sdtps: {gumbel: on}\n"
        "optimizer: {backbone_lr: null}\n"
        "schedule: {epochs: 20, warmup_epochs: 2}\n"
        "augmentation: {drop_modality: 0.3}\n"
        "runtime: {device: cpu, threads: 1}\n"
        "logging: {evaluate_every: 4, save_every: 7, diagnose_every: 6}\n".replace(
            "CACHE", str(drawn)
        )
    )
    return tmp_path / "run.yml"
