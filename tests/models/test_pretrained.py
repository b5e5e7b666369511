"""Start weights: CLIP's archive and timm's file fill the backbone, and only it."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.goldens.make import CONFIG
from trireid.models import Backbone, NetworkConfig, ReIdNetwork, load_pretrained_weights
from trireid.models.position import resize_position_embedding
from trireid.samples import CheckpointError

#: A backbone pretrained on 64 x 64 images: 4 x 4 patches.
SQUARE = replace(CONFIG, image_size=(64, 64))
IMAGENET = NetworkConfig(
    backbone=Backbone.IMAGENET,
    image_size=(64, 32),
    width=64,
    depth=1,
    channels=64,
    aggregation_ratio=0.5,
)


def make_pretrained(config: NetworkConfig) -> dict[str, Tensor]:
    torch.manual_seed(3)
    state = ReIdNetwork(config).backbone.base.state_dict()
    return {key: torch.randn_like(value) for key, value in state.items() if key != "sie_embed"}


def resize_by_hand(given: Tensor) -> Tensor:
    """Each of the 4 x 2 target patches, bilinear between the columns of the 4 x 4 source
    (half-pixel centres).
    """
    grid = given[1:].reshape(4, 4, -1)
    return torch.cat([given[:1], ((grid[:, 0::2] + grid[:, 1::2]) / 2).reshape(8, -1)])


class Clip(nn.Module):
    """OpenAI's archive: the visual part under `visual`, in half precision, and a text part."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        self.visual = ReIdNetwork(SQUARE).backbone.base
        self.visual.load_state_dict(state)
        self.logit_scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.logit_scale


@pytest.mark.parametrize("form", ["archive", "state_dict"])
def test_clip(tmp_path: Path, form: str) -> None:
    state = make_pretrained(SQUARE)
    clip, path = Clip(state), tmp_path / "ViT-B-16.pt"
    if form == "archive":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(torch.jit.trace_module(clip, {"forward": torch.ones(1)}), path)
    else:
        torch.save({key: value.half() for key, value in clip.state_dict().items()}, path)
    network = ReIdNetwork(CONFIG)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    load_pretrained_weights(network, path)
    tolerance = 0 if form == "archive" else 2e-3
    base = network.backbone.base.state_dict()
    for key, value in state.items():
        wanted = resize_by_hand(value) if key == "positional_embedding" else value
        torch.testing.assert_close(base[key], wanted, atol=max(tolerance, 1e-6), rtol=tolerance)
    for key, value in network.state_dict().items():
        if not key.startswith("backbone.base."):
            assert torch.equal(value, before[key])


def test_timm(tmp_path: Path) -> None:
    state = make_pretrained(replace(IMAGENET, image_size=(64, 64)))
    torch.save(
        {**state, "head.weight": torch.zeros(5, 64), "head.bias": torch.zeros(5)},
        tmp_path / "vit.pth",
    )
    network = ReIdNetwork(replace(IMAGENET, cameras=3, stride=8))
    load_pretrained_weights(network, tmp_path / "vit.pth")
    base = network.backbone.base.state_dict()
    assert torch.equal(base["blocks.0.attn.qkv.weight"], state["blocks.0.attn.qkv.weight"])
    assert base["pos_embed"].shape == (1, 1 + 7 * 3, 64)
    grid = state["pos_embed"][0, 1:].reshape(4, 4, 64).permute(2, 0, 1)[None]
    wanted = functional.interpolate(grid, (7, 3), mode="bilinear")[0].flatten(1).T
    torch.testing.assert_close(base["pos_embed"][0, 1:], wanted)
    assert base["sie_embed"].shape == (3, 1, 64)


@pytest.mark.parametrize(
    ("given", "grid"), [((8, 4), (16, 8)), ((4, 8), (8, 16)), ((6, 6), (16, 8))]
)
def test_positions_of_the_same_aspect_or_of_a_square_fit(
    given: tuple[int, int], grid: tuple[int, int]
) -> None:
    """Weights of the same network on smaller images: a plane stays a plane."""
    rows = torch.arange(given[0]).repeat_interleave(given[1]).float()
    columns = torch.arange(given[1]).repeat(given[0]).float()
    fitted = resize_position_embedding(
        torch.cat([torch.zeros(1, 2), torch.stack([rows, columns], dim=1)]), grid
    )
    plane = fitted[1:].reshape(*grid, 2)
    assert plane[:, 0, 0].diff().ge(0).all()
    assert plane[0, :, 0].unique().numel() == plane[:, 0, 1].unique().numel() == 1
    assert float(plane[-1, 0, 0]) == pytest.approx(given[0] - 1)
    assert float(plane[0, -1, 1]) == pytest.approx(given[1] - 1)


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    state = make_pretrained(SQUARE)
    torch.save(state, tmp_path / "clip.pth")
    with pytest.raises(
        CheckpointError,
        match=r"missing: blocks.0.*unexpected: class_embedding.*looks like a plain CLIP ViT",
    ):
        load_pretrained_weights(ReIdNetwork(IMAGENET), tmp_path / "clip.pth")
    with pytest.raises(CheckpointError, match=r"has the shape \[64, 32\], the network \[64, 96\]"):
        load_pretrained_weights(ReIdNetwork(replace(CONFIG, channels=96)), tmp_path / "clip.pth")
    torch.save({**state, "positional_embedding": torch.zeros(12, 64)}, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match="11 position embeddings fill neither a square"):
        load_pretrained_weights(ReIdNetwork(CONFIG), tmp_path / "odd.pth")
