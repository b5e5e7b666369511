"""Indexing at scale: nothing is read, decoded or embedded twice, memory is bounded, and an
interruption loses little.
"""

from __future__ import annotations

import io
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from tests.conftest import ROOT, encode_image, make_sample
from trireid.gallery import Gallery, IndexReport, index_source, indexing, ingest
from trireid.gallery.images import thumbnail
from trireid.gallery.indexing import BATCH
from trireid.gallery.prefetch import Prefetch
from trireid.gallery.reembedding import reembed
from trireid.inference import Embedder
from trireid.samples import GalleryError, Sample, SourceError
from trireid.samples.budget import Allowance
from trireid.samples.containers import Container
from trireid.samples.rendering import render
from trireid.samples.source import Entry, Source
from trireid.samples.sources import open_source

_TIMEOUT = 60.0
_opened: list[str] = []


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str) and arguments[0].endswith(".png"):
        _opened.append(arguments[0])


sys.addaudithook(_hear)


def source_of(samples: Sequence[Sample | Exception]) -> Source:
    def entries() -> Iterator[Entry]:
        for number, sample in enumerate(samples):
            if isinstance(sample, SourceError):
                yield Entry(f"place {number}", error=sample)
            elif isinstance(sample, Exception):
                raise sample
            else:
                yield Entry(f"place {number}", sample)

    return Source("test", len(samples), entries)


def triplets_on_disk(folder: Path, count: int, first: int = 0) -> Source:
    for number, modality in enumerate(("rgb", "nir", "tir")):
        (folder / modality).mkdir(parents=True)
        for i in range(count):
            (folder / modality / f"{i:03d}.png").write_bytes(encode_image(3 * (first + i) + number))
    return open_source(str(folder))


def rows(gallery: Gallery, query: str) -> list[Any]:
    with closing(sqlite3.connect(gallery.folder / "gallery.db")) as database:
        return database.execute(query).fetchall()


