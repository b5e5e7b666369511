"""The face of the command line: help, the options of every command, errors of usage, quiet ends."""

from __future__ import annotations

import json
import os
import pty
import resource
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest
import typer

import trireid.cli
from tests.conftest import ROOT, encode_image
from trireid.cli.app import COMMANDS, load_app
from trireid.cli.fields import name_option
from trireid.gallery import Gallery, SearchParams
from trireid.inference import Embedder
from trireid.samples import Sample
from trireid.serving.settings import ServerSettings, name_variable

HEAVY = ("torch", "onnxruntime", "faiss", "bentoml", "numpy", "pydantic", "rich")
PROGRAM = [sys.executable, "-m", "trireid"]


def list_commands() -> list[tuple[str, ...]]:
    """The names of every command, with those of its group."""
    app = load_app()
    names: list[tuple[str, ...]] = []
    for name in COMMANDS:
        command = app.get_command(None, name)
        parts = getattr(command, "commands", None)
        names += [(name, part) for part in parts] if parts else [(name,)]
    return names


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*PROGRAM, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False
    )


def fail(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run what is wrong; returns its line."""
    with pytest.raises(SystemExit, match="2"):
        trireid.cli.main(arguments)
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return str(err)


@pytest.fixture
def gallery(tmp_path: Path, embedder: Embedder) -> Path:
    with Gallery.open(tmp_path / "a.gallery", embedder) as opened:
        opened.add([Sample(id=f"i{n}", rgb=encode_image(n), identity=f"p{n}") for n in range(3)])
    return tmp_path / "a.gallery"


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = f"""
import sys, trireid.cli
try: trireid.cli.main(["--help"])
finally: print(*(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stderr.strip() == ""
    assert all(f"  {name} " in done.stdout for name in COMMANDS)
    assert min(measure_help() for _ in range(5)) < 0.25


def measure_help() -> float:
    """Seconds of a processor that `trireid --help` takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run("--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_every_command_has_help_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    for names in list_commands():
        assert trireid.cli.main([*names, "-h"]) == 0
        out = capsys.readouterr().out
        assert "  --json " in out, names


def test_flags_are_taken_before_and_after_a_command(
    gallery: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["-q", "gallery", "check"], ["gallery", "check", "-q"]):
        assert trireid.cli.main([*arguments, str(gallery), "--json"]) == 0
        out, err = capfd.readouterr()
        assert json.loads(out)["items"] == 3
        assert err == ""


def test_verbose_shows_where_an_error_arose(tmp_path: Path) -> None:
    done = run("gallery", "stats", tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "Traceback" in run("-v", "gallery", "stats", tmp_path).stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serch"], "trireid: invalid choice: 'serch' (did you mean search?)"),
        (["gallery", "stat"], "trireid gallery: invalid choice: 'stat' (did you mean stats"),
        (["galery"], "did you mean gallery?"),
        (["frobnicate"], "choose from export, verify"),
        (["gallery"], "trireid gallery: the following arguments are required: COMMAND"),
        (["search", "--galery", "x"], "unrecognized arguments: --galery; did you mean --gallery?"),
        (["index", "x"], "trireid index: the following arguments are required: --gallery"),
        (["index", "--gallery", "x"], "the following arguments are required: SOURCE"),
        (["search", "-k"], "trireid search: Option '-k' requires an argument"),
        (["index", "x", "--recall", "high"], "argument --recall: invalid float value: 'high'"),
        (["index", "x", "--threads", "0"], "argument --threads: must be at least 1, not 0"),
        (["index", "x", "--gallery", "y", "--kind", "cat"], "'cat' is not one of 'person', "),
        (["gallery", "remove", "x", "--id"], "Option '--id' requires an argument"),
        (["gallery", "remove", "x", "--id", "a", "--expired"], "give one of --id, --identity"),
        (["gallery", "set", "x", "--keep-days", "soon"], "must be days or none, not 'soon'"),
        (["export", "onnx", "x", "-o", "y"], "arguments are required: --config"),
        (["experiment", "--folder", "x"], "run python -m research in the repository"),
        (["search", "--\x1b[31mred"], "--\\x1b[31mred"),
        (["\x1b[31mred"], "\\x1b[31mred"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = fail(capsys, *arguments)
    assert words in line
    assert line.startswith("trireid")
    assert line.endswith("--help)\n")


def test_markup_in_names_is_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "[bold]x[/]"
    assert trireid.cli.main(["gallery", "stats", str(folder)]) == 2
    assert "[bold]x[/]" in capsys.readouterr().err


def test_a_table_shows_markup_and_long_ids_as_they_are(
    tmp_path: Path, embedder: Embedder, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "q.png").write_bytes(encode_image(1))
    long = "long" * 200
    with Gallery.open(tmp_path / "a.gallery", embedder) as opened:
        opened.add([Sample(id=long, rgb=encode_image(1), identity="[red]Ann[/red]\x1b[0m")])
    assert (
        trireid.cli.main(
            ["search", "--gallery", str(tmp_path / "a.gallery"), "--rgb", str(tmp_path / "q.png")]
        )
        == 0
    )
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["rank", "score", "prob.", "identity", "camera", "id"]
    assert row.split()[3:] == ["[red]Ann[/red]\\x1b[0m", "-", long]


def test_several_values_follow_one_option(
    gallery: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    remove = ["gallery", "remove", "--dry-run", "--json"]
    for ids in (["--id", "i0", "i2"], ["--id", "i0", "--id=i2"], ["--id", "i0", "i2", "-q"]):
        assert trireid.cli.main([*remove, str(gallery), *ids]) == 0
        assert json.loads(capsys.readouterr().out)["ids"] == ["i0", "i2"]


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (["stats"], ["items"]),
        (["check"], ["gallery", "items", "readable", "errors"]),
        (["compact"], ["gallery", "items"]),
        (["audit"], ["audit"]),
        (["find", "--identity", "p1"], ["items", "audit"]),
        (["set", "--keep-days", "none"], ["gallery", "keep_days"]),
        (["remove", "--identity", "p1"], ["gallery", "removed", "items"]),
        (["backup", "-o", "OUT"], ["backup", "items"]),
        (["export", "-o", "OUT"], ["manifest", "items", "not_copied"]),
    ],
    ids=str,
)
def test_json_is_all_that_stdout_holds(
    arguments: list[str],
    keys: list[str],
    gallery: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    given = [str(tmp_path / "out") if each == "OUT" else each for each in arguments]
    trireid.cli.main(["gallery", given[0], str(gallery), *given[1:], "--json"])
    assert set(keys) <= set(json.loads(capfd.readouterr().out))


def test_progress_is_for_terminals(gallery: Path, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(encode_image(5))
    (tmp_path / "m.csv").write_text("rgb\nx.png\n")
    index = ["index", str(tmp_path / "m.csv"), "--gallery", str(gallery)]
    assert run(*index).stderr == ""
    assert "sample" in run_in_terminal(*index)
    assert run_in_terminal(*index, "-q") == ""


def run_in_terminal(*arguments: str) -> str:
    """Return the text that a command writes to a standard error that is a terminal."""
    environment = {name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"}
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 120))
    subprocess.run(
        [*PROGRAM, *arguments],
        stderr=follower,
        stdout=subprocess.DEVNULL,
        cwd=ROOT,
        env=environment,
        timeout=60,
        check=True,
    )
    os.close(follower)
    text = b""
    try:
        while part := os.read(leader, 65536):
            text += part
    except OSError:  # a terminal that is closed on the other side
        pass
    os.close(leader)
    return text.decode()


def test_ctrl_c_is_one_line_and_130(tmp_path: Path, embedder: Embedder) -> None:
    pipe = tmp_path / "m.csv"
    (tmp_path / "x.png").write_bytes(encode_image(5))
    pipe.write_text("rgb\n" + "x.png\n" * 50_000)
    model = ["--model", str(embedder.path)]
    process = subprocess.Popen(
        [*PROGRAM, "index", str(pipe), "--gallery", str(tmp_path / "g.gallery"), *model],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        # a shell's background job, as this test may be, ignores it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "g.gallery" / "gallery.db").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "trireid: stopped\n")


@pytest.mark.parametrize("arguments", [["--help"], ["gallery", "find", "--identity", "p1"]])
def test_a_reader_that_leaves_is_no_error(gallery: Path, arguments: list[str]) -> None:
    folder = [str(gallery)] if "gallery" in arguments else []
    process: subprocess.Popen[Any] = subprocess.Popen(
        [*PROGRAM, *arguments, *folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 1


def test_completion_knows_commands_and_options() -> None:
    for words, expected in {"trireid se": "search", "trireid gallery exp": "export"}.items():
        environment = {
            **os.environ,
            "_TRIREID_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        }
        done = subprocess.run(
            PROGRAM, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        assert expected in done.stdout.split(), done.stderr
    assert "--install-completion" in run("--help").stdout


def test_a_field_of_search_params_is_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    trireid.cli.main(["search", "--help"])
    words = capsys.readouterr().out.split()
    assert {name_option(name) for name in SearchParams.model_fields} <= set(words)
    assert trireid.cli.main(["search", "--min-score", "2"]) == 2
    line = capsys.readouterr().err
    assert line == "trireid: --min-score: must be a number from -1 to 1, not 2\n"


def test_a_field_of_the_server_settings_is_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    trireid.cli.main(["serve", "--help"])
    out = " ".join(capsys.readouterr().out.split())
    for name in set(ServerSettings.model_fields) - {"galleries", "tokens"}:
        assert f" {name_option(name)} " in out, name
        assert f"{name_variable(name)})" in out, name
    assert "GALLERIES" in out
    assert "--tokens " not in out  # a secret: other users see a command's options
    assert trireid.cli.main(["serve", "--workers", "many"]) == 2
    assert capsys.readouterr().err.startswith("trireid: --workers: must be a whole number, ")


def test_an_error_of_typer_that_is_new_is_still_one_line() -> None:
    from trireid.cli.usage import describe_usage_error

    assert describe_usage_error(typer.TyperException("x.")) == "trireid: x (see trireid --help)"
