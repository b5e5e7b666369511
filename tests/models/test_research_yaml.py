"""The research code's YAML as people have it: literals, tuples, bases, overrides, absent keys, and
hostile files.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from tests.conftest import GOLDENS, find_shared
from tests.goldens.make import CONFIG
from trireid.models import (
    Backbone,
    Head,
    NetworkConfig,
    ReIdNetwork,
    get_published_state,
    load_checkpoint,
    read_research_yaml,
    read_yaml,
    to_research_yaml,
)
from trireid.samples import ConfigError

CHECKPOINT = GOLDENS / "tiny_sdtps.pth"
SETTINGS = to_research_yaml(CONFIG)


def change(**changes: Any) -> dict[str, Any]:
    """The settings with keys `SECTION__NAME` in place of their own; None leaves one out."""
    settings = {section: dict(part) for section, part in SETTINGS.items()}
    for key, value in changes.items():
        section, name = key.split("__")
        settings[section].pop(name, None)
        if value is not None:
            settings[section][name] = value
    return settings


def save(folder: Path, config: NetworkConfig) -> Path:
    torch.save(get_published_state(ReIdNetwork(config)), folder / "net.pth")
    return folder / "net.pth"


def refusal(settings: Any, checkpoint: Path = CHECKPOINT) -> str:
    with pytest.raises(ConfigError) as caught:
        load_checkpoint(checkpoint, settings)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 600
    return caught.value.message


@pytest.mark.parametrize(
    "changes",
    [
        {
            "MODEL__STRIDE_SIZE": "(16, 16)",
            "INPUT__SIZE_TEST": "(64, 32)",
            "TEST__NECK_FEAT": "('before')",
        },
        {"MODEL__STRIDE_SIZE": 16, "MODEL__SIE_COE": "1.0", "MODEL__SDTPS_BETA": "25e-2"},
        {"MODEL__STRIDE_SIZE": "16", "MODEL__STRIDE_SIZE ": None, "MODEL__HEAD": "4"},
        {
            "INPUT__SIZE_TEST": (64, 32),
            "INPUT__PIXEL_MEAN": "[0.5, 0.5, 0.5]",
            "INPUT__PIXEL_STD": 0.5,
        },
        {
            "MODEL__SIE_CAMERA": "True",
            "MODEL__USE_SDTPS": "yes",
            "MODEL__HDM": "no",
            "MODEL__ATM": "off",
        },
        {
            "MODEL__GLOBAL_LOCAL": 1,
            "MODEL__PROMPT": "None",
            "MODEL__ADAPTER": "no",
            "TEST__FEAT_NORM": True,
        },
    ],
)
def test_literals_as_yacs_reads_them(changes: dict[str, Any]) -> None:
    assert load_checkpoint(CHECKPOINT, change(**changes)).config == CONFIG


def test_tuples_as_yacs_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "dump.yml"
    path.write_text(yaml.dump(change(INPUT__SIZE_TEST=(64, 32), MODEL__STRIDE_SIZE=(16, 16))))
    assert "!!python/tuple" in path.read_text()
    assert load_checkpoint(CHECKPOINT, path).config == CONFIG


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"MODEL__SIE_COE": True}, "MODEL.SIE_COE: True makes no sense"),
        ({"MODEL__SIE_COE": ".nan"}, "MODEL.SIE_COE: '.nan' makes no sense"),
        ({"MODEL__SIE_COE": float("inf")}, "MODEL.SIE_COE: inf makes no sense"),
        ({"MODEL__HEAD": 4.5}, "MODEL.HEAD: 4.5 makes no sense"),
        ({"MODEL__USE_SDTPS": "perhaps"}, "MODEL.USE_SDTPS: 'perhaps' makes no sense"),
        ({"INPUT__SIZE_TEST": "(64, 32, 3)"}, "INPUT.SIZE_TEST: (64, 32, 3) makes no sense"),
        ({"MODEL__STRIDE_SIZE": [16, 12]}, "MODEL.STRIDE_SIZE: [16, 12] makes no sense"),
        ({"MODEL__PROMPT": "yes"}, "MODEL.PROMPT: yes is not supported"),
        ({"MODEL__USE_DGAF": True}, "MODEL.USE_DGAF: True is not supported"),
        ({"TEST__NECK_FEAT": "('after')"}, "TEST.NECK_FEAT: after is not supported"),
        (
            {"TEST__FEAT_NORM": "no"},
            "TEST.FEAT_NORM: 'no' compares by distances that are not cosines",
        ),
        ({"TEST__FEAT_NORM": False}, "--opts TEST.FEAT_NORM yes"),
        (
            {"MODEL__SIE_COEF": 3.0},
            "MODEL.SIE_COEF: not a key of the research code; is SIE_COE meant?",
        ),
        ({"INPUT__SIZE_TST": [64, 32]}, "is SIZE_TEST meant?"),
    ],
)
def test_values_and_keys_that_cannot_be_are_named(changes: dict[str, Any], words: str) -> None:
    assert words in refusal(change(**changes))


def test_sections_that_are_not_there_or_misspelt() -> None:
    assert "holds none of MODEL, INPUT and TEST" in refusal({"network": {}})
    assert "model: not a key of the research code; is MODEL meant?" in refusal(
        {"model": SETTINGS["MODEL"]}
    )
    assert "MODEL: expected keys below it" in refusal({**SETTINGS, "MODEL": "x"})


def test_keys_that_are_not_known_are_named_in_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    settings = change(
        MODEL__DEVICE="cuda",
        MODEL__SDTPS_USE_GUMBEL=True,
        TEST__RE_RANKING="no",
        INPUT__SIZE_TRAIN=[8, 8],
    )
    with caplog.at_level(logging.WARNING):
        load_checkpoint(CHECKPOINT, {**settings, "SOLVER": {"BASE_LR": 1}, "OUTPUT_DIR": "x"})
        assert not caplog.messages
        load_checkpoint(CHECKPOINT, {**change(MODEL__QUIET=1, TEST__LOUD=2), "EXTRA": 1})
    (line,) = caplog.messages
    assert all(key in line for key in ("EXTRA", "MODEL.QUIET", "TEST.LOUD"))


class TestAbsentKeys:
    """They have the research code's defaults, and follow the shapes where those tell."""

    def test_the_camera_coefficient_is_the_golden_one(self) -> None:
        folder = find_shared("goldens")
        settings = yaml.safe_load((folder / "imagenet_sdtps.yml").read_text())
        for key in (
            "SIE_COE",
            "SIE_CAMERA",
            "TRANSFORMER_TYPE",
            "HEAD",
            "USE_SDTPS",
            "GLOBAL_LOCAL",
            "HDM",
            "ATM",
        ):
            del settings["MODEL"][key]
        network = load_checkpoint(folder / "imagenet_sdtps.pth", settings)
        assert network.config.sie_coe == 3.0
        golden = np.load(folder / "imagenet_sdtps.npz")
        images = torch.stack(
            [torch.from_numpy(golden[f"img/{m}"]) for m in ("RGB", "NI", "TI")], dim=1
        ).float()
        with torch.inference_mode():
            features = network(
                (images.permute(0, 1, 4, 2, 3) / 255 - 0.5) / 0.5, torch.from_numpy(golden["cam"])
            )
        assert np.abs(features.numpy() - golden["out/nothing/3"]).max() <= 1e-5

    def test_what_shapes_tell(self, tmp_path: Path) -> None:
        config = NetworkConfig(
            image_size=(64, 32),
            width=64,
            depth=1,
            channels=64,
            cameras=3,
            sie_coe=3.0,
            head=Head.HDM_ATM,
            moe_heads=2,
        )
        bare = {"INPUT": {"SIZE_TEST": [64, 32]}}
        assert load_checkpoint(save(tmp_path, config), bare).config == config
        imagenet = NetworkConfig(
            backbone=Backbone.IMAGENET,
            image_size=(64, 32),
            width=64,
            depth=1,
            channels=64,
            head=Head.NONE,
            global_local=False,
        )
        loaded = load_checkpoint(save(tmp_path, imagenet), bare).config
        assert (loaded.backbone, loaded.head, loaded.cameras) == (Backbone.IMAGENET, Head.NONE, 0)
        # Parts that it lacks: their defaults change nothing but the fingerprint, which stays what
        # it was.
        assert (loaded.sie_coe, loaded.moe_heads, loaded.global_local) == (1.0, 4, False)

    def test_a_message_says_whose_value_it_is(self) -> None:
        assert "INPUT.SIZE_TEST: the research code's default is 128 patches (256x128" in refusal(
            change(INPUT__SIZE_TEST=None)
        )
        assert "INPUT.SIZE_TEST: the YAML says 128 patches" in refusal(
            change(INPUT__SIZE_TEST=[256, 128])
        )
        aggregation = refusal(change(MODEL__SDTPS_AGGR_RATIO=None))
        assert (
            "MODEL.SDTPS_AGGR_RATIO: the research code's default is 1 tokens, the checkpoint 2"
            in aggregation
        )


