"""The recipe of the embedded defaults: how a run begins, what stays frozen, and that a killed run
goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from trireid.demo import train_defaults as recipe
from trireid.demo.train_defaults import Default, draw_data, train
from trireid.models import ReIdNetwork, load_checkpoint
from trireid.models.files import read_weights
from trireid.training.image_set import normalize_images
from trireid.training.loop import Training

SMALL = Default(kind="person", threads=1, varied=8, plain=4, validation_identities=2, steps=2)


@pytest.fixture(scope="module", autouse=True)
def small_images() -> Iterator[None]:
    """Images of a sixteenth of the size, epochs of two steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "SIZES", {"person": (56, 28)})
        patch.setattr(recipe, "_EPOCH", 2)
        yield


@pytest.fixture(scope="module")
def start(small_images: None) -> dict[str, Tensor]:
    """Random start weights under DINOv2's own names."""
    torch.manual_seed(1)
    return ReIdNetwork(SMALL.network).backbone.base.state_dict()


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory, start: dict[str, Tensor]) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    train(SMALL, start, folder)
    return folder


def test_both_worlds_are_drawn_and_no_identity_is_in_both(whole_run: Path) -> None:
    data = draw_data(SMALL, whole_run / "images")
    assert len(data.train.images) == len(data.train.identities) == 10 * 8
    assert len(data.validation.images) == 2 * 8
    names = set(data.train.identities.tolist())
    assert {name.split()[0] for name in names} == {"varied", "plain"}
    assert len(names) == 10
    assert not names & set(data.validation.identities.tolist())
    assert all(image.any() for image in data.train.images)


def test_a_run_begins_with_standardized_patches_and_keeps_the_lowest_blocks(
    whole_run: Path, start: dict[str, Tensor]
) -> None:
    begin = whole_run / "start.pth"
    network = load_checkpoint(begin, begin.with_suffix(".yml"))
    images = np.array(draw_data(SMALL, whole_run / "images").train.images[:40])
    pixels = normalize_images(images, network.config).flatten(0, 1)
    with torch.inference_mode():
        patches = network.backbone(pixels, torch.full((len(pixels),), -1))[:, 1:].flatten(0, 1)
    assert patches.mean(dim=0).abs().max() < 0.5
    assert (patches.std(dim=0) - 1).abs().max() < 0.5
    trained = read_weights(whole_run / "run" / "last.pth")
    for key, value in start.items():
        low = key.startswith(("blocks.0", "blocks.1.", "blocks.2.", "patch_embed", "pos_", "cls"))
        assert torch.equal(trained[f"BACKBONE.base.{key}"], value) == low, key


def test_a_killed_run_goes_on(
    whole_run: Path, start: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, taken = Training.take_step, 0

    def count_step(self: Training) -> dict[str, float]:
        nonlocal taken
        taken += 1
        if taken == 2:
            self._save()
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(Training, "take_step", count_step)
    with pytest.raises(KeyboardInterrupt):
        train(SMALL, start, tmp_path)
    train(SMALL, start, tmp_path)
    expected, found = (read_weights(run / "run" / "last.pth") for run in (whole_run, tmp_path))
    assert all(torch.equal(expected[key], found[key]) for key in expected)
