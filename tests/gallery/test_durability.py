"""Killed at any moment: nothing acknowledged is lost, nothing removed comes back, and the next
opening needs no hand.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import ROOT
from tests.gallery.crash_worker import (
    MARK,
    POINTS,
    NoNetwork,
    State,
    after,
    embedding,
    indexed,
    item,
    nearest,
)
from trireid.gallery import Gallery
from trireid.gallery.actor import current_actor
from trireid.gallery.index import VectorIndex, serialization
from trireid.gallery.index_cache import INDEX_CACHE
from trireid.gallery.store import FILE

#: How often the process is killed: TRIREID_KILLS=200 for the long run.
KILLS = int(os.environ.get("TRIREID_KILLS", "30"))


@pytest.fixture
def killer() -> Iterator[subprocess.Popen[str]]:
    """The process that forks and kills."""
    command = [sys.executable, "-m", "tests.gallery.crash_worker"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def test_kill_minus_nine(tmp_path: Path, killer: subprocess.Popen[str]) -> None:
    folder, log = tmp_path / "people.gallery", tmp_path / "log"
    Gallery.open(folder, NoNetwork()).close()
    assert killer.stdin is not None
    assert killer.stdout is not None
    draw, state, seen, done, timeout = random.Random(0), State(), 0, 0, 1.0
    marks: set[str] = set()  # of all that the gallery was ever known to hold
    for number in range(KILLS):
        # on a slow machine it lives longer
        timeout = max(1.0, 0.8 * timeout) if done > number else 1.5 * timeout
        killer.stdin.write(f"{folder} {log} {number} {timeout * draw.uniform(0.02, 0.4):.3f}\n")
        killer.stdin.flush()
        assert killer.stdout.readline() == "killed\n"
        lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        sure, maybe = state, None
        for line in lines[seen:]:
            maybe = line.get("about")
            if "done" in line:
                sure, maybe = after(sure, line["done"]), None
                marks |= marks_of(sure)
                done += 1
        seen = len(lines)
        state = checked(folder, sure, sure if maybe is None else after(sure, maybe))
        marks |= marks_of(state)
        # nothing that was removed or replaced is in any file
        assert marks_in(folder) & marks <= marks_of(state)
    assert done > KILLS / 2  # the process got somewhere between kills


def checked(folder: Path, sure: State, possible: State) -> State:
    """The gallery's state, which must be the one that is sure, or with the last step wholly done."""
    with Gallery.open(folder, NoNetwork()) as gallery:
        ids = gallery.ids()
        state = next((each for each in (possible, sure) if each.keys() == ids), None)
        assert state is not None, (ids ^ sure.keys(), ids ^ possible.keys())
        assert indexed(gallery) == len(gallery) == len(ids)
        for id_ in random.Random(len(ids)).sample(sorted(ids), min(len(ids), 5)):
            ((score, known),) = nearest(gallery, id_)
            assert (known.id, known.identity) == (id_, state[id_][0])
            assert score == pytest.approx(1, abs=1e-5)
        wait_until_erased(gallery)
    return state


def marks_of(state: State) -> set[str]:
    return {mark for _, mark in state.values()}


def marks_in(folder: Path) -> set[str]:
    return {mark.decode() for content in contents(folder) for mark in MARK.findall(content)}


def wait_until_erased(gallery: Gallery) -> None:
    """At most until the processes that a killed one has left have ended."""
    until = time.monotonic() + 60
    while gallery.erasure_pending:
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_of_an_erasure_the_next_opening_finishes_it(
    tmp_path: Path, killer: subprocess.Popen[str], point: str
) -> None:
    folder = tmp_path / "people.gallery"
    wanted = [
        b"image of person 1",
        *(embedding(f"i{n}").tobytes() for n in range(40) if n % 4 == 1),
    ]
    filled(folder).close()
    assert killer.stdin is not None
    assert killer.stdout is not None
    killer.stdin.write(f"{folder} {point}\n")
    killer.stdin.flush()
    assert killer.stdout.readline() == "killed\n"
    left = [
        path.name for path in folder.iterdir() if any(each in path.read_bytes() for each in wanted)
    ]
    assert bool(left) == (point != "log-emptied")
    with Gallery.open(folder, NoNetwork()) as gallery:
        wait_until_erased(gallery)
        assert indexed(gallery) == (40 if point == "replaced" else 30)
        assert not [
            path.name
            for path in folder.iterdir()
            if any(each in path.read_bytes() for each in wanted)
        ]


def filled(folder: Path, count: int = 40) -> Gallery:
    gallery = Gallery.open(folder, NoNetwork())
    gallery.add_items([item(f"i{n}", f"person {n % 4}") for n in range(count)])
    return gallery


