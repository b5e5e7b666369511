"""DINO's backbones: start weights under the names of Meta, timm and transformers, and through the
family's own checkpoint.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.conftest import GOLDENS
from trireid.inference.torch import compute_fingerprint, describe_network
from trireid.models import (
    Backbone,
    Head,
    NetworkConfig,
    ReIdNetwork,
    get_published_state,
    load_checkpoint,
    load_pretrained_weights,
    network_config,
    to_research_yaml,
)
from trireid.samples import CheckpointError, ConfigError

CONFIG = NetworkConfig(
    backbone=Backbone.DINOV2,
    image_size=(56, 28),
    patch=14,
    stride=14,
    width=64,
    depth=2,
    channels=64,
    aggregation_ratio=0.5,
)
REGISTERS = replace(CONFIG, registers=4)
Convert = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def make_weights(config: NetworkConfig) -> dict[str, Tensor]:
    """Random weights under the names that Meta published."""
    generator = torch.Generator().manual_seed(5)
    state = ReIdNetwork(config).backbone.base.state_dict()
    state = {key: torch.randn(value.shape, generator=generator) for key, value in state.items()}
    return {**state, "mask_token": torch.zeros(1, config.width)}


def to_timm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As timm converts them: with registers, the class token takes its position."""
    state = {key: value for key, value in state.items() if key != "mask_token"}
    if "register_tokens" in state:
        position = state.pop("pos_embed")
        state |= {"reg_token": state.pop("register_tokens"), "pos_embed": position[:, 1:]}
        state["cls_token"] = state["cls_token"] + position[:, :1]
    return state


def to_transformers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Under the names of the files that transformers' `save_pretrained` writes."""
    names = {
        "patch_embed.proj": "embeddings.patch_embeddings.projection",
        "pos_embed": "embeddings.position_embeddings",
        "norm.": "layernorm.",
        "blocks.": "encoder.layer.",
        "ls1.gamma": "layer_scale1.lambda1",
        "ls2.gamma": "layer_scale2.lambda1",
        "attn.proj": "attention.output.dense",
    }
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        for ours, theirs in names.items():
            key = key.replace(ours, theirs, 1) if ours != "norm." or key.startswith(ours) else key
        if key.endswith(("_token", "_tokens")):
            key = f"embeddings.{key}"
        parts = {key: value}
        if ".attn.qkv." in key:
            pattern = key.replace("attn.qkv", "attention.attention.{}")
            split = zip(("query", "key", "value"), value.chunk(3), strict=True)
            parts = {pattern.format(name): part for name, part in split}
        renamed |= parts
    return renamed


def embed(network: ReIdNetwork) -> Tensor:
    images = torch.randn(
        2, 3, 3, *network.config.image_size, generator=torch.Generator().manual_seed(1)
    )
    with torch.inference_mode():
        found: Tensor = network.eval()(images)
    return found


def load(config: NetworkConfig, state: dict[str, Tensor], folder: Path) -> ReIdNetwork:
    torch.save(state, folder / "start.pth")
    torch.manual_seed(0)
    network = ReIdNetwork(config)
    load_pretrained_weights(network, folder / "start.pth")
    return network


@pytest.mark.parametrize("config", [CONFIG, REGISTERS])
@pytest.mark.parametrize("convert", [to_timm, to_transformers])
def test_every_form_gives_the_same_network(
    tmp_path: Path, config: NetworkConfig, convert: Convert
) -> None:
    state = make_weights(config)
    own = load(config, state, tmp_path)
    base = own.backbone.base.state_dict()
    assert all(torch.equal(base[key], state[key]) for key in base)
    other = load(config, convert(state), tmp_path)
    torch.testing.assert_close(embed(other), embed(own), atol=1e-6, rtol=1e-6)


def test_registers_change_the_embedding_and_are_not_put_out(tmp_path: Path) -> None:
    state = make_weights(REGISTERS)
    network = load(REGISTERS, state, tmp_path)
    tokens = network.backbone(torch.zeros(1, 3, 56, 28), torch.tensor([-1]))
    assert tokens.shape == (1, 1 + 8, 64)
    others = load(REGISTERS, {**state, "register_tokens": torch.ones(1, 4, 64)}, tmp_path)
    assert (embed(others) - embed(network)).abs().max() > 1e-3


