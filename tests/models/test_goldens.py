"""The same network as the research code's: its golden vectors, to 1e-5."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import GOLDENS, find_shared
from trireid.models import load_checkpoint
from trireid.training.validation import select_embedding

TOLERANCE = 1e-5


def worst_difference(folder: Path, name: str) -> float:
    """The largest difference of any `out/*` vector, over which modalities are missing and all three
    patterns.
    """
    expected = np.load(folder / f"{name}.npz")
    network = load_checkpoint(folder / f"{name}.pth", folder / f"{name}.yml")
    pixels = np.stack([expected[f"img/{modality}"] for modality in ("RGB", "NI", "TI")], axis=1)
    images = (torch.from_numpy(pixels).permute(0, 1, 4, 2, 3).float() / 255 - 0.5) / 0.5
    camera = torch.from_numpy(expected["cam"])
    names = [key for key in expected.files if key.startswith("out/")]
    assert names
    worst = 0.0
    for missing in {key.split("/")[1] for key in names}:
        present = [[missing == "nothing" or letter not in missing for letter in "rnt"]]
        with torch.inference_mode():
            features = network.features(images, camera, torch.tensor(present * len(camera)))
        for pattern in (1, 2, 3):
            vectors, key = select_embedding(features, pattern).numpy(), f"out/{missing}/{pattern}"
            names.remove(key)
            assert vectors.shape == expected[key].shape
            worst = max(worst, float(np.abs(vectors - expected[key]).max()))
    assert not names
    return worst


@pytest.mark.parametrize(
    "name", ["sdtps_default", "sdtps_vehicle", "baseline", "demo_hdm_atm", "imagenet_sdtps"]
)
def test_research_networks(name: str) -> None:
    assert worst_difference(find_shared("goldens"), name) <= TOLERANCE


@pytest.mark.parametrize("name", ["tiny_sdtps", "tiny_baseline"])
def test_own_goldens(name: str) -> None:
    """Made by `python -m tests.goldens.make` at a commit where the research networks agreed to
    1e-6.
    """
    assert worst_difference(GOLDENS, name) <= TOLERANCE


def test_the_patterns_are_parts_of_the_features() -> None:
    network = load_checkpoint(GOLDENS / "tiny_sdtps.pth", GOLDENS / "tiny_sdtps.yml")
    images, camera = torch.randn(2, 3, 3, 64, 32), torch.tensor([0, -1])
    with torch.inference_mode():
        features = network.features(images, camera)
        for pattern in (1, 2, 3):
            expected = select_embedding(features, pattern)
            assert torch.equal(network(images, camera, pattern=pattern), expected)


def test_presence_is_the_same_as_a_zero_image() -> None:
    network = load_checkpoint(GOLDENS / "tiny_sdtps.pth", GOLDENS / "tiny_sdtps.yml")
    images = torch.randn(2, 3, 3, 64, 32)
    zeroed = images.clone()
    zeroed[:, 1] = 0
    with torch.inference_mode():
        masked = network(images, present=torch.tensor([[True, False, True]] * 2))
        assert torch.equal(masked, network(zeroed))
        assert not torch.allclose(masked, network(images))


def test_an_unknown_camera_has_no_embedding_and_one_out_of_range_is_refused() -> None:
    network = load_checkpoint(GOLDENS / "tiny_sdtps.pth", GOLDENS / "tiny_sdtps.yml")
    images = torch.randn(2, 3, 3, 64, 32)
    with torch.inference_mode():
        unknown = network(images, camera=torch.tensor([-1, -1]))
        assert torch.equal(unknown, network(images))
        assert not torch.allclose(unknown, network(images, camera=torch.tensor([0, 3])))
        network.get_parameter("backbone.cv_embed").zero_()
        assert torch.allclose(unknown, network(images, camera=torch.tensor([0, 3])))
    for wrong in (4, -2):
        with pytest.raises(ValueError, match="0 to 3"):
            network(images, camera=torch.tensor([0, wrong]))


def test_a_batch_of_another_shape_or_pattern_is_refused() -> None:
    network = load_checkpoint(GOLDENS / "tiny_sdtps.pth", GOLDENS / "tiny_sdtps.yml")
    with pytest.raises(ValueError, match=r"expected \[B, 3, 3, 64, 32\]"):
        network(torch.zeros(1, 3, 3, 32, 64))
    with pytest.raises(ValueError, match="pattern"):
        network(torch.zeros(1, 3, 3, 64, 32), pattern=4)
