"""A run that is killed goes on to the same weights and the same logs, to the bit."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT
from tests.training.conftest import Changed
from trireid.models.files import read_weights
from trireid.models.sdtps import Gumbel
from trireid.training.data import Data
from trireid.training.loop import Training, prepare_training
from trireid.training.settings import read_settings


def trireid_train(config: Path, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "trireid", "train", str(config), "--folder", str(folder)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def timeless(path: Path) -> list[dict[str, str]]:
    """A log without its columns of seconds."""
    with path.open(newline="") as file:
        return [
            {name: value for name, value in row.items() if not name.endswith("seconds")}
            for row in csv.DictReader(file)
        ]


def wait_for_rows(process: subprocess.Popen[bytes], log: Path, rows: int) -> None:
    deadline = time.monotonic() + 120
    while not log.exists() or log.read_text().count("\n") <= rows:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "the run does not get anywhere"
        time.sleep(0.01)


def same_run(one: Path, two: Path) -> None:
    for name in ("best.pth", "last.pth"):
        weights = read_weights(one / name), read_weights(two / name)
        assert weights[0].keys() == weights[1].keys()
        for key, value in weights[0].items():
            assert torch.equal(value, weights[1][key]), (name, key)
    for name in ("log.csv", "epochs.csv", "gradients.csv"):
        assert timeless(one / name) == timeless(two / name), name


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_bit(run_yaml: Path, tmp_path: Path) -> None:
    """Twice `kill -9`, at no particular place, against an uninterrupted run; noise and dropped
    modalities are on.
    """
    run_yaml.write_text(run_yaml.read_text().replace("epochs: 20", "epochs: 12"))
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    prepare_training(read_settings(run_yaml), straight).run()
    for rows in (8, 19):
        process = trireid_train(run_yaml, broken)
        wait_for_rows(process, broken / "log.csv", rows)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
    assert not (broken / "result.json").exists()
    assert trireid_train(run_yaml, broken).wait(300) == 0
    same_run(straight, broken)


@pytest.fixture(scope="module")
def straight(changed: Changed, data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("straight")
    Training(changed(sdtps={"gumbel": Gumbel.ON}), data, folder).run()
    return folder


@pytest.mark.parametrize("stop", [1, 5, 6, 9, 11])
def test_any_step_is_a_place_to_be_stopped_at(
    stop: int, straight: Path, changed: Changed, data: Data, tmp_path: Path
) -> None:
    """Within an epoch and at its end, just after a save and just before one."""
    settings = changed(sdtps={"gumbel": Gumbel.ON})
    broken = Training(settings, data, tmp_path / "broken")
    broken._diagnose(0)
    while broken.step < stop:
        broken._record(broken.take_step())
    Training(settings, data, tmp_path / "broken").run()
    same_run(straight, tmp_path / "broken")


def test_a_save_of_version_0_1_is_resumed(
    straight: Path, changed: Changed, data: Data, tmp_path: Path
) -> None:
    settings = changed(sdtps={"gumbel": Gumbel.ON})
    broken = Training(settings, data, tmp_path)
    broken._diagnose(0)
    while broken.step < 5:
        broken._record(broken.take_step())
    state = torch.load(tmp_path / "resume.pt", weights_only=True)
    names = {"optimizer.lr": "optimiser.rate", "pretrained": "start"}
    run = {names.get(key, key): value for key, value in state.pop("run").items()}
    state |= {"branches": state.pop("loss_heads"), "optimiser": state.pop("optimizer")}
    torch.save({**state, "made of": run}, tmp_path / "resume.pt")
    Training(settings, data, tmp_path).run()
    same_run(straight, tmp_path)


def test_a_line_that_a_kill_cut_short_is_dropped(
    changed: Changed, data: Data, tmp_path: Path
) -> None:
    settings = changed(logging={"save_every": 12})
    Training(settings, data, tmp_path).run()
    (tmp_path / "resume.pt").unlink()
    whole = (tmp_path / "log.csv").read_text()
    (tmp_path / "log.csv").write_text(whole[: len(whole) // 2])
    Training(settings, data, tmp_path).run()
    assert [row["step"] for row in timeless(tmp_path / "log.csv")] == [str(i) for i in range(1, 13)]


def test_a_finished_run_is_left_as_it_is(changed: Changed, data: Data, tmp_path: Path) -> None:
    settings = changed(schedule={"epochs": 1})
    Training(settings, data, tmp_path).run()
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.csv")}
    Training(settings, data, tmp_path).run()
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.csv")} == before
