"""The gallery: what is added is found, durable, filtered, replaced and removed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import PngImagePlugin

from tests.conftest import encode_image, make_sample
from trireid.gallery import Gallery, index_source
from trireid.gallery.store import FILE
from trireid.inference import Embedder, load_artifact
from trireid.samples import Sample
from trireid.samples.errors import GalleryError, ImageError
from trireid.samples.sources import open_source


def people(count: int) -> list[Sample]:
    """Samples of identities 0, 1, 2 in turn, by cameras 0 to 3 in turn."""
    return [
        make_sample(
            i,
            id=f"s{i}",
            identity=str(i % 3),
            camera=i % 4,
            kind="person",
            time=f"2026-01-{i + 1:02}",
            attributes={"n": i},
        )
        for i in range(count)
    ]


def ids(gallery: Gallery, k: int = 100, **options: Any) -> list[str]:
    return [hit.id for hit in gallery.search(make_sample(0), k=k, **options)]


def test_a_sample_finds_itself_first(gallery: Gallery) -> None:
    gallery.add(people(12))
    for i in (0, 5, 11):
        hit, *rest = gallery.search(make_sample(i, camera=i % 4), k=12)
        assert (hit.rank, hit.id, hit.identity, hit.camera, hit.kind) == (
            1,
            f"s{i}",
            str(i % 3),
            i % 4,
            "person",
        )
        assert hit.score == pytest.approx(1, abs=1e-5)
        assert hit.attributes == {"n": i}
        assert [other.rank for other in rest] == list(range(2, 13))
        assert all(-1 <= b.score <= a.score for a, b in zip([hit, *rest], rest, strict=False))


def test_scores_are_cosines(gallery: Gallery, embedder: Embedder) -> None:
    samples = people(9)
    gallery.add(samples)
    cosines = embedder.embed(samples) @ embedder.embed([make_sample(0)])[0]
    for hit in gallery.search(make_sample(0), k=9):
        assert hit.score == pytest.approx(float(cosines[int(hit.id[1:])]), abs=1e-5)


def test_an_answer_tells_what_the_network_made_of_the_query(
    gallery: Gallery, embedder: Embedder
) -> None:
    gallery.add(people(5))
    first, second = Sample(rgb=encode_image(1), tir=encode_image(2), camera=1), make_sample(3)
    answer = gallery.answer([first, second], k=3, where={"camera": [0, 1]}, by_identity=True)
    assert answer.hits == gallery.search(
        [first, second], k=3, where={"camera": [0, 1]}, by_identity=True
    )
    embeddings, tokens = embedder.embed_with_tokens([first, second])
    assert embeddings.tobytes() == embedder.embed([first, second]).tobytes()
    assert answer.selected_patches == {"rgb": tokens[0, 0].tolist(), "tir": tokens[0, 2].tolist()}
    assert (
        len(set(answer.selected_patches["tir"]))
        == embedder.card.selected_patches
        < embedder.card.patches
    )
    assert gallery.answer(first, k=1).embedding @ embeddings[0] > 0.5
    (nir, *_) = (part for part in embedder.card.segments if part.modality == "nir")
    columns = slice(nir.start, nir.stop)
    # the mean of those that have it
    assert np.allclose(answer.embedding[columns], embeddings[1, columns])
    assert not gallery.answer(first, k=1).embedding[columns].any()


def test_a_network_that_selects_no_patches_keeps_them_all(
    tmp_path: Path, successor: Embedder
) -> None:
    card = successor.card
    with Gallery.open(tmp_path / "a.gallery", successor) as gallery:
        assert gallery.answer(Sample(nir=encode_image(1))).selected_patches == {
            "nir": list(range(card.patches))
        }
    assert [part.shape for part in successor.embed_with_tokens([])] == [
        (0, card.dimension),
        (0, 3, card.patches),
    ]


def test_what_was_added_is_there_after_opening_again(tmp_path: Path, embedder: Embedder) -> None:
    with Gallery.open(tmp_path / "a.gallery", embedder) as gallery:
        gallery.add(people(6))
        gallery.remove(ids=["s2"])
        before = gallery.search(make_sample(0), k=10)
    with Gallery.open(tmp_path / "a.gallery") as gallery:
        assert len(gallery) == 5
        assert gallery.name == "a"
        assert gallery.search(make_sample(0), k=10) == before


def test_an_id_that_is_there_is_replaced(gallery: Gallery) -> None:
    gallery.add([make_sample(1, id="x", identity="old")])
    gallery.add([make_sample(2, id="x", identity="new"), make_sample(3, id="y")])
    assert len(gallery) == 2
    first = gallery.search(make_sample(2), k=5)[0]
    assert (first.id, first.identity) == ("x", "new")
    assert gallery.search(make_sample(1), k=5)[0].score < 0.999


def test_samples_without_an_id_get_one_each(gallery: Gallery) -> None:
    given = gallery.add([make_sample(1), make_sample(1)])
    assert len(set(given)) == len(gallery) == 2


def test_a_bad_image_adds_nothing_of_its_batch(gallery: Gallery) -> None:
    with pytest.raises(ImageError, match="nir"):
        gallery.add([make_sample(1), Sample(nir=b"no image")])
    assert len(gallery) == 0


def test_removal_by_id_and_by_identity(gallery: Gallery) -> None:
    gallery.add(people(9))
    assert gallery.remove(ids=["s1", "nobody"]) == 1
    assert gallery.remove(identity="0") == 3
    assert sorted(ids(gallery)) == ["s2", "s4", "s5", "s7", "s8"]
    assert len(ids(gallery, 3)) == 3  # what is gone takes no hit's place
    with pytest.raises(GalleryError):
        gallery.remove()


def test_erased_bytes_are_gone_from_the_disk(gallery: Gallery) -> None:
    gallery.add([make_sample(1, id="x", attributes={"note": "find-me-in-the-file"})], keep=True)
    held = [
        path for path in gallery.folder.iterdir() if b"find-me-in-the-file" in path.read_bytes()
    ]
    assert held
    gallery.remove(ids=["x"])
    assert not [
        path for path in gallery.folder.iterdir() if b"find-me-in-the-file" in path.read_bytes()
    ]


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ({}, range(12)),
        ({"camera": 2}, [2, 6, 10]),
        ({"camera": [1, 2]}, [1, 2, 5, 6, 9, 10]),
        ({"identity": "1", "camera": 1}, [1]),
        ({"kind": "vehicle"}, []),
        ({"time": {"gte": "2026-01-03", "lt": "2026-01-06"}}, [2, 3, 4]),
        ({"n": {"gt": 9}}, [10, 11]),
        ({"n": 4}, [4]),
        ({"scene": None}, range(12)),
        ({"id": ["s3", "s4"]}, [3, 4]),
    ],
)
def test_filters(gallery: Gallery, where: dict[str, Any], wanted: Any) -> None:
    gallery.add(people(12))
    assert sorted(ids(gallery, where=where)) == sorted(f"s{i}" for i in wanted)


@pytest.mark.parametrize(
    "where",
    [
        {"camera": {"near": 3}},
        {"camera": {}},
        {"camera": [[1]]},
        {'a"b': 1},
        [1],
        {"camera": 2**70},
    ],
)
def test_filters_that_mean_nothing_are_refused(gallery: Gallery, where: Any) -> None:
    gallery.add(people(2))
    with pytest.raises(GalleryError, match="where"):
        gallery.search(make_sample(0), where=where)


@pytest.mark.parametrize(
    "where",
    [
        {f"key {i}": 1 for i in range(65)},
        {"a\0b": 1},
        {"a\ud800": 1},
        {"identity": "\ud800"},
        {"n": float("nan")},
    ],
    ids=["65 keys", "NUL", "surrogate key", "surrogate value", "NaN"],
)
def test_filters_that_would_break_the_store_are_refused(
    gallery: Gallery, where: dict[str, Any]
) -> None:
    gallery.add(people(2))
    with pytest.raises(GalleryError, match="where"):
        gallery.search(make_sample(0), where=where)


def test_lists_in_filters_may_be_long(gallery: Gallery) -> None:
    gallery.add(people(4))
    many = ["s1", *(f"other {i}" for i in range(260_000))]  # more than SQLite takes of parameters
    assert ids(gallery, where={"id": many}) == ["s1"]
    assert gallery.remove(ids=many) == 1


@pytest.mark.parametrize(
    "attributes", [{"a": float("nan")}, {"a": {1, 2}}, {"a": "\ud800"}, {"a": object()}]
)
def test_attributes_that_no_store_can_hold_are_refused(
    gallery: Gallery, attributes: dict[str, Any]
) -> None:
    with pytest.raises(GalleryError) as caught:
        gallery.add([make_sample(1, id="x", attributes=attributes)])
    assert caught.value.field == "attributes"
    assert len(gallery) == 0
    gallery.add([make_sample(1, id="x", attributes={"a": 1})])
    assert ids(gallery, where={"a": 1}) == ["x"]


def test_numpy_numbers_are_numbers(gallery: Gallery) -> None:
    gallery.add([make_sample(1, id="x", camera=np.int64(3))])
    assert ids(gallery, where={"camera": 3}) == ["x"]


def test_other_cameras_leaves_out_the_querys_own(gallery: Gallery) -> None:
    gallery.add([*people(8), make_sample(9, id="nowhere")])
    found = gallery.search(make_sample(0, camera=3), k=100, other_cameras=True)
    assert {hit.camera for hit in found} == {0, 1, 2, None}
    found = gallery.search(
        make_sample(0, camera=3), k=100, where={"camera": [2, 3]}, other_cameras=True
    )
    assert {hit.camera for hit in found} == {2}
    with pytest.raises(GalleryError, match="camera"):
        gallery.search(make_sample(0), other_cameras=True)


@pytest.mark.parametrize("k", [0, -1, 1001, 2.5, True])
def test_k_has_bounds(gallery: Gallery, k: Any) -> None:
    with pytest.raises(GalleryError, match="1 to 1000"):
        gallery.search(make_sample(0), k=k)


def test_an_empty_gallery_gives_no_hits(gallery: Gallery) -> None:
    assert gallery.search(make_sample(0)) == []


def test_another_network_is_refused_with_both_names(gallery: Gallery, successor: Embedder) -> None:
    with pytest.raises(GalleryError, match=r"network tiny \(.*not by successor \("):
        Gallery.open(gallery.folder, successor)


def test_folders_that_hold_no_gallery(tmp_path: Path, embedder: Embedder) -> None:
    with pytest.raises(GalleryError, match="no gallery there"):
        Gallery.open(tmp_path / "nowhere")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(GalleryError, match="new or empty"):
        Gallery.open(tmp_path / "mine", embedder)
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / FILE).write_bytes(b"not a database" * 100)
    with pytest.raises(GalleryError, match="store"):
        Gallery.open(tmp_path / "torn", embedder)


def test_a_camera_that_no_store_can_hold_is_refused(gallery: Gallery) -> None:
    with pytest.raises(GalleryError, match="out of range"):
        gallery.add([make_sample(1, camera=2**63)])


def _open_and_count(folder: str, artifact: str, errors: Any) -> None:
    try:
        with Gallery.open(folder, load_artifact(artifact, threads=1)) as gallery:
            gallery.add([make_sample(1)])
    except BaseException as error:
        errors.put(repr(error))


def test_processes_may_make_one_gallery_at_once(
    tmp_path: Path, artifact: Path, embedder: Embedder
) -> None:
    context = multiprocessing.get_context("spawn")
    errors = context.Queue()
    target = (str(tmp_path / "a.gallery"), str(artifact), errors)
    processes = [context.Process(target=_open_and_count, args=target) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert errors.empty()
    with Gallery.open(tmp_path / "a.gallery", embedder) as gallery:
        assert len(gallery) == 3


def test_a_damaged_store_is_one_line(tmp_path: Path, embedder: Embedder) -> None:
    with Gallery.open(tmp_path / "a.gallery", embedder) as gallery:
        gallery.add(people(30))
    file = tmp_path / "a.gallery" / FILE
    content = bytearray(file.read_bytes())
    content[4096 * 2 :] = b"\x55" * (len(content) - 4096 * 2)
    file.write_bytes(content)
    with (
        pytest.raises(GalleryError, match="damaged") as caught,
        Gallery.open(tmp_path / "a.gallery", embedder) as gallery,
    ):
        gallery.search(make_sample(0))
    assert "\n" not in caught.value.message


def test_another_process_sees_what_this_one_commits(tmp_path: Path, embedder: Embedder) -> None:
    with (
        Gallery.open(tmp_path / "a.gallery", embedder) as one,
        Gallery.open(tmp_path / "a.gallery", embedder) as two,
    ):
        one.add(people(3))
        assert len(ids(two)) == 3
        two.remove(ids=["s0"])
        two.add([make_sample(1, id="s1", identity="moved")])
        assert sorted(ids(one)) == ["s1", "s2"]
        assert one.search(make_sample(1), k=1)[0].identity == "moved"


def test_threads_may_search_while_one_adds(gallery: Gallery) -> None:
    gallery.add(people(4))
    errors: list[BaseException] = []

    def search() -> None:
        try:
            for _ in range(15):
                assert ids(gallery, 4)[0] == "s0"
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(10, 25):
        gallery.add([make_sample(i, id=f"t{i}")])
    for thread in threads:
        thread.join()
    assert not errors
    assert len(gallery) == 19


def _enroll_for_ever(folder: Path, artifact: Path, acknowledged: str) -> None:
    with (
        Gallery.open(folder, load_artifact(artifact, threads=1)) as gallery,
        Path(acknowledged).open("a") as log,
    ):
        for i in range(100_000):
            (item_id,) = gallery.add([make_sample(i % 7, id=f"{os.getpid()}-{i}")])
            log.write(item_id + "\n")
            log.flush()


def test_a_kill_loses_nothing_that_was_acknowledged(
    tmp_path: Path, artifact: Path, embedder: Embedder
) -> None:
    log = tmp_path / "acknowledged"
    log.touch()
    for pause in (0.05, 0.3):
        seen = len(log.read_text().split())
        process = multiprocessing.get_context("spawn").Process(
            target=_enroll_for_ever, args=(tmp_path / "a.gallery", artifact, str(log))
        )
        process.start()
        while len(log.read_text().split()) < seen + 3 and process.is_alive():
            time.sleep(0.01)
        time.sleep(pause)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    with Gallery.open(tmp_path / "a.gallery", embedder) as gallery:
        stored = gallery.ids()
        assert set(log.read_text().split()) <= stored
        assert len(stored) == len(gallery) == len(gallery.search(make_sample(0), k=1000))
    with sqlite3.connect(tmp_path / "a.gallery" / FILE) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["add", "remove", "reopen"]), st.integers(0, 5)), max_size=15
    )
)
def test_any_order_of_changes_leaves_what_a_dictionary_would(
    tmp_path_factory: pytest.TempPathFactory, embedder: Embedder, steps: list[tuple[str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("model") / "a.gallery"
    expected: dict[str, str] = {}
    gallery = Gallery.open(folder, embedder)
    for number, (step, i) in enumerate(steps):
        if step == "add":
            gallery.add([make_sample(i, id=str(i), identity=str(number))])
            expected[str(i)] = str(number)
        elif step == "remove":
            assert gallery.remove(ids=[str(i)]) == (expected.pop(str(i), None) is not None)
        else:
            gallery.close()
            gallery = Gallery.open(folder, embedder)
        assert {hit.id: hit.identity for hit in gallery.search(make_sample(0), k=100)} == expected
    gallery.close()


def test_indexing_sets_bad_images_aside_and_knows_duplicates(
    tmp_path: Path, gallery: Gallery
) -> None:
    for i in range(40):
        (tmp_path / f"{i}.png").write_bytes(encode_image(i % 39))
    (tmp_path / "bad.png").write_bytes(b"bad")
    rows = (
        [f"{i}.png" for i in range(20)]
        + ["bad.png", "gone.png"]
        + [f"{i}.png" for i in range(20, 40)]
    )
    (tmp_path / "m.csv").write_text("rgb\n" + "\n".join(rows) + "\n")
    report = index_source(open_source(str(tmp_path / "m.csv")), gallery)
    assert (report.added, report.known, len(gallery)) == (39, 1, 39)
    assert sorted(place for place, _ in report.rejected) == ["row 22", "row 23"]
    assert report.path is not None
    listed = report.path.read_text()
    assert "does not exist" in listed
    assert "not an image that is read" in listed
    again = index_source(open_source(str(tmp_path / "m.csv")), gallery)
    assert (again.added, again.known, len(gallery)) == (0, 40, 39)
    assert index_source(open_source(str(tmp_path / "m.csv")), gallery, resume=True).added == 0


def test_manifests_with_like_names_do_not_replace_each_other(
    tmp_path: Path, gallery: Gallery
) -> None:
    for number, folder in enumerate(("a", "b")):
        (tmp_path / folder).mkdir()
        for i in range(3):
            (tmp_path / folder / f"{i}.png").write_bytes(encode_image(10 * number + i))
        (tmp_path / folder / "m.csv").write_text("rgb\n0.png\n1.png\n2.png\n")
        report = index_source(open_source(str(tmp_path / folder / "m.csv")), gallery, resume=True)
        assert (report.added, report.replaced) == (3, 0)
    assert len(gallery) == 6
    assert {"0.png", "1.png", "2.png"} < gallery.ids()


def test_an_id_that_comes_again_replaces_and_is_counted(tmp_path: Path, gallery: Gallery) -> None:
    for i in range(2):
        (tmp_path / f"{i}.png").write_bytes(encode_image(i))
        (tmp_path / "m.csv").write_text(f"rgb,id\n{i}.png,x\n")
        report = index_source(open_source(str(tmp_path / "m.csv")), gallery)
    assert (report.added, report.replaced, len(gallery)) == (1, 1, 1)


def test_the_twin_of_a_bad_image_is_bad(tmp_path: Path, gallery: Gallery) -> None:
    (tmp_path / "bad.png").write_bytes(b"bad")
    (tmp_path / "m.csv").write_text("rgb,id\nbad.png,x\nbad.png,y\n")
    report = index_source(open_source(str(tmp_path / "m.csv")), gallery)
    assert (report.added, report.known, len(report.rejected)) == (0, 0, 2)


def test_a_store_that_fails_stops_the_run(
    tmp_path: Path, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(encode_image(1))
    (tmp_path / "m.csv").write_text("rgb\na.png\n")

    def full(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(gallery._writer, "_insert", full)
    with pytest.raises(GalleryError, match="disk is full"):
        index_source(open_source(str(tmp_path / "m.csv")), gallery)


def test_images_are_kept_by_reference_or_inside(tmp_path: Path, gallery: Gallery) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encode_image(1))
    gallery.add([Sample(id="file", rgb=path)])
    gallery.add([Sample(id="sent", tir=encode_image(2))], keep=True)
    hits = {hit.id: hit for hit in gallery.search(make_sample(0), k=10)}
    keys = {name: hit.key for name, hit in hits.items()}
    referred, kept = gallery.image(keys["file"], "rgb"), gallery.image(keys["sent"], "tir")
    assert referred is not None
    assert (referred.path, referred.data) == (str(path), None)
    assert kept is not None
    assert kept.data == encode_image(2)
    assert kept.thumbnail[:2] == b"\xff\xd8"
    assert gallery.image(keys["sent"], "rgb") is None
    assert (hits["file"].present, hits["sent"].present) == (("rgb",), ("tir",))


@pytest.mark.parametrize("keep", [False, True])
def test_an_image_that_is_added_is_decoded_once(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch, keep: bool
) -> None:
    decoded: list[object] = []
    prepare = PngImagePlugin.PngImageFile.load_prepare

    def counted(self: PngImagePlugin.PngImageFile) -> None:
        decoded.append(self)
        prepare(self)

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load_prepare", counted)
    gallery.add([make_sample(1, id="a"), make_sample(2, id="b")], keep=keep)
    assert len(decoded) == 6


def test_an_embedding_that_is_not_finite_is_refused(gallery: Gallery) -> None:
    embeddings = np.full((1, gallery.embedder.card.dimension), np.nan, np.float32)
    with pytest.raises(
        ImageError, match=r"a: the network gives no direction for it: .* not finite"
    ):
        gallery.add_embedded([make_sample(0, id="a")], embeddings)
    assert len(gallery) == 0
