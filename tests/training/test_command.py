"""The commands: unusable input gets one line and exit code 2, a run that stops itself 1."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import trireid.cli
from trireid.models import load_checkpoint
from trireid.training.data import list_not_used
from trireid.training.settings import DataSettings

LINES = {
    "optimizer: {backbone_l: 1}": "optimizer.backbone_l: unknown key; is backbone_lr meant?",
    "batch: {identities: 2, samples: 4, size: 12}": "12 is not a multiple of 2 identities x 4",
    "batch: {identities: 2, samples: 9}": "fewer than batch.samples = 9",
    "batch: {identities: 7, samples: 4}": "6 identities are left to train on, and a batch takes 7",
    "data: {source: 'synthetic:person:1', validation_identities: 2}": "has 1 identity",
    "data: {source: 'nowhere'}": "not a SOURCE",
    "pretrained: nowhere.pth": "nowhere.pth: does not exist",
    "runtime: {device: cuda}": "runtime.device: cuda, but PyTorch finds no GPU here",
    "network: {image_size: [64, 32], width: 64, depth: 1, cameras: 3}": "network.cameras: 3, but",
}


@pytest.mark.parametrize(("section", "line"), LINES.items())
def test_bad_input_is_said_before_the_first_epoch(
    section: str, line: str, run_yaml: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = section.partition(":")[0]
    kept = [old for old in run_yaml.read_text().splitlines() if not old.startswith(f"{key}:")]
    run_yaml.write_text("\n".join([*kept, section]))
    assert trireid.cli.main(["train", str(run_yaml), "--folder", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("trireid: ")
    assert line in said
    assert not (tmp_path / "run" / "log.csv").exists()


def test_train_then_diagnose(
    run_yaml: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_yaml.write_text(
        run_yaml.read_text().replace("epochs: 20, warmup_epochs: 2", "epochs: 1, warmup_epochs: 0")
    )
    assert trireid.cli.main(["train", str(run_yaml)]) == 0
    best = tmp_path / "runs" / "run" / "best.pth"
    assert capsys.readouterr().out.startswith(f"{best}: epoch 1, validation mAP ")
    assert load_checkpoint(best, best.with_suffix(".yml")).config.depth == 1
    assert trireid.cli.main(["train", str(run_yaml), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["checkpoint"] == str(best)
    assert trireid.cli.main(["diagnose", str(best), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["errors"] == []
    run_yaml.write_text(run_yaml.read_text().replace("gumbel: on", "gumbel: published"))
    assert trireid.cli.main(["diagnose", str(run_yaml)]) == 1
    assert "error: the gradient through the" in capsys.readouterr().out


def test_a_run_that_diverges_exits_with_1(
    run_yaml: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_yaml.write_text(run_yaml.read_text().replace("logging: {", "logging: {loss_limit: 0.1, "))
    assert trireid.cli.main(["train", str(run_yaml)]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("trireid: stopped at step 0: the loss is ")
    assert (tmp_path / "runs" / "run" / "stopped.pt").exists()


def test_what_training_passes_over_is_listed(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(
        "rgb,identity,role,shade\na.png,1,train,red\nb.png,2,junk,\nc.png,2,query,\n"
    )
    found = list_not_used(DataSettings(source=str(tmp_path / "m.csv")))
    assert {each.what: each.count for each in found} == {
        "columns kept as attributes": 1,
        "rows of role junk": 1,
        "rows of role query": 1,
    }