def test_the_lowest_blocks_are_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = make_weights(replace(CONFIG, depth=4))
    with caplog.at_level(logging.WARNING):
        network = load(CONFIG, to_transformers(state), tmp_path)
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'start.pth'}: the lowest 2 of its 4 blocks are taken"
    ]
    base = network.backbone.base.state_dict()
    assert torch.equal(base["blocks.1.ls2.gamma"], state["blocks.1.ls2.gamma"])


def test_files_that_do_not_fit_name_every_key(tmp_path: Path) -> None:
    state = make_weights(CONFIG)
    with pytest.raises(CheckpointError) as few:
        load(replace(CONFIG, depth=12), state, tmp_path)
    wanted = f"{tmp_path / 'start.pth'}: does not fit vit_small_patch14_dinov2; missing: "
    assert few.value.message.startswith(wanted + "blocks.2-11.attn.proj.bias, blocks.2-11.attn.")
    assert few.value.message.count("blocks.2-11.") == 14
    assert "unexpected: none; the file looks like a plain DINOv2 ViT" in few.value.message

    theirs = to_transformers(state)
    del theirs["encoder.layer.1.attention.attention.key.weight"], theirs["layernorm.bias"]
    theirs["encoder.layer.0.gate"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as holes:
        load(CONFIG, theirs, tmp_path)
    assert "missing: blocks.1.attn.qkv.weight, norm.bias; unexpected: " in holes.value.message
    for key in ("layer.0.gate", "layer.1.attention.attention.query.weight"):
        assert f"encoder.{key}" in holes.value.message

    with pytest.raises(CheckpointError, match="missing: register_tokens; unexpected: none"):
        load(REGISTERS, state, tmp_path)
    with pytest.raises(CheckpointError, match="missing: none; unexpected: reg_token"):
        load(CONFIG, to_timm(make_weights(REGISTERS)), tmp_path)
    with pytest.raises(CheckpointError, match=r"register_tokens has the shape \[1, 4, 64\]"):
        load(replace(CONFIG, registers=2), make_weights(REGISTERS), tmp_path)


@pytest.mark.parametrize("name", ["mlp.w12.weight", "mlp.weights_in.weight", "mlp.w1.bias"])
def test_swiglu_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"start\.pth: blocks\.0\.{name} is of SwiGLU"):
        load(CONFIG, {**make_weights(CONFIG), f"blocks.0.{name}": torch.zeros(1)}, tmp_path)


@pytest.mark.parametrize("config", [CONFIG, replace(REGISTERS, head=Head.NONE, cameras=3)])
def test_the_familys_checkpoint_holds_all(tmp_path: Path, config: NetworkConfig) -> None:
    network = ReIdNetwork(config)
    state, settings = get_published_state(network), to_research_yaml(config)
    torch.save(state, tmp_path / "best.pth")
    loaded = load_checkpoint(tmp_path / "best.pth", settings)
    assert loaded.config == config
    assert torch.equal(embed(loaded), embed(network))
    del state["BACKBONE.base.blocks.1.ls2.gamma"]
    torch.save(state, tmp_path / "best.pth")
    with pytest.raises(CheckpointError, match=r"missing: BACKBONE\.base\.blocks\.1\.ls2\.gamma"):
        load_checkpoint(tmp_path / "best.pth", settings)


def test_other_backbones_have_no_registers() -> None:
    with pytest.raises(ConfigError, match="registers: 4, but ViT-B-16 has none"):
        NetworkConfig(registers=4)
    with pytest.raises(ConfigError, match="registers: -1"):
        replace(CONFIG, registers=-1)
    shapes = dict.fromkeys(get_published_state(ReIdNetwork(CONFIG)), (1,))
    with pytest.raises(ConfigError, match="not of 4 dimensions"):
        network_config(to_research_yaml(CONFIG), shapes)


def test_plain_weights_are_named_where_a_checkpoint_is_wanted(tmp_path: Path) -> None:
    for state in (make_weights(CONFIG), to_transformers(make_weights(CONFIG))):
        torch.save(state, tmp_path / "start.pth")
        with pytest.raises(ConfigError, match=r"a plain DINOv2 ViT.*: pretrained weights for"):
            load_checkpoint(tmp_path / "start.pth", to_research_yaml(CONFIG))


def test_a_network_without_registers_keeps_its_fingerprint() -> None:
    """Galleries of earlier versions know a network by it."""
    network = load_checkpoint(GOLDENS / "tiny_sdtps.pth", GOLDENS / "tiny_sdtps.yml")
    card = describe_network(network, "x", "person")
    assert compute_fingerprint(network, card).startswith("e2a07ce0f08f5619")