def test_a_file_is_read_once_and_decoded_once(
    tmp_path: Path, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = triplets_on_disk(tmp_path / "crops", 40)
    decoded: list[object] = []
    prepare = PngImagePlugin.PngImageFile.load_prepare

    def counted(self: PngImagePlugin.PngImageFile) -> None:
        decoded.append(self)
        prepare(self)

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load_prepare", counted)
    _opened.clear()
    assert index_source(source, gallery).added == 40
    assert sorted(_opened) == sorted(str(path) for path in (tmp_path / "crops").rglob("*.png"))
    assert len(decoded) == 120


def test_what_is_known_is_not_decoded_and_with_resume_not_read(
    tmp_path: Path, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(encode_image(1))
    source = source_of([Sample(id="a", rgb=tmp_path / "a.png")])
    index_source(source, gallery)
    monkeypatch.setattr(
        PngImagePlugin.PngImageFile, "load_prepare", lambda _: pytest.fail("decoded")
    )
    assert index_source(source, gallery).known == 1
    _opened.clear()
    assert index_source(source, gallery, resume=True).known == 1
    assert _opened == []


def test_an_indexed_item_is_as_an_added_one(
    tmp_path: Path, gallery: Gallery, embedder: Embedder
) -> None:
    paths: dict[str, Any] = {m: tmp_path / f"{m}.png" for m in ("rgb", "nir", "tir")}
    for number, path in enumerate(paths.values()):
        path.write_bytes(encode_image(number, size=(300, 200)))
    array = np.asarray(Image.open(paths["rgb"]))
    samples = [
        Sample(
            id="files",
            identity="x",
            camera=2,
            scene="s",
            time="t",
            kind="person",
            attributes={"a": 1},
            **paths,
        ),
        Sample(id="bytes", nir=encode_image(5), camera=9),
        Sample(id="array", tir=array),
        Sample(id="image", rgb=Image.open(paths["nir"])),
    ]
    index_source(source_of(samples), gallery)
    query = (
        "SELECT id, identity, camera, scene, time, kind, attributes, digest, modality, path, data,"
        " thumbnail"
        " FROM items JOIN pictures USING (key) ORDER BY id, modality"
    )
    embeddings = "SELECT id, embedding FROM items JOIN vectors_1 USING (key) ORDER BY id"
    with Gallery.open(tmp_path / "other.gallery", embedder) as other:
        other.add(samples)
        assert rows(gallery, query) == rows(other, query)
        for (name, one), (same, two) in zip(
            rows(gallery, embeddings), rows(other, embeddings), strict=True
        ):
            assert name == same
            np.testing.assert_allclose(
                np.frombuffer(one, np.float32), np.frombuffer(two, np.float32), atol=1e-6
            )


def test_errors_are_told_in_the_order_of_the_source(gallery: Gallery, embedded: list[int]) -> None:
    samples: list[Sample | Exception] = [make_sample(i, id=str(i)) for i in range(70)]
    # the store refuses it, after the batch is embedded
    samples[3] = make_sample(3, id="3", camera=2**70)
    samples[5] = SourceError("no row")
    samples[6] = Sample(id="6", rgb=b"bad")
    samples[40] = make_sample(40, id="40", time="\0")
    samples[69] = Sample(id="69", rgb=encode_image(69), nir=encode_image(70)[:200])
    report = index_source(source_of(samples), gallery)
    assert [place for place, _ in report.rejected] == [f"place {i}" for i in (3, 5, 6, 40, 69)]
    assert "out of range" in report.rejected[0][1]
    assert report.path is not None
    assert [line.split(",")[0] for line in report.path.read_text().splitlines()[1:]] == [
        p for p, _ in report.rejected
    ]
    assert (report.added, len(gallery)) == (65, 65)
    assert sum(embedded) == 67  # none again because another item of its batch was refused


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    drawn=st.lists(
        st.tuples(st.integers(0, 12), st.sampled_from(["good", "bad", "refused"])), max_size=90
    )
)
def test_every_entry_is_accounted_for(
    tmp_path_factory: pytest.TempPathFactory, embedder: Embedder, drawn: list[tuple[int, str]]
) -> None:
    """Against a model that goes one by one: an image that is in is known; a bad one, or a refused
    sample, is rejected.
    """
    samples = [
        Sample(
            rgb=b"bad" if how == "bad" else encode_image(i),
            camera=2**70 if how == "refused" else None,
        )
        for i, how in drawn
    ]
    held: set[int] = set()
    expected = IndexReport()
    for number, (i, how) in enumerate(drawn):
        if how in ("bad", "refused"):
            expected.rejected.append((f"place {number}", how))
        elif i in held:
            expected.known += 1
        else:
            held.add(i)
            expected.added += 1
    with Gallery.open(tmp_path_factory.mktemp("accounts") / "a.gallery", embedder) as gallery:
        report = index_source(source_of(samples), gallery)
        assert len(gallery) == len(held)
        names = gallery.ids()
    assert (report.added, report.known, report.replaced) == (expected.added, expected.known, 0)
    assert [place for place, _ in report.rejected] == [place for place, _ in expected.rejected]
    firsts = [
        number
        for number, (i, how) in enumerate(drawn)
        if how == "good" and (i, "good") not in drawn[:number]
    ]
    assert names == {f"place {number}" for number in firsts}


def test_the_name_of_a_refused_sample_is_free_again(tmp_path: Path, gallery: Gallery) -> None:
    for i in range(2 * BATCH):
        (tmp_path / f"{i}.png").write_bytes(encode_image(i))
    others = "".join(f"{i}.png,0\n" for i in range(1, 2 * BATCH))
    (tmp_path / "m.csv").write_text(f"rgb,camera\n0.png,{2**70}\n{others}0.png,1\n")
    report = index_source(open_source(str(tmp_path / "m.csv")), gallery)
    assert [place for place, _ in report.rejected] == ["row 2"]
    assert gallery.ids() == {f"{i}.png" for i in range(2 * BATCH)}


def test_twins_side_by_side_are_embedded_once(gallery: Gallery, embedded: list[int]) -> None:
    samples = [make_sample(i // 2) for i in range(200)]
    report = index_source(source_of(samples), gallery)
    assert (report.added, report.known, sum(embedded)) == (100, 100, 100)
    assert max(embedded) <= BATCH


def test_images_are_decoded_while_the_network_runs(
    gallery: Gallery, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # each batch's own, and the whole of the next
    prepared, needs = threading.Semaphore(0), [2 * BATCH, BATCH, 0]
    prepare, run = ingest.Ingest._prepare, embedder.run

    def told(self: Any, entry: Entry, sample: Sample) -> Any:
        done = prepare(self, entry, sample)
        prepared.release()
        return done

    def waiting(images: Any, camera: Any, present: Any) -> Any:
        for _ in range(needs.pop(0)):
            assert prepared.acquire(timeout=_TIMEOUT)
        return run(images, camera, present)

    monkeypatch.setattr(ingest.Ingest, "_prepare", told)
    monkeypatch.setattr(embedder, "run", waiting)
    assert (
        index_source(source_of([make_sample(i) for i in range(3 * BATCH)]), gallery).added
        == 3 * BATCH
    )


def test_a_batch_is_written_while_the_next_is_embedded(
    gallery: Gallery, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedding = threading.Event()
    run, add, sizes = embedder.run, gallery.add_embedded, []

    def told(images: Any, camera: Any, present: Any) -> Any:
        sizes.append(len(images))
        if len(sizes) == 2:
            embedding.set()
        return run(images, camera, present)

    def waiting(samples: Sequence[Sample], embeddings: Any, **given: Any) -> list[str]:
        assert embedding.wait(_TIMEOUT)
        return add(samples, embeddings, **given)

    monkeypatch.setattr(embedder, "run", told)
    monkeypatch.setattr(gallery, "add_embedded", waiting)
    assert (
        index_source(source_of([make_sample(i) for i in range(2 * BATCH)]), gallery).added
        == 2 * BATCH
    )


def test_what_is_decoded_at_once_is_bounded(
    tmp_path: Path, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = triplets_on_disk(tmp_path / "crops", 30)
    monkeypatch.setattr(indexing, "count_decoding_threads", lambda: 8)
    monkeypatch.setattr(sys.modules["trireid.samples.decoding"], "CORES", threading.Semaphore(8))
    lock, now, most = threading.Lock(), [0], [0]

    def slow(container: Container) -> Image.Image:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.002)
        with lock:
            now[0] -= 1
        return render(container)

    monkeypatch.setattr(sys.modules["trireid.samples.decoding"], "render", slow)
    # less than any image: one at a time
    monkeypatch.setattr(sys.modules["trireid.samples.decoding"], "DECODING", Allowance(1))
    index_source(source, gallery)
    assert most[0] == 1
    monkeypatch.setattr(sys.modules["trireid.samples.decoding"], "DECODING", Allowance(1 << 20))
    # less than any file: one sample at a time
    monkeypatch.setattr(ingest, "FILES", Allowance(1))
    most[0] = 0
    assert index_source(triplets_on_disk(tmp_path / "more", 30, first=100), gallery).added == 30
    assert most[0] == 1


def test_a_file_over_the_limit_is_not_read(tmp_path: Path, gallery: Gallery) -> None:
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(500_000_000)
    _opened.clear()
    report = index_source(source_of([Sample(rgb=tmp_path / "huge.png")]), gallery)
    assert "a file of 500 MB is too large" in report.rejected[0][1]
    assert _opened == []


def test_a_source_that_breaks_off_says_so_and_what_came_before_is_kept(gallery: Gallery) -> None:
    broken = RuntimeError("the share is gone")
    before = threading.active_count()
    with pytest.raises(RuntimeError, match="the share is gone"):
        index_source(source_of([*(make_sample(i) for i in range(70)), broken]), gallery)
    assert len(gallery) == 2 * BATCH
    assert threading.active_count() == before


def test_a_store_that_fails_late_ends_the_run_without_hanging(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert, count = gallery._writer._insert, [0]

    def full(item: Any, generation: int) -> None:
        count[0] += 1
        if count[0] > 40:
            raise sqlite3.OperationalError("database or disk is full")
        insert(item, generation)

    monkeypatch.setattr(gallery._writer, "_insert", full)
    before = threading.active_count()
    with pytest.raises(GalleryError, match="disk is full"):
        index_source(source_of([make_sample(i) for i in range(300)]), gallery)
    assert len(gallery) == BATCH
    assert threading.active_count() == before


def test_the_bar_ends_at_the_total_with_rate_and_time(
    gallery: Gallery, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = [
        make_sample(0),
        make_sample(0),
        Sample(rgb=b"bad"),
        *(make_sample(i) for i in range(1, 38)),
        make_sample(5, camera=2**70),
    ]
    index_source(source_of(samples), gallery)
    last = capsys.readouterr().err.replace("\r", "\n").strip().splitlines()[-1]
    assert "41/41" in last
    assert "sample/s" in last


def test_a_thumbnail_is_small_and_keeps_its_shape() -> None:
    for size in (
        (256, 128),
        (128, 256),
        (257, 100),
        (640, 480),
        (768, 768),
        (769, 300),
        (1280, 720),
        (9000, 8),
        (8, 9000),
    ):
        small = Image.open(io.BytesIO(thumbnail(Image.new("RGB", size, (200, 30, 30)))))
        assert max(small.size) <= 256
        assert max(small.size) >= min(192, max(size))
        assert (
            small.width / small.height == pytest.approx(size[0] / size[1], rel=0.1)
            or min(small.size) <= 2
        )
        np.testing.assert_allclose(np.asarray(small)[0, 0].astype(int), [200, 30, 30], atol=4)


# A `trireid index` whose network takes its time, and which notes how many samples it embeds.
_SLOW = """
import sys, time
import trireid.inference.onnx_runtime as runtime, trireid.cli
run = runtime.OnnxEmbedder.run
def slow(self, images, camera, present):
    with open(sys.argv[1], "a") as file:
        file.write(f"{len(images)}\\n")
    time.sleep(0.15)
    return run(self, images, camera, present)
runtime.OnnxEmbedder.run = slow
sys.exit(trireid.cli.main(sys.argv[2:]))
"""


class Indexing:
    """A process that indexes 300 samples slowly."""

    def __init__(self, folder: Path, artifact: Path) -> None:
        self.folder, self._artifact, self.runs = folder, artifact, 0
        for i in range(300):
            (folder / f"{i}.png").write_bytes(encode_image(i))
        names = "\n".join(f"{i}.png,{i}" for i in range(300))
        (folder / "m.csv").write_text(f"rgb,id\n{names}\n")

    def start(self, *more: str) -> subprocess.Popen[str]:
        self.runs += 1
        arguments = [
            "index",
            self.folder / "m.csv",
            "--gallery",
            self.folder / "a.gallery",
            "--model",
            self._artifact,
            *more,
        ]
        command = [sys.executable, "-c", _SLOW, str(self._log), *map(str, arguments)]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # tests in the background of a shell ignore it
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    @property
    def _log(self) -> Path:
        return self.folder / f"embedded-{self.runs}"

    def embedded(self) -> int:
        return sum(map(int, self._log.read_text().split()))

    def held(self) -> int:
        try:
            with closing(
                sqlite3.connect(
                    f"file:{self.folder / 'a.gallery' / 'gallery.db'}?mode=ro", uri=True
                )
            ) as database:
                count: int = database.execute("SELECT count(*) FROM items").fetchone()[0]
                return count
        except sqlite3.OperationalError:
            return 0

    def until_held(self, count: int) -> None:
        deadline = time.monotonic() + _TIMEOUT
        while self.held() < count:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def finish(self, *more: str) -> str:
        process = self.start(*more)
        printed, complaints = process.communicate(timeout=_TIMEOUT)
        assert process.returncode == 0, complaints
        return printed


@pytest.fixture
def slow_indexing(tmp_path: Path, artifact: Path) -> Indexing:
    return Indexing(tmp_path, artifact)


@pytest.mark.parametrize("more", [(), ("--resume",)], ids=["again", "resume"])
def test_after_a_kill_nothing_that_was_committed_is_embedded_again(
    slow_indexing: Indexing, more: tuple[str, ...]
) -> None:
    process = slow_indexing.start()
    slow_indexing.until_held(2 * BATCH)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    held, embedded = slow_indexing.held(), slow_indexing.embedded()
    assert held % BATCH == 0
    # what is lost: one batch in the network, one being written
    assert 0 <= embedded - held <= 2 * BATCH
    printed = slow_indexing.finish(*more)
    assert printed.endswith(f"{300 - held} added, {held} known, 0 rejected; holds 300\n")
    assert slow_indexing.embedded() == 300 - held


def test_ctrl_c_stops_cleanly_and_keeps_what_was_acknowledged(slow_indexing: Indexing) -> None:
    process = slow_indexing.start()
    slow_indexing.until_held(BATCH)
    process.send_signal(signal.SIGINT)
    printed, complaints = process.communicate(timeout=_TIMEOUT)
    assert (process.returncode, printed) == (130, "")
    assert complaints.splitlines()[-1] == "trireid: stopped"
    assert "Traceback" not in complaints
    held = slow_indexing.held()
    assert held % BATCH == 0
    assert BATCH <= held < 300
    assert slow_indexing.finish("--resume").endswith(
        f"{300 - held} added, {held} known, 0 rejected; holds 300\n"
    )
    assert slow_indexing.embedded() == 300 - held


@given(
    delays=st.lists(st.integers(0, 3), max_size=40),
    threads=st.integers(1, 6),
    ahead=st.integers(1, 8),
)
@settings(deadline=None, max_examples=30)
def test_prefetch_keeps_the_order_and_its_bound(
    delays: list[int], threads: int, ahead: int
) -> None:
    lock, under_way, most = threading.Lock(), [0], [0]

    def drawn() -> Iterator[int]:
        for number in range(len(delays)):
            with lock:
                under_way[0] += 1
            yield number

    def work(number: int) -> int:
        time.sleep(delays[number] / 2000)
        with lock:
            most[0] = max(most[0], under_way[0])
        return number

    taken = []
    with Prefetch(work, drawn(), threads=threads, ahead=ahead) as results:
        for result in results:
            taken.append(result)
            with lock:
                under_way[0] -= 1
    assert taken == list(range(len(delays)))
    # one drawn that waits for room, one taken that the loop above has not counted off yet
    assert most[0] <= ahead + 2


@pytest.mark.parametrize("where", ["work", "items"])
def test_prefetch_raises_in_its_turn(where: str) -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        if where == "items":
            raise KeyError("items")
        yield 5

    def work(number: int) -> int:
        if number == 5:
            raise KeyError("work")
        return number

    taken: list[int] = []

    def take_all() -> None:
        with Prefetch(work, items(), threads=3, ahead=9) as results:
            for result in results:
                taken.append(result)

    with pytest.raises(KeyError, match=where):
        take_all()
    assert taken == list(range(5))


def test_prefetch_that_is_left_early_leaves_no_thread() -> None:
    before = threading.active_count()
    endless: Callable[[int], int] = abs
    with Prefetch(endless, iter(int, 1), threads=4, ahead=3) as results:
        assert next(iter(results)) == 0
    assert threading.active_count() == before


def test_an_allowance_is_never_overdrawn_and_too_much_goes_alone() -> None:
    allowance, lock, held, most = Allowance(10), threading.Lock(), [0], [0]

    def use(amount: int) -> None:
        with allowance.part(amount):
            with lock:
                held[0] += min(amount, 10)
                most[0] = max(most[0], held[0])
            time.sleep(0.001)
            with lock:
                held[0] -= min(amount, 10)

    users = [
        threading.Thread(target=use, args=(amount,)) for amount in [3, 4, 25, 1, 9, 10, 5, 5] * 4
    ]
    for user in users:
        user.start()
    for user in users:
        user.join(_TIMEOUT)
        assert not user.is_alive()
    assert 0 < most[0] <= 10


def test_an_allowance_is_given_back_after_an_error() -> None:
    allowance = Allowance(1)
    with pytest.raises(KeyError), allowance.part(1):
        raise KeyError
    with allowance.part(1):
        pass


def test_a_gallery_that_moves_to_another_network_meanwhile_takes_no_embedding_of_the_old_one(
    tmp_path: Path,
    gallery: Gallery,
    embedder: Embedder,
    successor: Embedder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, run, calls = triplets_on_disk(tmp_path / "crops", 3 * BATCH), embedder.run, []

    def moving(images: Any, camera: Any, present: Any) -> Any:
        calls.append(len(images))
        if len(calls) == 2:
            while len(gallery) < BATCH:
                time.sleep(0.01)
            reembed(gallery.folder, successor)
        return run(images, camera, present)

    monkeypatch.setattr(embedder, "run", moving)
    with pytest.raises(GalleryError, match="has moved to another network"):
        index_source(source, gallery)
    assert len(gallery) == BATCH
    assert len(gallery.search(make_sample(1), k=1000)) == BATCH
    assert gallery.embedder.card.name == "successor"
    assert index_source(source, gallery).added == 2 * BATCH