class TestBases:
    """`_BASE_`, relative to the file that names it."""

    def write(self, folder: Path, **files: Any) -> Path:
        for name, content in files.items():
            (folder / f"{name}.yml").write_text(yaml.safe_dump(content))
        return folder / f"{next(iter(files))}.yml"

    def test_a_base_is_followed_and_overruled(self, tmp_path: Path) -> None:
        (tmp_path / "sub").mkdir()
        self.write(tmp_path, base=change(MODEL__SIE_COE=7.0))
        path = self.write(
            tmp_path / "sub", top={"_BASE_": "../base.yml", "MODEL": {"SIE_COE": 1.0}}
        )
        assert load_checkpoint(CHECKPOINT, path).config == CONFIG
        path = self.write(tmp_path, several={"_BASE_": ["base.yml", "sub/top.yml"]})
        assert load_checkpoint(CHECKPOINT, path).config == CONFIG

    def test_bases_that_cannot_be_followed(self, tmp_path: Path) -> None:
        assert "circle" in refusal(
            self.write(tmp_path, a={"_BASE_": "b.yml"}, b={"_BASE_": "a.yml"})
        )
        chain: dict[str, Any] = {f"c{i}": {"_BASE_": f"c{i + 1}.yml"} for i in range(12)}
        assert "more than 8 files" in refusal(self.write(tmp_path, **chain))
        assert "is not a file; fetch it" in refusal(
            self.write(tmp_path, web={"_BASE_": "https://host/x.yml"})
        )
        assert "none.yml: cannot be read" in refusal(
            self.write(tmp_path, gone={"_BASE_": "none.yml"})
        )
        assert "expected a file's name" in refusal(self.write(tmp_path, odd={"_BASE_": 3}))
        assert "give the YAML file itself" in refusal({"_BASE_": "base.yml"})
        assert "not a regular file" in refusal(self.write(tmp_path, device={"_BASE_": "/dev/zero"}))


