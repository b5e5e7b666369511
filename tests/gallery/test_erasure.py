"""Erasure as a state: what happens to removed content while a reader is in the way, and where it
must not go.
"""

from __future__ import annotations

import os
import random
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.gallery.crash_worker import NoNetwork, embedding, indexed, item
from tests.gallery.test_durability import contents, filled, wait_until_erased
from trireid.cli.gallery import check_erased
from trireid.cli.output import Output
from trireid.gallery import Gallery
from trireid.gallery.scrubbing import scrub
from trireid.gallery.stats import stats
from trireid.gallery.store import FILE

GONE = [b"image of person 1", *(embedding(f"i{n}").tobytes() for n in range(40) if n % 4 == 1)]
READER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN")
database.execute("SELECT count(*) FROM items").fetchone()
print("reading", flush=True)
sys.stdin.read()
"""


@contextmanager
def reader(folder: Path) -> Iterator[None]:
    """Another process in the middle of a read transaction."""
    command = [sys.executable, "-c", READER, str(folder / FILE)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "reading\n"
        yield
        process.communicate()


def traces(folder: Path) -> int:
    return sum(any(each in content for each in GONE) for content in contents(folder))


def test_a_reader_in_the_way_delays_the_erasure_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "a.gallery"
    with filled(folder) as gallery:
        with reader(folder):
            begun = time.monotonic()
            assert gallery.remove(identity="person 1") == 10
            assert time.monotonic() - begun < 15  # 1 s on a quiet machine; it was 30
            assert gallery.erasure_pending
            assert traces(folder)
            assert gallery.add_items([item("new", "person 7")]) == ["new"]
            assert stats(folder)["erasure_pending"]
            assert "a reader is in the way" in caplog.text
            # it is the gallery's state, not a process's
            with Gallery.open(folder, NoNetwork()) as other:
                assert other.erasure_pending
        wait_until_erased(gallery)  # without being asked
        assert not traces(folder)
        assert not stats(folder)["erasure_pending"]


def test_another_process_finishes_what_one_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trireid.gallery.maintenance._IDLE", 0.05)
    folder = tmp_path / "a.gallery"
    with filled(folder) as watching:
        with reader(folder):
            with Gallery.open(folder, NoNetwork()) as gallery:
                assert gallery.remove(identity="person 1") == 10
            assert watching.erasure_pending
        wait_until_erased(watching)
        assert not traces(folder)


def test_what_is_replaced_is_erased_as_what_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "a.gallery"
    with filled(folder) as gallery:
        assert gallery.save_index()
        gallery.add_items(
            [item(f"i{n}", "person 5", mark=f"i{n}@again") for n in range(40) if n % 4 == 1]
        )
        wait_until_erased(gallery)
        assert not any(b"image of person 1" in content for content in contents(folder))
        with reader(folder):
            gallery.add_items([item("i5", "person 5")])
            assert gallery.erasure_pending
        wait_until_erased(gallery)
        assert not any(b"i5@again" in content for content in contents(folder))


def test_the_command_line_says_that_an_erasure_is_pending(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a.gallery"
    with filled(folder) as gallery, reader(folder):
        gallery.remove(identity="person 1")
        assert check_erased(folder, Output()) == 1
        assert "a reader is in the way" in capsys.readouterr().err
    assert check_erased(folder, Output()) == 0


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of that many bytes; the test is passed over where none can be mounted."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


CARE = """
import sys
from trireid.gallery import Gallery
from tests.gallery.crash_worker import NoNetwork
with Gallery.open(sys.argv[1], NoNetwork()) as gallery:
    print(gallery.remove(identity="person 1"))
    gallery.compact()
    assert not gallery.erasure_pending