@pytest.mark.parametrize("damage", ["torn", "flipped", "foreign", "empty", "another gallery's"])
def test_an_index_file_that_cannot_be_used_is_rebuilt(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    with filled(tmp_path / "a.gallery") as gallery:
        assert gallery.save_index()
    path = tmp_path / "a.gallery" / INDEX_CACHE
    content = path.read_bytes()
    if damage == "another gallery's":
        with filled(tmp_path / "b.gallery", 30) as other:
            assert other.save_index()
        content = (tmp_path / "b.gallery" / INDEX_CACHE).read_bytes()
    changed = {
        "torn": content[: len(content) // 2],
        "flipped": content[:300] + bytes([content[300] ^ 1]) + content[301:],
        "foreign": b"an index of another kind",
        "empty": b"",
        "another gallery's": content,
    }
    path.write_bytes(changed[damage])
    with Gallery.open(tmp_path / "a.gallery", NoNetwork()) as gallery:
        assert not gallery.live_index().is_restored
        assert indexed(gallery) == 40
    assert "the index rebuilt" in caplog.text


def test_a_snapshot_saves_building_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with filled(tmp_path / "a.gallery") as gallery:
        assert gallery.save_index()
        gallery.add_items([item("late", "person 9")])
        gallery.remove(ids=[])
    given: list[int] = []
    add = VectorIndex.add

    def counted(self: VectorIndex, keys: NDArray[np.int64], *arguments: Any) -> None:
        given.append(len(keys))
        add(self, keys, *arguments)

    monkeypatch.setattr(VectorIndex, "add", counted)
    with Gallery.open(tmp_path / "a.gallery", NoNetwork()) as gallery:
        assert gallery.live_index().is_restored
        assert given == [1]  # only what came after it
        assert indexed(gallery) == 41


def test_what_is_erased_stays_in_no_file(tmp_path: Path) -> None:
    folder = tmp_path / "a.gallery"
    with filled(folder) as gallery:
        assert gallery.save_index()
        wanted = [embedding(f"i{n}").tobytes() for n in range(40) if n % 4 == 1]
        assert all(any(vector in content for content in contents(folder)) for vector in wanted)
        assert gallery.remove(identity="person 1") == 10
        for content in contents(folder):
            assert not any(vector in content for vector in wanted)
            assert b"image of person 1" not in content
        (line,) = gallery.audit()
        assert line[1:] == (
            "remove",
            {"identity": "person 1", "removed": 10, "by": current_actor()},
        )
        assert gallery.save_index()
    for content in contents(folder):
        assert not any(vector in content for vector in wanted)


SAVING = """
import os, signal, sys
from trireid.gallery import Gallery
from tests.gallery.crash_worker import NoNetwork
gallery = Gallery.open(sys.argv[1], NoNetwork())
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
gallery.save_index()
"""


def test_what_is_erased_leaves_no_trace_beside_killed_and_searching_processes(
    tmp_path: Path,
) -> None:
    """Drafts that a killed process left of a snapshot, the log while others read on, thumbnails,
    free pages.
    """
    folder, over, errors = tmp_path / "a.gallery", threading.Event(), list[str]()
    wanted = [
        b"image of person 1",
        *(embedding(f"i{n}").tobytes() for n in range(40) if n % 4 == 1),
    ]
    with filled(folder) as gallery, Gallery.open(folder, NoNetwork()) as other:
        killed = subprocess.run([sys.executable, "-c", SAVING, str(folder)], cwd=ROOT)
        assert killed.returncode == -signal.SIGKILL
        assert any(
            wanted[1] in path.read_bytes() for path in folder.iterdir() if INDEX_CACHE in path.name
        )

        def search() -> None:
            while not over.is_set():
                errors.extend(["lost"] if len(nearest(other, "i0", 40)) not in (30, 40) else [])

        searching = threading.Thread(target=search)
        searching.start()
        try:
            assert gallery.remove(identity="person 1") == 10
            assert not [
                path.name
                for path in folder.rglob("*")
                if any(each in path.read_bytes() for each in wanted)
            ]
        finally:
            over.set()
            searching.join()
    assert errors == []


def contents(folder: Path) -> list[bytes]:
    """Every file, read by other processes: a file that this one closes takes the locks of its open
    galleries with it.
    """
    return [
        subprocess.run(["cat", str(path)], capture_output=True).stdout
        for path in folder.rglob("*")
        if path.is_file()
    ]


def test_a_snapshot_that_a_removal_overtook_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process removes while this one writes the file: the removed vector must not come back
    to the disk.
    """
    folder = tmp_path / "a.gallery"
    with filled(folder) as gallery, Gallery.open(folder, NoNetwork()) as other:
        save = serialization.save

        def save_early(*arguments: Any) -> None:
            save(*arguments)
            other.remove(ids=["i1"])

        monkeypatch.setattr(serialization, "save", save_early)
        assert not gallery.save_index()
    assert [path.name for path in folder.iterdir() if INDEX_CACHE in path.name] == []


def test_compacting_gives_space_back_and_others_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "a.gallery"
    with filled(folder, 400) as gallery, Gallery.open(folder, NoNetwork()) as other:
        assert indexed(other) == 400
        gallery.remove(identity="person 2")
        before = (folder / FILE).stat().st_size
        gallery.compact()
        assert (folder / FILE).stat().st_size < 0.9 * before
        gallery.add_items([item("new", "person 7")])
        # the other has not seen what was removed, and reads everything again
        assert indexed(other) == 301
        assert gallery._reader.run("SELECT count(*) FROM removals") == [(0,)]
        gallery.add_items([item("newer", "person 7")])
        assert indexed(other) == indexed(gallery) == 302


def test_vectors_may_be_held_smaller(tmp_path: Path) -> None:
    folder = tmp_path / "a.gallery"
    with Gallery.open(folder, NoNetwork(), memory="float16") as gallery:
        gallery.add_items([item(f"i{n}", "x") for n in range(200)])
        scores = [score for score, _ in nearest(gallery, "i7", 3)]
        truth = np.sort([embedding("i7") @ embedding(f"i{n}") for n in range(200)])[::-1][:3]
        assert np.allclose(scores, truth, atol=1e-6)  # rescored with the store's embeddings
    with Gallery.open(folder, NoNetwork()) as gallery:
        assert gallery.settings.quantization == "float16"  # remembered
