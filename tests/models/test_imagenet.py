"""The ImageNet backbone: overlapping patches, one camera or none, and the camera on every token."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.models.test_pretrained import IMAGENET
from trireid.models import (
    NetworkConfig,
    ReIdNetwork,
    get_published_state,
    load_checkpoint,
    to_research_yaml,
)
from trireid.samples import ConfigError

OVERLAPPING = replace(IMAGENET, stride=8, cameras=3, sie_coe=3.0, aggregation_ratio=0.6)


def save(folder: Path, config: NetworkConfig) -> Path:
    torch.manual_seed(1)
    torch.save(get_published_state(ReIdNetwork(config)), folder / "best.pth")
    return folder / "best.pth"


def test_strides_may_overlap(tmp_path: Path) -> None:
    """(64 - 16) / 8 + 1 = 7 rows, (32 - 16) / 8 + 1 = 3 columns;

    N_c is counted by the stride: 8 * 4 * 0.6 * 0.5 = 9.6.
    """
    loaded = load_checkpoint(save(tmp_path, OVERLAPPING), to_research_yaml(OVERLAPPING))
    assert loaded.config == OVERLAPPING
    assert (loaded.config.grid, loaded.config.selected_patches, loaded.config.aggregated) == (
        (7, 3),
        11,
        9,
    )
    assert loaded(torch.randn(1, 3, 3, 64, 32)).shape == (1, 6 * 64)


def test_the_camera_is_on_every_token(tmp_path: Path) -> None:
    network = load_checkpoint(save(tmp_path, OVERLAPPING), to_research_yaml(OVERLAPPING))
    vit, images = network.backbone.base, torch.randn(1, 3, 64, 32)
    with torch.inference_mode():
        shift = 3.0 * network.get_parameter("backbone.base.sie_embed")[2]
        vit.get_parameter("pos_embed").add_(shift)
        by_hand = vit(images, torch.tensor([-1]))
        vit.get_parameter("pos_embed").sub_(shift)
        torch.testing.assert_close(vit(images, torch.tensor([2])), by_hand)


def test_one_camera_has_no_embedding(tmp_path: Path) -> None:
    """TransReID leaves the table out where there is one camera, though SIE_CAMERA is on."""
    config = replace(IMAGENET, cameras=0)
    settings = to_research_yaml(config)
    settings["MODEL"]["SIE_CAMERA"] = True
    assert load_checkpoint(save(tmp_path, config), settings).config.cameras == 0


def test_a_table_that_the_yaml_does_not_want_is_refused(tmp_path: Path) -> None:
    settings = to_research_yaml(OVERLAPPING)
    settings["MODEL"]["SIE_CAMERA"] = False
    with pytest.raises(
        ConfigError, match=r"MODEL\.SIE_CAMERA: the YAML says False, the checkpoint True"
    ):
        load_checkpoint(save(tmp_path, OVERLAPPING), settings)
