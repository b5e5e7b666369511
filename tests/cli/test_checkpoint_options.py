"""`--config`, `--opts` and `--weights`: a checkpoint on the command line, without an export."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import trireid.cli
from tests.conftest import GOLDENS, encode_image

CHECKPOINT, CONFIG = str(GOLDENS / "tiny_sdtps.pth"), str(GOLDENS / "tiny_sdtps.yml")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = trireid.cli.main(arguments)
    said = capsys.readouterr()
    return code, said.out + said.err


def test_a_checkpoint_fills_a_gallery_and_is_searched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, image = str(tmp_path / "g.gallery"), tmp_path / "a.png"
    image.write_bytes(encode_image(1))
    (tmp_path / "m.csv").write_text("rgb\na.png\n")
    index = ("index", str(tmp_path / "m.csv"), "--gallery", folder, "--model")
    code, said = run(capsys, *index, CHECKPOINT)
    assert (code, said.count("\n")) == (2, 1)
    assert "is a checkpoint; add its training configuration (--config YML)" in said
    assert not Path(folder).exists()
    both = tmp_path / "best.pth.tar"
    state = torch.load(CHECKPOINT)
    torch.save({"model": {key: value * 0 + 1 for key, value in state.items()}, "ema": state}, both)
    code, said = run(capsys, *index, str(both), "--config", CONFIG)
    assert code == 2
    assert "holds several sets of weights: model, ema" in said
    assert run(capsys, *index, str(both), "--config", CONFIG, "--weights", "ema")[0] == 0
    search = ("search", "--gallery", folder, "--rgb", str(image))
    assert "add its training configuration" in run(capsys, *search)[1]
    code, said = run(capsys, *search, "--config", CONFIG, "--weights", "ema", "--json")
    assert code == 0
    assert '"score": 1.0' in said or '"score": 0.99999' in said
    code, said = run(
        capsys, *search, "--config", CONFIG, "--weights", "ema", "--opts", "MODEL.SIE_COE", "2.0"
    )
    assert code == 2
    assert "was filled by network" in said  # the override made another network


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--config", CONFIG), "--config is for a checkpoint: name it, too (--model FILE)"),
        (
            ("--model", CHECKPOINT, "--opts", "MODEL.SIE_COE", "1"),
            "--opts changes a training configuration",
        ),
        (
            ("--model", CHECKPOINT, "--config", CONFIG, "--opts", "MODEL.SIE_COE"),
            "takes pairs of KEY VALUE",
        ),
        (
            ("--model", CHECKPOINT, "--config", CONFIG, "--opts", "MODEL.SIE_CO", "1"),
            "is MODEL.SIE_COE meant?",
        ),
        (("--model", CHECKPOINT, "--config", CONFIG, "--weights", "ema"), "has no weights 'ema'"),
    ],
)
def test_options_that_do_not_fit(
    options: tuple[str, ...], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = run(
        capsys, "index", "synthetic:person:2", "--gallery", str(tmp_path / "g.gallery"), *options
    )
    assert code == 2
    assert words in said


def test_they_are_of_checkpoints_only(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("evaluate", "synthetic:person:2", "--model", str(artifact), "--config", CONFIG)
    code, said = run(capsys, *command)
    assert code == 2
    assert f"--config is for a checkpoint, and {artifact} is not one" in said


def test_overrides_reach_export_and_verify(
    golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    off = ("--config", CONFIG, "--opts", "MODEL.USE_SDTPS", "False")
    code, said = run(capsys, "export", "onnx", CHECKPOINT, *off, "-o", str(tmp_path / "n.onnx"))
    assert code == 2
    assert "MODEL.USE_SDTPS: --opts says False, the checkpoint True" in said
    verify = ("verify", str(golden), "--against", CHECKPOINT, "--config", CONFIG)
    assert run(capsys, *verify)[0] == 0
    assert run(capsys, *verify, "--opts", "MODEL.SIE_COE", "3.0")[0] == 1
