"""What a terminal would act on, in names from elsewhere, is never printed raw."""

from __future__ import annotations

import logging
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import trireid.cli
from tests.conftest import encode_image
from trireid.gallery import Gallery
from trireid.inference import Embedder
from trireid.samples import Sample
from trireid.samples.printable import printable

HOSTILE = "a\x1b[2J\x1b]0;owned\x07\r\n\x9b31m\u202e\u2066\u200b\u2028\x7f"


@given(st.text())
def test_nothing_that_a_terminal_acts_on_is_left(text: str) -> None:
    shown = printable(text)
    assert all(unicodedata.category(each) not in ("Cc", "Cs", "Zl", "Zp") for each in shown)
    assert not set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f") & set(
        shown
    )
    assert shown.encode() is not None


@pytest.mark.parametrize(
    "text", ["Ann", "Jörg Müller", "李雷\u3000一", "می\u200cخواهم", "a\u00a0b", "👩\u200d🔬"]
)
def test_names_of_people_stay_as_they_are(text: str) -> None:
    assert printable(text) == text


def test_escapes_say_what_was_there() -> None:
    assert printable("\x1b[31m\n\u202e\ud800") == "\\x1b[31m\\n\\u202e\\ud800"


@pytest.fixture
def hostile(tmp_path: Path, embedder: Embedder) -> Path:
    folder = tmp_path / f"g{HOSTILE.replace('/', '')}.gallery"
    (tmp_path / f"{HOSTILE}.png").write_bytes(encode_image(1))
    with Gallery.open(folder, embedder) as gallery:
        known: dict[str, Any] = {"identity": f"who{HOSTILE}", "scene": HOSTILE, "purpose": HOSTILE}
        gallery.add(
            [
                Sample(
                    id=f"i{HOSTILE}",
                    rgb=tmp_path / f"{HOSTILE}.png",
                    attributes={HOSTILE: HOSTILE},
                    **known,
                )
            ]
        )
        gallery.add([Sample(id="j", rgb=encode_image(2), identity=HOSTILE)])
        gallery.remove(identity=HOSTILE)
    return folder


def test_no_command_prints_control_characters(
    hostile: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], artifact: Path
) -> None:
    manifest = tmp_path / f"{HOSTILE}.csv"
    manifest.write_text(
        f'rgb,kind\n"{HOSTILE}.png",person\n"gone{HOSTILE}.png",person\n', newline=""
    )
    query = ["--rgb", str(tmp_path / f"{HOSTILE}.png")]
    name = f"who{HOSTILE}"
    commands = [
        ["search", "--gallery", str(hostile), *query],
        ["search", "--gallery", str(hostile), *query, "--json"],
        ["search", "--gallery", str(hostile), "--rgb", f"gone{HOSTILE}"],
        ["gallery", "stats", str(hostile)],
        ["gallery", "find", str(hostile), "--identity", name],
        ["gallery", "find", str(hostile), "--identity", name, "--json"],
        ["gallery", "find", str(hostile), "--identity", f"nobody{HOSTILE}"],
        ["gallery", "audit", str(hostile)],
        ["gallery", "backup", str(hostile), "-o", str(tmp_path / f"b{HOSTILE}")],
        ["gallery", "export", str(hostile), "-o", str(tmp_path / f"o{HOSTILE}")],
        ["gallery", "export", str(hostile), "-o", str(hostile)],
        ["gallery", HOSTILE],
        ["index", str(manifest), "--gallery", str(hostile)],
        ["index", HOSTILE, "--gallery", str(hostile)],
        ["evaluate", str(manifest), "--model", str(artifact)],
        ["gallery", "check", str(hostile)],
        ["gallery", "remove", str(hostile), "--identity", name],
        ["gallery", "compact", str(hostile)],
    ]
    (tmp_path / f"{HOSTILE}.png").chmod(0o600)
    for command in commands:
        try:
            trireid.cli.main(command)
        except SystemExit as stopped:
            assert stopped.code == 2  # noqa: PT017
        out, err = capfd.readouterr()
        # those are the progress bar's
        for text in (out, err.replace("\r", "").replace("\x1b[A", "")):
            found = [
                each
                for each in text
                if unicodedata.category(each) in ("Cc", "Cf", "Zl", "Zp") and each != "\n"
            ]
            assert not found, (command[:2], text)
        assert "owned" not in out + err or "\\x07" in out + err or "\\u0007" in out + err


def test_warnings_are_printable(tmp_path: Path) -> None:
    assert trireid.cli.main(["gallery", "stats", str(tmp_path)]) == 2
    assert logging.lastResort is not None
    record = logging.LogRecord("x", logging.WARNING, "", 0, "%s", (HOSTILE,), None)
    assert logging.lastResort.format(record) == printable(HOSTILE)
