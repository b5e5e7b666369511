"""The arms change what they say and nothing else; runs are shared, resumed and reported from what
they left.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import research.__main__
from research.arms import ARMS, make_arm_settings
from research.cost import read_costs
from research.experiment import run_experiment
from research.report import write_report
from research.runs import get_run_folder
from research.studies import STUDIES, Study, make_backbone_settings, make_common_settings
from trireid.models.config import Backbone
from trireid.samples import ConfigError, TrireidError
from trireid.training.settings import parse_settings

#: The arms, and what each changes against the common recipe, flat.
EXPECTED: dict[str, dict[str, Any]] = {
    "control": {"network.head": "hdm+atm", "sdtps.gumbel": "off"},
    "none": {"sdtps.attention_gradient": "none"},
    "self": {"sdtps.attention_gradient": "self"},
    "full": {},
    "relaxed": {"network.sparse_ratio": 0.7, "network.aggregation_ratio": 0.5},
    "sdtps delay": {"schedule.sdtps_delay_epochs": 5},
    "as published": {
        "sdtps.attention_gradient": "none",
        "sdtps.gumbel": "published",
        "runtime.precision": "emulated-float16",
    },
    "gumbel off": {"sdtps.attention_gradient": "none", "sdtps.gumbel": "off"},
    "full, gumbel off": {"sdtps.gumbel": "off"},
    "warm-up 10": {"sdtps.attention_gradient": "none", "schedule.warmup_epochs": 10},
    "faster backbone": {
        "sdtps.attention_gradient": "none",
        "optimizer.backbone_lr": pytest.approx(1.4e-4),
    },
    "batch 2 x 4": {"sdtps.attention_gradient": "none", "batch.identities": 2},
    "mask, scores attached": {"sdtps.gumbel": "published"},
    "mask alone": {"sdtps.attention_gradient": "none", "sdtps.gumbel": "published"},
    "failing run": {
        "sdtps.attention_gradient": "none",
        "sdtps.gumbel": "published",
        "runtime.precision": "emulated-float16",
        "schedule.warmup_epochs": 10,
        "batch.identities": 2,
    },
    "frozen": {"sdtps.attention_gradient": "none", "optimizer.frozen": True},
}


def flat(arm: str) -> dict[str, Any]:
    return parse_settings(
        make_arm_settings(make_common_settings(Study(), Path("runs")), arm, 3)
    ).flatten()


@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_changes_what_it_says_and_nothing_else(arm: str) -> None:
    common, own = flat("full"), flat(arm)
    assert {key: own[key] for key in own if own[key] != common[key]} == EXPECTED[arm]
    assert own["seed"] == 3


def test_rates_are_in_the_notes_ratio() -> None:
    own = flat("full")
    assert own["optimizer.lr"] / own["optimizer.backbone_lr"] == pytest.approx(3.5e-4 / 5e-6)
    assert own["schedule.warmup_lr"] / own["optimizer.lr"] == pytest.approx(0.1)
    assert (
        flat("warm-up 10")["schedule.steps_per_epoch"]
        == flat("failing run")["schedule.steps_per_epoch"]
        == 16
    )


def test_a_share_of_the_heads_rate_follows_it() -> None:
    settings = parse_settings(
        make_arm_settings(make_common_settings(Study(lr=2e-3), Path("runs")), "faster backbone", 0)
    )
    assert settings.optimizer.backbone_lr == pytest.approx(0.1 * 2e-3)


def test_the_backbone_is_of_another_world() -> None:
    backbone, common = (
        make_backbone_settings(Study(), Path("runs")),
        make_common_settings(Study(), Path("runs")),
    )
    assert (backbone["data"]["world"], common["data"].get("world", 0)) == (1, 0)
    assert parse_settings(backbone).network.head == "none"


@pytest.mark.parametrize("arm", STUDIES["dinov2"].arms)
def test_the_study_of_dinov2_trains_its_arms_at_half_size(arm: str) -> None:
    study = STUDIES["dinov2"]
    settings = parse_settings(make_arm_settings(make_common_settings(study, Path("runs")), arm, 1))
    network = settings.network
    assert (network.backbone, network.depth, network.grid) == (Backbone.DINOV2, 8, (8, 4))
    expected = "emulated-float16" if arm == "as published" else "bfloat16"
    assert settings.runtime.precision == expected
    assert settings.optimizer.lr == 3.5e-4
    assert settings.schedule.epochs * (settings.schedule.steps_per_epoch or 0) == 200


def test_a_pretrained_backbone_is_what_the_package_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {"norm.bias": torch.ones(2)}
    monkeypatch.setattr("research.experiment.read_start_weights", lambda: weights)
    started = fake_runs(monkeypatch, 0, "result.json")
    (tmp_path / "cost.json").write_text(json.dumps({"full": 0.125}))
    run_experiment(tmp_path, ["full"], 1, replace(STUDIES["dinov2"], results=None))
    assert started == [get_run_folder(tmp_path, "full", 0)]
    held = torch.load(tmp_path / "backbone.pth", weights_only=True)
    assert torch.equal(held["norm.bias"], weights["norm.bias"])


def test_an_unknown_arm_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--arms: there is no ful; there are control, none"):
        run_experiment(tmp_path, ["full", "ful"], 1, Study())


@pytest.mark.slow
def test_a_small_comparison_from_end_to_end(tmp_path: Path) -> None:
    """Pretraining and one arm, in real processes."""
    study = Study(
        epochs=1,
        steps_per_epoch=2,
        identities=6,
        validation_identities=2,
        test_identities=2,
        batch=(2, 2),
        backbone_identities=26,
        backbone_epochs=1,
    )
    (run,) = run_experiment(tmp_path, ["as published"], 1, study)
    result = json.loads((run / "result.json").read_text())
    assert (result["steps"], set(result["test"])) == (
        2,
        {f"{name}_{p}" for name in ("mAP", "rank1") for p in (1, 2, 3)},
    )
    assert 0 < read_costs(tmp_path)["as published"] < 10
    start = torch.load(tmp_path / "backbone.pth", weights_only=True)
    assert start["conv1.weight"].shape == (128, 3, 16, 16)


def prepare(folder: Path) -> None:
    """A folder whose pretraining and costs are there."""
    (folder / "backbone.pth").touch()
    (folder / "cost.json").write_text(json.dumps(dict.fromkeys(ARMS, 0.125)))


def fake_runs(monkeypatch: pytest.MonkeyPatch, code: int, leaves: str) -> list[Path]:
    """Replace `trireid train` by something that leaves a file."""
    started: list[Path] = []

    def run(command: list[str], **given: Any) -> subprocess.CompletedProcess[bytes]:
        folder = Path(command[-1])
        started.append(folder)
        (folder / leaves).write_text("{}")
        given["stdout"].write("first line\nwhy it ended\n")
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr("research.experiment.subprocess.run", run)
    return started


def test_what_is_finished_or_in_other_hands_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path)
    started = fake_runs(monkeypatch, 0, "result.json")
    other = get_run_folder(tmp_path, "none", 1)
    other.mkdir(parents=True)
    with (other / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        run_experiment(tmp_path, ["full", "none"], 2, Study())
    assert started == [
        get_run_folder(tmp_path, arm, seed) for arm, seed in (("full", 0), ("none", 0), ("full", 1))
    ]
    run_experiment(tmp_path, ["full", "none"], 2, Study())
    assert started[3:] == [other]


def test_a_run_that_diverges_is_a_result_and_one_that_breaks_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path)
    started = fake_runs(monkeypatch, 1, "stopped.pt")
    run_experiment(tmp_path, ["full"], 1, Study())
    assert (get_run_folder(tmp_path, "full", 0) / "stopped.txt").read_text() == "why it ended\n"
    run_experiment(tmp_path, ["full"], 1, Study())
    assert len(started) == 1
    fake_runs(monkeypatch, 1, "other")
    with pytest.raises(TrireidError, match="failed with exit code 1: why it ended"):
        run_experiment(tmp_path, ["none"], 1, Study())


def write_run(folder: Path, arm: str, seed: int, score: float | None) -> None:
    """Write the files of a run that the report reads."""
    run = get_run_folder(folder, arm, seed)
    run.mkdir(parents=True)
    (run / "train.yml").write_text(yaml.safe_dump(make_common_settings(Study(), folder)))
    (run / "epochs.csv").write_text(
        "epoch,step,loss,accuracy_head,mAP_3\n1,16,2.5,0.25,\n4,64,1.5,0.5,60\n"
    )
    (run / "gradients.csv").write_text(
        f"epoch,path_tokens,path_mask,mask_share_backbone\n0,2,{1e8},1\n4,8,{1e6},0\n"
    )
    if score is None:
        (run / "stopped.txt").write_text("stopped at step 3: the loss is nan\n")
        return
    test = {f"{name}_{p}": score + p for name in ("mAP", "rank1") for p in (1, 2, 3)}
    result = {
        "best_epoch": 4,
        "test": test,
        "test_last": test,
        "seconds": 10.0,
        "peak_MB": 500,
        "skipped": 0.0,
        "final_scale": None,
    }
    (run / "result.json").write_text(json.dumps(result))


def test_the_report_says_what_the_runs_left(tmp_path: Path) -> None:
    write_run(tmp_path, "full", 0, 60)
    write_run(tmp_path, "full", 1, 64)
    write_run(tmp_path, "none", 0, None)
    write_run(tmp_path, "none", 1, 61.5)
    prepare(tmp_path)
    report = tmp_path / "report.md"
    report.write_text(
        "# Title\n\nwords before\n\n<!-- results -->\nold\n<!-- end of results -->\n\nwords after\n"
    )
    write_report(tmp_path, ["full", "none", "self"], 3, report, Study())
    text = report.read_text()
    assert text.startswith("# Title\n\nwords before\n\n<!-- results -->\n4 finished runs of 2 arms")
    assert text.endswith("<!-- end of results -->\n\nwords after\n")
    assert "old" not in text
    assert "| 0.125 | 500 ± 0 |" in text
    assert "| full | all scores carry gradient | 2 | 63.0 ± 2.8 / 63.0 ± 2.8 | 64.0 ± 2.8" in text
    assert "| none | scores detached | 2 | 62.5 / 62.5 |" in text
    assert "| full - none | 1 | +2.5 (+2.5) | +2.5 (+2.5) | +2.5 (+2.5) |" in text
    assert "stopped at step 3" in text
    assert "| 2.5 ± 0.0 / 25 ± 0 | 1.5 ± 0.0 / 50 ± 0 |" in text
    assert "| 4 | - | - | - | - | 1e+07 | 0.5 |" in text
    for name in ("scores", "curves", "gradients"):
        assert (tmp_path / f"report-{name}.png").stat().st_size > 5000


def test_results_outlive_the_folder_and_are_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study(name="other", results=tmp_path / "results" / "other.json")
    first, second, page = tmp_path / "first", tmp_path / "second", tmp_path / "page.md"
    write_run(first, "full", 0, 60)
    write_run(first, "none", 0, None)
    prepare(first)
    text = "# Title\n<!-- results -->\nwords\n<!-- end of results -->\n"
    page.write_text(text)
    write_report(first, ["none", "full"], 1, page, study)
    before = page.read_text()
    assert before.startswith(f"{text}\n<!-- results: other -->\n2 finished runs of 2 arms")
    second.mkdir()
    prepare(second)
    started = fake_runs(monkeypatch, 0, "result.json")
    run_experiment(second, ["none", "full"], 2, study)
    assert started == [get_run_folder(second, arm, 1) for arm in ("none", "full")]
    write_report(tmp_path / "third", ["none", "full"], 1, page, study)
    assert page.read_text() == before
    assert (tmp_path / "page-other-curves.png").exists()


def test_experiment_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert research.__main__.main(["--folder", str(tmp_path), "--arms", "full;half"]) == 2
    assert "--arms: there is no half" in capsys.readouterr().err
    assert research.__main__.main(["--folder", str(tmp_path), "--report-only"]) == 2
    assert "name the report's file with --report" in capsys.readouterr().err
    report = str(tmp_path / "report.md")
    assert (
        research.__main__.main(["--folder", str(tmp_path), "--report-only", "--report", report])
        == 2
    )
    assert "no run in it is finished" in capsys.readouterr().err
