"""Settings from YAML: what is there is read by someone, and what cannot be used is named."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from trireid.samples import ConfigError
from trireid.training.settings import Precision, Settings
from trireid.training.settings_file import read_settings, settings_of

MINIMAL: dict[str, Any] = {
    "network": {"image_size": [64, 32], "width": 64},
    "data": {"source": "synthetic:person:20"},
}


def changed(path: str, value: object) -> dict[str, Any]:
    settings = deepcopy(MINIMAL)
    *above, key = path.split(".")
    part = settings
    for name in above:
        part = part.setdefault(name, {})
    part[key] = value
    return settings


def test_the_defaults_are_the_notes_recipe() -> None:
    settings = settings_of(MINIMAL)
    optimiser, schedule, loss = settings.optimiser, settings.schedule, settings.loss
    assert (
        optimiser.rate,
        optimiser.backbone_rate,
        optimiser.bias_factor,
        optimiser.weight_decay,
    ) == (3.5e-4, 5e-6, 2, 1e-4)
    assert (schedule.epochs, schedule.warmup_rate) == (50, 3.5e-5)
    assert (loss.identity, loss.triplet, loss.margin) == (0.25, 1.0, None)
    assert settings.sdtps.attention_gradient == "full"


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    settings = settings_of(changed("augmentation.drop_modality", 0.25))
    (tmp_path / "run.yml").write_text(yaml.safe_dump(settings.as_mapping()))
    assert read_settings(tmp_path / "run.yml") == settings


def test_yaml_has_no_trap(tmp_path: Path) -> None:
    """A bare on, off and 5e-6 are a boolean and text to YAML."""
    (tmp_path / "run.yml").write_text(
        "network: {image_size: [64, 32], width: 64}\ndata: {source: 'synthetic:person:20'}\n"
        "sdtps: {gumbel: on, attention_gradient: none}\noptimiser: {backbone_rate: 5e-6}\nloss: {margin: null}\n"
    )
    settings = read_settings(tmp_path / "run.yml")
    assert (settings.sdtps.gumbel, settings.sdtps.attention_gradient) == ("on", "none")
    assert settings.optimiser.backbone_rate == 5e-6
    (tmp_path / "run.yml").write_text(
        (tmp_path / "run.yml").read_text().replace("gumbel: on", "gumbel: off")
    )
    assert read_settings(tmp_path / "run.yml").sdtps.gumbel == "off"


@pytest.mark.parametrize(
    ("path", "value", "key", "words"),
    [
        (
            "optimiser.backbone_rat",
            1.0,
            "optimiser.backbone_rat",
            "nobody reads this key; is backbone_rate meant",
        ),
        ("optimizer", {}, "optimizer", "is optimiser meant"),
        ("network.depht", 3, "network.depht", "is depth meant"),
        ("batch.size", 30, "batch.size", "30 is no multiple of 8 identities x 4 samples = 32"),
        ("batch.identities", 1, "batch.identities", "at least 2"),
        ("batch.samples", 1, "batch.samples", "at least 2"),
        ("sdtps.attention_gradient", "some", "sdtps.attention_gradient", "one of none, self, full"),
        ("optimiser.rate", "fast", "optimiser.rate", "makes no sense"),
        ("optimiser.frozen", True, "optimiser.frozen", "needs start weights"),
        ("schedule.epochs", 0, "schedule.epochs", "at least 1"),
        ("schedule.steps_per_epoch", 0, "schedule.steps_per_epoch", "at least 1, not 0"),
        ("augmentation.drop_modality", 1.5, "augmentation.drop_modality", "from 0 to 1, not 1.5"),
        ("optimiser.rate", -1.0, "optimiser.rate", "at least 0"),
        ("optimiser.rate", ".nan", "optimiser.rate", "makes no sense"),
        ("sdtps.tau", 0.5, "sdtps.tau", "gumbel is off, so nobody reads"),
        (
            "augmentation.drop_together",
            True,
            "augmentation.drop_together",
            "drop_modality is 0, so nobody reads",
        ),
        ("schedule.epochs", 1.5, "schedule.epochs", "makes no sense"),
        ("upkeep.patterns", [], "upkeep.patterns", "among 1, 2, 3"),
        ("upkeep.patterns", [4], "upkeep.patterns", "among 1, 2, 3"),
        ("network.image_size", [64], "network.image_size", "expected 2 values"),
        ("network.width", 65, "width", "not a multiple of 64"),
        ("data", "synthetic", "data", "expected keys below it"),
        ("data", {}, "data.source", "is missing"),
        ("machine.precision", "float8", "machine.precision", "one of float32"),
    ],
)
def test_what_cannot_be_used_is_named(path: str, value: object, key: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        settings_of(changed(path, value))
    assert raised.value.field == key


def test_keys_of_drawn_pictures_are_refused_where_nothing_is_drawn() -> None:
    settings = changed("data.source", "rgbnt201:/data")
    settings["data"]["shots"] = 3
    with pytest.raises(ConfigError, match=r"data\.shots: is for drawn pictures"):
        settings_of(settings)
    settings["data"]["test"] = "synthetic:person:9"
    assert settings_of(settings).data.shots == 3


def test_keys_of_a_head_that_is_not_there_are_refused() -> None:
    settings = changed("network.head", "hdm")
    settings["sdtps"] = {"gumbel": "on"}
    with pytest.raises(
        ConfigError, match=r"sdtps: network\.head is hdm, so nobody reads these keys"
    ):
        settings_of(settings)


def test_a_larger_batch_takes_more_identities() -> None:
    assert settings_of(changed("batch.size", 64)).identities_per_step == 16
    assert settings_of(MINIMAL).identities_per_step == 8


def test_precision_is_a_choice() -> None:
    assert isinstance(settings_of(changed("machine.precision", "bfloat16")), Settings)
    assert (
        settings_of(changed("machine.precision", "bfloat16")).machine.precision
        is Precision.BFLOAT16
    )
