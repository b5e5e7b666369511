"""Settings from YAML: what is there is read by someone, and what cannot be used is named."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from trireid.samples import ConfigError
from trireid.training.settings import (
    Precision,
    Settings,
    flatten,
    parse_settings,
    read_settings,
    rename_flat,
)

MINIMAL: dict[str, Any] = {
    "network": {"image_size": [64, 32], "width": 64},
    "data": {"source": "synthetic:person:20"},
}


def change(path: str, value: object) -> dict[str, Any]:
    settings = deepcopy(MINIMAL)
    *above, key = path.split(".")
    part = settings
    for name in above:
        part = part.setdefault(name, {})
    part[key] = value
    return settings


def test_the_defaults_are_the_notes_recipe() -> None:
    settings = parse_settings(MINIMAL)
    optimizer, schedule, loss = settings.optimizer, settings.schedule, settings.loss
    assert (optimizer.lr, optimizer.backbone_lr, optimizer.bias_factor, optimizer.weight_decay) == (
        3.5e-4,
        5e-6,
        2,
        1e-4,
    )
    assert (schedule.epochs, schedule.warmup_lr) == (50, 3.5e-5)
    assert (loss.identity, loss.triplet, loss.margin) == (0.25, 1.0, None)
    assert settings.sdtps.attention_gradient == "full"


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    settings = parse_settings(change("augmentation.drop_modality", 0.25))
    (tmp_path / "run.yml").write_text(yaml.safe_dump(settings.to_mapping()))
    assert read_settings(tmp_path / "run.yml") == settings


def test_yaml_has_no_trap(tmp_path: Path) -> None:
    """A bare on, off and 5e-6 are a boolean and text to YAML."""
    (tmp_path / "run.yml").write_text(
        "network: {image_size: [64, 32], width: 64}\ndata: {source: 'synthetic:person:20'}\n"
        "sdtps: {gumbel: on, attention_gradient: none}\noptimizer: {backbone_lr: 5e-6}\nloss: "
        "{margin: null}\n"
    )
    settings = read_settings(tmp_path / "run.yml")
    assert (settings.sdtps.gumbel, settings.sdtps.attention_gradient) == ("on", "none")
    assert settings.optimizer.backbone_lr == 5e-6
    (tmp_path / "run.yml").write_text(
        (tmp_path / "run.yml").read_text().replace("gumbel: on", "gumbel: off")
    )
    assert read_settings(tmp_path / "run.yml").sdtps.gumbel == "off"


@pytest.mark.parametrize(
    ("path", "value", "key", "words"),
    [
        ("optimizer.backbone_l", 1.0, "optimizer.backbone_l", "unknown key; is backbone_lr meant"),
        ("optimizers", {}, "optimizers", "is optimizer meant"),
        ("network.depht", 3, "network.depht", "is depth meant"),
        ("batch.size", 30, "batch.size", "30 is not a multiple of 8 identities x 4 samples = 32"),
        (
            "batch.identities",
            1,
            "batch.identities",
            "at least 2, not 1; the triplet loss needs another",
        ),
        ("batch.samples", 1, "batch.samples", "at least 2"),
        (
            "sdtps.attention_gradient",
            "some",
            "sdtps.attention_gradient",
            "'none', 'self' or 'full', not 'some'",
        ),
        ("optimizer.lr", "fast", "optimizer.lr", "must be a valid number, not 'fast'"),
        ("optimizer.frozen", True, "optimizer.frozen", "needs pretrained weights"),
        ("optimizer.frozen_blocks", 1, "optimizer.frozen_blocks", "need pretrained weights"),
        ("loss.temperature", 0, "loss.temperature", "at least 0.01"),
        ("schedule.epochs", 0, "schedule.epochs", "at least 1"),
        ("schedule.steps_per_epoch", 0, "schedule.steps_per_epoch", "at least 1, not 0"),
        ("augmentation.drop_modality", 1.5, "augmentation.drop_modality", "at most 1, not 1.5"),
        ("optimizer.lr", -1.0, "optimizer.lr", "at least 0"),
        ("optimizer.lr", float("nan"), "optimizer.lr", "at least 0, not nan"),
        ("sdtps.tau", 0.5, "sdtps.tau", "has no effect: sdtps.gumbel is off"),
        (
            "augmentation.drop_together",
            True,
            "augmentation.drop_together",
            "has no effect: augmentation.drop_modality is 0",
        ),
        ("schedule.epochs", 1.5, "schedule.epochs", "must be a valid integer"),
        ("logging.patterns", [], "logging.patterns", "at least 1 item"),
        ("logging.patterns", [4], "logging.patterns", "at most 3, not 4"),
        ("network.image_size", [64], "network.image_size", r"must have more values, not \[64\]"),
        ("network.width", 65, "width", "not a multiple of 64"),
        ("data", "synthetic", "data", "expected keys below it"),
        ("data", {}, "data.source", "is missing"),
        ("data.varied", "pose", "data.varied", "true, false or a list of switches.*not 'pose'"),
        ("runtime.precision", "float8", "runtime.precision", "'float32', 'float16', 'bfloat16' or"),
    ],
)
def test_what_cannot_be_used_is_named(path: str, value: object, key: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        parse_settings(change(path, value))
    assert raised.value.field == key


def test_keys_of_synthetic_images_are_refused_without_a_synthetic_source() -> None:
    settings = change("data.source", "rgbnt201:/data")
    settings["data"]["shots"] = 3
    with pytest.raises(ConfigError, match=r"data\.shots: has no effect: no source is synthetic"):
        parse_settings(settings)
    settings["data"]["test"] = "synthetic:person:9"
    assert parse_settings(settings).data.shots == 3


def test_what_varies_is_all_none_or_a_list() -> None:
    assert parse_settings(MINIMAL).data.varied is False
    assert parse_settings(change("data.varied", True)).data.varied is True
    some = parse_settings(change("data.varied", ["pose", "light"]))
    assert some.data.varied == ("pose", "light")
    assert parse_settings(some.to_mapping()) == some
    settings = change("data.source", "rgbnt201:/data")
    settings["data"]["varied"] = True
    with pytest.raises(ConfigError, match=r"data\.varied: has no effect: no source is synthetic"):
        parse_settings(settings)


def test_keys_of_a_head_that_is_not_there_are_refused() -> None:
    settings = change("network.head", "hdm")
    settings["sdtps"] = {"gumbel": "on"}
    with pytest.raises(ConfigError, match=r"sdtps: has no effect: network\.head is hdm"):
        parse_settings(settings)


def test_a_larger_batch_takes_more_identities() -> None:
    assert parse_settings(change("batch.size", 64)).identities_per_step == 16
    assert parse_settings(MINIMAL).identities_per_step == 8


def test_precision_is_a_choice() -> None:
    assert isinstance(parse_settings(change("runtime.precision", "bfloat16")), Settings)
    assert (
        parse_settings(change("runtime.precision", "bfloat16")).runtime.precision
        is Precision.BFLOAT16
    )


OLD: dict[str, Any] = {
    **MINIMAL,
    "start": "a.pth",
    "start_weights": "ema",
    "loss": {"centre": 0.5},
    "optimiser": {"rate": 1e-3, "backbone_rate": None, "clip": 5.0},
    "schedule": {"warmup_rate": 1e-4},
    "machine": {"threads": 1},
    "upkeep": {"save_every": 7},
}
NEW: dict[str, Any] = {
    **MINIMAL,
    "pretrained": "a.pth",
    "pretrained_weights": "ema",
    "loss": {"center": 0.5},
    "optimizer": {"lr": 1e-3, "backbone_lr": None, "clip": 5.0},
    "schedule": {"warmup_lr": 1e-4},
    "runtime": {"threads": 1},
    "logging": {"save_every": 7},
}


def test_names_of_version_0_1_are_accepted_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert parse_settings(OLD) == parse_settings(NEW)
    assert len(caplog.messages) == 9
    assert "optimizer.rate: is called lr now; the old name will go with" in caplog.text
    assert rename_flat(dict(flatten(OLD))) == dict(flatten(NEW))


def test_a_key_under_both_names_is_refused() -> None:
    with pytest.raises(ConfigError, match="upkeep: is called logging now, and both are there"):
        parse_settings({**MINIMAL, "upkeep": {}, "logging": {}})