class TestOverrides:
    """`--opts KEY VALUE`."""

    def test_they_overrule_the_yaml(self) -> None:
        pairs = [
            "MODEL.SIE_COE",
            "1.0",
            "INPUT.SIZE_TEST",
            "(64, 32)",
            "TEST.FEAT_NORM",
            "yes",
            "MODEL.DEVICE_ID",
            "('0')",
        ]
        settings = change(MODEL__SIE_COE=2.0, INPUT__SIZE_TEST=None, TEST__FEAT_NORM="no")
        assert load_checkpoint(CHECKPOINT, read_research_yaml(settings, pairs)).config == CONFIG
        assert settings["MODEL"]["SIE_COE"] == 2.0

    @pytest.mark.parametrize(
        ("pairs", "words"),
        [
            (["MODEL.SIE_COE"], "takes pairs of KEY VALUE, and 1 words were given"),
            (["SIE_COE", "1"], "SIE_COE is not a key of the research code"),
            (["MODEL.SIE_COEF", "1"], "is MODEL.SIE_COE meant?"),
            (["MODELS.X", "1"], "is not a key"),
        ],
    )
    def test_those_that_are_none(self, pairs: list[str], words: str) -> None:
        with pytest.raises(ConfigError) as caught:
            read_research_yaml(SETTINGS, pairs)
        assert words in caught.value.message


def laughs() -> str:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    return "\n".join(levels)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (laughs(), "its aliases stand for over"),
        (
            laughs().replace("[", "{<<: [").replace("]", "]}").replace("x", "{k: 1}"),
            "its aliases stand for over",
        ),
        ("a: &a [*a]", "its aliases stand for over"),
        ("a: " + "[" * 5000, "not a YAML file"),
        (
            "MODEL: !!python/object/apply:os.system [echo]",
            "not a YAML file: line 1: could not determine a constructor",
        ),
        ("MODEL: {", "not a YAML file: line 1"),
        ("x" * (2 << 20), "is too large"),
        ("- a", "holds no keys"),
        ("1: a", "holds no keys"),
    ],
)
def test_hostile_and_broken_files_are_refused_quickly(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "train.yml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    assert words in caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    "text", ["MODEL: {SIE_COE: 1}\nMODEL: {HEAD: 12}\n", "MODEL:\n  SIE_COE: 1\n  SIE_COE: 3\n"]
)
def test_a_key_that_is_there_twice_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yml").write_text(text)
    with pytest.raises(ConfigError, match=r"is there twice; delete or join one"):
        read_yaml(tmp_path / "a.yml")
    (tmp_path / "b.yml").write_text("A: &a {X: 1, Y: 2}\nMODEL: {<<: *a, X: 3}\nTEST: *a\n")
    assert read_yaml(tmp_path / "b.yml")["MODEL"] == {"X": 3, "Y": 2}
