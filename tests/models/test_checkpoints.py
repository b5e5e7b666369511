"""Checkpoints: written as published, read strictly; what does not fit is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

from tests.goldens.make import CONFIG
from trireid.models import ReIdNetwork, get_published_state, load_checkpoint, to_research_yaml
from trireid.models.files import read_weights
from trireid.samples import CheckpointError, ConfigError

SETTINGS = to_research_yaml(CONFIG)


@pytest.fixture
def state() -> dict[str, Tensor]:
    return get_published_state(ReIdNetwork(CONFIG))


def save(folder: Path, content: Any) -> Path:
    torch.save(content, folder / "best.pth")
    return folder / "best.pth"


def test_a_network_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    network = ReIdNetwork(CONFIG).eval()
    loaded = load_checkpoint(save(tmp_path, get_published_state(network)), SETTINGS)
    assert loaded.config == CONFIG
    assert not loaded.training
    images = torch.randn(1, 3, 3, 64, 32)
    with torch.inference_mode():
        assert torch.equal(loaded(images), network(images))


def test_the_facade_takes_a_path_or_a_mapping(tmp_path: Path, state: dict[str, Tensor]) -> None:
    from trireid import load_checkpoint as exported

    path, yml = save(tmp_path, state), tmp_path / "best.yml"
    yml.write_text(yaml.safe_dump(SETTINGS))
    for config in (str(yml), yml, SETTINGS):
        assert exported(str(path), config=config).config == CONFIG


def test_necks_and_classifiers_are_dropped(tmp_path: Path, state: dict[str, Tensor]) -> None:
    extra = {
        "classifier_sdtps.weight": torch.zeros(5, 96),
        "bottleneck_r.num_batches_tracked": torch.tensor(3),
    }
    load_checkpoint(save(tmp_path, {**state, **extra}), SETTINGS)


def test_keys_that_do_not_fit_are_named(tmp_path: Path, state: dict[str, Tensor]) -> None:
    del state["sdtps.rgb_sparse.score_predictor.0.bias"]
    state["rgb_reduce.1.bias"] = torch.zeros(7)
    state["nir_reduce.1.bias"][0] = torch.nan
    state["surprise"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(save(tmp_path, state), SETTINGS)
    for part in (
        "missing: sdtps.rgb_sparse.score_predictor.0.bias",
        "unexpected: surprise",
        "wrong shape: rgb_reduce.1.bias",
        "not finite: nir_reduce.1.bias",
    ):
        assert part in caught.value.message
    assert "\n" not in caught.value.message


def test_backbone_keys_are_named_as_published(tmp_path: Path, state: dict[str, Tensor]) -> None:
    del state["BACKBONE.base.ln_post.bias"]
    with pytest.raises(CheckpointError, match=r"missing: BACKBONE\.base\.ln_post\.bias"):
        load_checkpoint(save(tmp_path, state), SETTINGS)


@pytest.mark.parametrize(
    "wrap", ["bare", "state_dict", "model", "module.", "module. in state_dict", "safetensors"]
)
def test_wrappers_and_prefixes(tmp_path: Path, state: dict[str, Tensor], wrap: str) -> None:
    content: Any = (
        {f"module.{key}": value for key, value in state.items()}
        if wrap.startswith("module.")
        else state
    )
    if "state_dict" in wrap or wrap == "model":
        content = {"model" if wrap == "model" else "state_dict": content, "epoch": 3}
    if wrap == "safetensors":
        save_file(
            {key: value.contiguous() for key, value in state.items()}, tmp_path / "best.safetensors"
        )
        loaded = load_checkpoint(tmp_path / "best.safetensors", SETTINGS)
    else:
        loaded = load_checkpoint(save(tmp_path, content), SETTINGS)
    assert all(torch.equal(value, state[key]) for key, value in get_published_state(loaded).items())


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"USE_SDTPS": False},
            r"MODEL.USE_SDTPS: the YAML says False, the checkpoint True.*looks like an SDTPS",
        ),
        ({"GLOBAL_LOCAL": False}, "MODEL.GLOBAL_LOCAL: the YAML says False, the checkpoint True"),
        (
            {"STRIDE_SIZE": [12, 12]},
            r"INPUT.SIZE_TEST: the YAML says 10 patches \(64x32, stride 12\), the checkpoint 8",
        ),
        (
            {"SDTPS_AGGR_RATIO": 0.8},
            "MODEL.SDTPS_AGGR_RATIO: the YAML says 3 tokens, the checkpoint 2",
        ),
        (
            {"TRANSFORMER_TYPE": "vit_base_patch16_224"},
            "MODEL.TRANSFORMER_TYPE: the YAML says vit_base.*, the checkpoint ViT-B-16",
        ),
        ({"SIE_CAMERA": False}, "MODEL.SIE_CAMERA: the YAML says False, the checkpoint True"),
        ({"SIE_COE": "strong"}, "MODEL.SIE_COE: 'strong' makes no sense"),
        ({"SDTPS_BETA": None}, "MODEL.SDTPS_BETA: None makes no sense"),
        ({"ATM": True, "USE_SDTPS": False}, "MODEL.ATM: needs HDM"),
        ({"HDM": True}, "MODEL.USE_SDTPS: cannot be on together with HDM"),
    ],
)
def test_a_yaml_that_disagrees_is_refused_with_both_values(
    tmp_path: Path, state: dict[str, Tensor], changes: dict[str, Any], line: str
) -> None:
    with pytest.raises(ConfigError, match=line) as caught:
        load_checkpoint(
            save(tmp_path, state), {**SETTINGS, "MODEL": {**SETTINGS["MODEL"], **changes}}
        )
    assert "\n" not in caught.value.message


def test_lora_weights_are_refused(tmp_path: Path, state: dict[str, Tensor]) -> None:
    with pytest.raises(ConfigError, match=r"MODEL.FROZEN: LoRA weights are not supported.*lora_A"):
        load_checkpoint(
            save(tmp_path, {**state, "BACKBONE.base.conv1.lora_A": torch.zeros(1)}), SETTINGS
        )


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["visual.conv1.weight", "token_embedding.weight"], "OpenAI's CLIP"),
        (["cls_token", "blocks.0.norm1.weight"], "timm"),
        (["generalFusion.moe.x", "BACKBONE.y"], "DeMo network with HDM and ATMoE"),
        (["weight"], "none that is known"),
    ],
)
def test_an_error_says_what_the_file_looks_like(
    tmp_path: Path, keys: list[str], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        load_checkpoint(save(tmp_path, {key: torch.zeros(1) for key in keys}), SETTINGS)


def test_keys_that_do_not_change_the_network_are_passed_over(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    settings = {
        **SETTINGS,
        "SOLVER": {"BASE_LR": 1},
        "MODEL": {**SETTINGS["MODEL"], "FROZEN": True, "DIRECT": 0, "NAME": "x"},
    }
    assert load_checkpoint(save(tmp_path, state), settings).config == CONFIG


def test_missing_files(tmp_path: Path, state: dict[str, Tensor]) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        load_checkpoint(tmp_path / "none.pth", SETTINGS)
    with pytest.raises(ConfigError, match=r"none\.yml"):
        load_checkpoint(save(tmp_path, state), tmp_path / "none.yml")


@pytest.mark.parametrize(
    ("key", "value"), [("ADAPTER", True), ("PROMPT", True), ("TRANSFORMER_TYPE", "swin")]
)
def test_switches_that_are_not_supported_are_named(
    tmp_path: Path, state: dict[str, Tensor], key: str, value: Any
) -> None:
    settings = {**SETTINGS, "MODEL": {**SETTINGS["MODEL"], key: value}}
    with pytest.raises(ConfigError, match=f"MODEL.{key}"):
        load_checkpoint(save(tmp_path, state), settings)


@pytest.mark.parametrize(
    "name", ["model-00001-of-00002.safetensors", "model.safetensors.index.json"]
)
def test_a_part_of_the_weights_is_called_that(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(CheckpointError, match="of several files that hold the weights together"):
        read_weights(tmp_path / name)