"""


def test_nothing_of_a_gallery_is_written_to_the_folder_for_temporary_files(tmp_path: Path) -> None:
    """Where that folder is smaller than what is removed and compacted, both work: neither uses it."""
    folder = tmp_path / "a.gallery"
    with Gallery.open(folder, NoNetwork()) as gallery:
        gallery.add_items(
            [item(f"i{n}", f"person {n % 4}", mark="x" * 20_000 + f"@{n}") for n in range(80)]
        )
    before = (folder / FILE).stat().st_size
    with small_disk(tmp_path / "tmp", "256k") as temporary:
        environment = {**os.environ, "TMPDIR": str(temporary)}
        command = [sys.executable, "-c", CARE, str(folder)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "20\n"), done.stderr
    assert (folder / FILE).stat().st_size < 0.8 * before


def test_a_store_that_was_made_before_is_cleared_once(tmp_path: Path) -> None:
    folder = tmp_path / "a.gallery"
    with filled(folder) as gallery:
        assert gallery.save_index()
    database = sqlite3.connect(folder / FILE)
    database.execute("DELETE FROM meta WHERE name = 'erased'")
    database.commit()
    database.close()
    with Gallery.open(folder, NoNetwork()) as gallery:
        assert not gallery.live_index().is_restored
        assert not gallery.erasure_pending


def test_no_copy_stays_where_rows_were_moved_between_pages(tmp_path: Path) -> None:
    """SQLite leaves copies of moved index entries in unused parts of pages, which outlive the rows."""
    folder, draw, live = tmp_path / "a.gallery", random.Random(12), set[str]()
    with Gallery.open(folder, NoNetwork()) as gallery:
        for turn in range(4):
            names = [f"{turn}-{number}" for number in range(100)]
            new = [
                item(f"i{name}", f"{draw.randint(0, 9)} name<{name}> {'x' * 200}") for name in names
            ]
            gallery.add_items(
                [
                    replace(each, digest=f"{draw.random()} digest<{name}>")
                    for each, name in zip(new, names, strict=True)
                ]
            )
            live |= set(names)
            gone = draw.sample(sorted(live), 50)
            live -= set(gone)
            gallery.remove(ids=[f"i{name}" for name in gone])
            wait_until_erased(gallery)
            found = {
                name.decode()
                for content in contents(folder)
                for name in re.findall(rb"(?:name|digest)<([\d-]+)>", content)
            }
            assert found == live
        assert gallery._reader.run("PRAGMA integrity_check") == [("ok",)]
        assert indexed(gallery) == len(live)


def test_answers_do_not_wait_while_a_large_store_is_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_clearing, may_end = threading.Event(), threading.Event()

    def clear(file: Path) -> int:
        is_clearing.set()
        assert may_end.wait(60)
        return scrub(file)

    monkeypatch.setattr("trireid.gallery.scrubbing._SEGMENT", 4096)
    monkeypatch.setattr("trireid.gallery.erasure.scrub", clear)
    with filled(tmp_path / "a.gallery") as gallery, ThreadPoolExecutor(1) as pool:
        assert gallery.remove(identity="person 1") == 10
        assert is_clearing.wait(30)
        try:
            answer = pool.submit(
                lambda: (
                    gallery.erasure_pending,
                    gallery.remove(identity="person 2"),
                    gallery.erasure_pending,
                )
            )
            assert answer.result(30) == (True, 10, True)
        finally:
            may_end.set()
        wait_until_erased(gallery)
        assert not traces(tmp_path / "a.gallery")


def test_a_store_that_is_a_link_is_cleared_where_it_leads(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "a.gallery", tmp_path / "disk"
    filled(folder).close()
    elsewhere.mkdir()
    (folder / FILE).rename(elsewhere / FILE)
    (folder / FILE).symlink_to(elsewhere / FILE)
    with Gallery.open(folder, NoNetwork()) as gallery:
        assert gallery.remove(identity="person 1") == 10
        wait_until_erased(gallery)
        assert not traces(elsewhere)


def test_a_large_store_is_cleared_after_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trireid.gallery.scrubbing._SEGMENT", 4096)
    folder = tmp_path / "a.gallery"
    with filled(folder) as gallery:
        assert gallery.remove(identity="person 1") == 10
        wait_until_erased(gallery)
        assert not traces(folder)
        assert gallery._reader.run("PRAGMA integrity_check") == [("ok",)]
    with filled(folder) as gallery:
        gallery.remove(identity="person 1")
    assert not stats(folder)["erasure_pending"]  # closing waits for it
