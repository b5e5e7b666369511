"""DINO's backbones: start weights under the names of Meta, timm and transformers, and through the
family's own checkpoint.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.conftest import GOLDENS
from tests.goldens.make_dino import CASES, make_images, make_weights, to_transformers
from trireid.inference.torch import compute_fingerprint, describe_network
from trireid.models import (
    Backbone,
    Head,
    NetworkConfig,
    ReIdNetwork,
    get_published_state,
    load_checkpoint,
    load_pretrained_weights,
    make_vit_small,
    network_config,
    to_research_yaml,
)
from trireid.models.dinov3_vit import make_periods
from trireid.samples import CheckpointError, ConfigError

CONFIG = replace(CASES["dinov2, resized"], width=64, channels=64)
REGISTERS = replace(CONFIG, registers=4)
DINOV3 = replace(CASES["dinov3"], width=64, channels=64)
Weights = dict[str, Tensor]


def to_timm(state: Weights) -> Weights:
    """As timm converts them: with registers, the class token takes its position."""
    state = {key: value for key, value in state.items() if key != "mask_token"}
    if "register_tokens" in state:
        position = state.pop("pos_embed")
        state |= {"reg_token": state.pop("register_tokens"), "pos_embed": position[:, 1:]}
        state["cls_token"] = state["cls_token"] + position[:, :1]
    return state


def to_meta(state: Weights) -> Weights:
    """As Meta published DINOv3: with buffers, and registers under another name."""
    state = {**state, "rope_embed.periods": make_periods().bfloat16()}
    state["storage_tokens"] = state.pop("register_tokens")
    mask = torch.tensor([1.0, 0.0, 1.0]).repeat_interleave(64)
    return {**state, **{f"blocks.{index}.attn.qkv.bias_mask": mask for index in range(2)}}


def to_timm_dinov3(state: Weights) -> Weights:
    """As timm has DINOv3 with biases: those of queries and values apart."""
    state = {key.replace("ls1.gamma", "gamma_1"): value for key, value in state.items()}
    state = {key.replace("ls2.gamma", "gamma_2"): value for key, value in state.items()}
    state["reg_token"] = state.pop("register_tokens")
    del state["mask_token"]
    for index in range(2):
        query, _, value = state.pop(f"blocks.{index}.attn.qkv.bias").chunk(3)
        state |= {f"blocks.{index}.attn.q_bias": query, f"blocks.{index}.attn.v_bias": value}
    return state


FORMS: dict[str, tuple[NetworkConfig, Callable[[Weights], Weights]]] = {
    "timm": (CONFIG, to_timm),
    "timm, registers": (REGISTERS, to_timm),
    "transformers": (CONFIG, lambda state: to_transformers(state, Backbone.DINOV2)),
    "transformers, registers": (REGISTERS, lambda state: to_transformers(state, Backbone.DINOV2)),
    "transformers, dinov3": (DINOV3, lambda state: to_transformers(state, Backbone.DINOV3)),
    "meta, dinov3": (DINOV3, to_meta),
    "timm, dinov3": (DINOV3, to_timm_dinov3),
}


def embed(network: ReIdNetwork) -> Tensor:
    images = torch.randn(
        2, 3, 3, *network.config.image_size, generator=torch.Generator().manual_seed(1)
    )
    with torch.inference_mode():
        found: Tensor = network.eval()(images)
    return found


def load(config: NetworkConfig, state: Weights, folder: Path) -> ReIdNetwork:
    torch.save(state, folder / "start.pth")
    torch.manual_seed(0)
    network = ReIdNetwork(config)
    load_pretrained_weights(network, folder / "start.pth")
    return network


@pytest.mark.parametrize("name", CASES)
def test_tokens_are_those_of_transformers(tmp_path: Path, name: str) -> None:
    """Made by tests/goldens/make_dino.py, which names its command."""
    config = CASES[name]
    network = load(config, to_transformers(make_weights(config), config.backbone), tmp_path)
    with torch.inference_mode():
        tokens = network.backbone(make_images(config), torch.tensor([-1]))
    expected = torch.from_numpy(np.load(GOLDENS / "dino.npz")[name])
    torch.testing.assert_close(tokens, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_network(tmp_path: Path, name: str) -> None:
    config, convert = FORMS[name]
    state = make_weights(config)
    own = load(config, state, tmp_path)
    base = own.backbone.base.state_dict()
    assert all(torch.equal(base[key], state[key]) for key in base if key != "pos_embed")
    other = load(config, convert(state), tmp_path)
    torch.testing.assert_close(embed(other), embed(own), atol=1e-6, rtol=1e-6)


def test_registers_change_the_embedding_and_are_not_put_out(tmp_path: Path) -> None:
    state = make_weights(REGISTERS)
    network = load(REGISTERS, state, tmp_path)
    tokens = network.backbone(torch.ones(1, 3, 56, 28), torch.tensor([-1]))
    assert tokens.shape == (1, 1 + 8, 64)
    others = load(REGISTERS, {**state, "register_tokens": torch.ones(1, 4, 64)}, tmp_path)
    assert (embed(others) - embed(network)).abs().max() > 1e-3


def test_the_lowest_blocks_are_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = make_weights(replace(CONFIG, depth=4))
    with caplog.at_level(logging.WARNING):
        network = load(CONFIG, to_transformers(state, Backbone.DINOV2), tmp_path)
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

    theirs = to_transformers(state, Backbone.DINOV2)
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


@pytest.mark.parametrize("name", ["mlp.w12.weight", "mlp.weights_in.weight", "mlp.fc1_g.bias"])
def test_swiglu_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"start\.pth: blocks\.0\.{name} is of SwiGLU"):
        load(CONFIG, {**make_weights(CONFIG), f"blocks.0.{name}": torch.zeros(1)}, tmp_path)


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        replace(REGISTERS, head=Head.NONE, cameras=3),
        DINOV3,
        replace(DINOV3, registers=0, cameras=2),
    ],
)
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


def test_keys_of_dinov3_have_no_bias(tmp_path: Path) -> None:
    """A bias in a file of Meta counts as 0; one in a file of transformers is of another network."""
    state = make_weights(DINOV3)
    network = load(DINOV3, state, tmp_path)
    biased = {**state, "blocks.0.attn.qkv.bias": state["blocks.0.attn.qkv.bias"].clone()}
    biased["blocks.0.attn.qkv.bias"][64:128] = 1
    assert torch.equal(embed(load(DINOV3, biased, tmp_path)), embed(network))

    theirs = to_transformers(state, Backbone.DINOV3)
    with pytest.raises(ConfigError, match=r"start\.pth: blocks\.1\.attn\.k\.bias is not 0"):
        load(DINOV3, {**theirs, "layer.1.attention.k_proj.bias": torch.ones(64)}, tmp_path)


def test_dinov3_without_biases_has_biases_of_0(tmp_path: Path) -> None:
    """As timm has the variants whose biases are all 0."""
    state = to_timm_dinov3(make_weights(DINOV3))
    bare = {key: value for key, value in state.items() if not key.endswith(("q_bias", "v_bias"))}
    base = load(DINOV3, bare, tmp_path).backbone.base.state_dict()
    assert not base["blocks.1.attn.qkv.bias"].any()
    del state["blocks.1.attn.v_bias"]
    with pytest.raises(CheckpointError, match=r"missing: blocks\.1\.attn\.qkv\.bias; unexpected"):
        load(DINOV3, state, tmp_path)


def test_other_periods_are_refused(tmp_path: Path) -> None:
    state = {**make_weights(DINOV3), "rope_embed.periods": 2 * make_periods()}
    with pytest.raises(
        ConfigError, match=r"rope_embed\.periods is from 2 to 149\.979, the family's"
    ):
        load(DINOV3, state, tmp_path)


def test_other_backbones_have_no_registers() -> None:
    with pytest.raises(ConfigError, match="registers: 4, but ViT-B-16 has none"):
        NetworkConfig(registers=4)
    with pytest.raises(ConfigError, match="registers: -1"):
        replace(CONFIG, registers=-1)
    shapes = dict.fromkeys(get_published_state(ReIdNetwork(CONFIG)), (1,))
    with pytest.raises(ConfigError, match="not of 4 dimensions"):
        network_config(to_research_yaml(CONFIG), shapes)


@pytest.mark.parametrize("name", FORMS)
def test_plain_weights_are_named_where_a_checkpoint_is_wanted(tmp_path: Path, name: str) -> None:
    config, convert = FORMS[name]
    torch.save(convert(make_weights(config)), tmp_path / "start.pth")
    version = {Backbone.DINOV2: "DINOv2", Backbone.DINOV3: "DINOv3"}[config.backbone]
    with pytest.raises(ConfigError, match=rf"a plain {version} ViT.*: pretrained weights for"):
        load_checkpoint(tmp_path / "start.pth", to_research_yaml(config))


@pytest.mark.parametrize("backbone", [Backbone.DINOV2, Backbone.DINOV3])
def test_the_preset_has_sixteen_rows_of_patches(backbone: Backbone) -> None:
    size = {Backbone.DINOV2: (224, 112), Backbone.DINOV3: (256, 128)}[backbone]
    config = make_vit_small(backbone, size, depth=8)
    assert (config.grid, config.width, config.depth, config.aggregated) == ((16, 8), 384, 8, 25)


def test_a_network_without_registers_keeps_its_fingerprint() -> None:
    """Galleries of earlier versions know a network by it."""
    network = load_checkpoint(GOLDENS / "tiny_sdtps.pth", GOLDENS / "tiny_sdtps.yml")
    card = describe_network(network, "x", "person")
    assert compute_fingerprint(network, card).startswith("e2a07ce0f08f5619")
