"""The vector index: right, and right still after whatever is done to it."""

from __future__ import annotations

import json
import os
import re
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trireid.gallery.index import (
    IndexSnapshot,
    Keys,
    Quantization,
    Scores,
    VectorIndex,
    Vectors,
    coarse_quantizer,
    gpu,
    index_snapshot,
    segment,
    serialization,
)
from trireid.gallery.index import vector_index as under_test
from trireid.gallery.index.coarse_quantizer import CoarseQuantizer
from trireid.gallery.index.compaction import compact
from trireid.gallery.index.contract import proceed_always
from trireid.gallery.index.lock import ReadWriteLock
from trireid.gallery.index.operating_point import EVERYTHING, Probes
from trireid.gallery.index.quantization import Codec
from trireid.gallery.index.segment import IndexSegment
from trireid.gallery.index.tuning import QUERIES, draw, measure
from trireid.samples import GalleryError

D = 32
MODES = list(Quantization)
#: How far a score may be off because of how vectors are held.
TOLERANCE = {Quantization.FLOAT32: 1e-5, Quantization.FLOAT16: 2e-3, Quantization.INT8: 3e-2}


def unit(vectors: NDArray[Any]) -> Vectors:
    scaled: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def make_scattered(count: int, seed: int = 0, dimension: int = D) -> Vectors:
    """Vectors in all directions."""
    return unit(np.random.default_rng(seed).standard_normal((count, dimension)))


def make_clustered(count: int, seed: int = 0, dimension: int = D, spread: float = 0.6) -> Vectors:
    """Vectors around centres that do not depend on the seed, 20 or so around each at 4,000."""
    centres = make_scattered(200, 99, dimension)
    draw = np.random.default_rng(seed)
    noise = draw.standard_normal((count, dimension)) / dimension**0.5
    return unit(centres[draw.integers(0, len(centres), count)] + spread * noise)


def fill_index(vectors: Vectors, **options: Any) -> VectorIndex:
    """An index of vectors under keys 1, 2, ..., with nothing left to do."""
    index = VectorIndex(vectors.shape[1], **options)
    with index.fill():
        index.add(np.arange(1, len(vectors) + 1), vectors)
    return index


def best(vectors: Vectors, keys: Keys, queries: Vectors, k: int) -> tuple[Scores, Keys]:
    """Search by comparing everything in NumPy."""
    scores = queries @ vectors.T
    order = np.argsort(-scores, axis=1)[:, :k]
    return np.take_along_axis(scores, order, 1), keys[order]


def count_cells(index: VectorIndex) -> int:
    """How many cells the index has; 1 if every vector is compared."""
    coarse = index.now.segments[0].coarse
    return 1 if coarse is None else len(coarse)


def recall(found: Keys, truth: Keys) -> float:
    return float(
        np.mean(
            [len(set(mine) & set(its)) / len(its) for mine, its in zip(found, truth, strict=True)]
        )
    )


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thresholds so low that everything happens with a few hundred vectors."""
    for name, value in {"STALE_AT_LEAST": 40, "SAMPLE": 30, "BATCH": 16}.items():
        monkeypatch.setattr(under_test, name, value)
    for name, value in {"QUERY_BATCH": 8, "EXTRA": 20}.items():
        monkeypatch.setattr(index_snapshot, name, value)


@pytest.fixture(scope="module")
def trained() -> Iterator[VectorIndex]:
    """An index of 4,000 clustered vectors, above its crossover."""
    index = fill_index(make_clustered(4_000), crossover=1_000)
    assert not index.is_exact
    yield index
    index.close()


@pytest.mark.parametrize("quantization", MODES)
def test_below_the_crossover_search_is_exact(quantization: Quantization) -> None:
    vectors, queries = make_scattered(1_500), make_scattered(20, 1)
    index = fill_index(vectors, quantization=quantization)
    assert index.is_exact
    scores, keys = index.search(queries, 10)
    truth, true_keys = best(vectors, np.arange(1, 1_501), queries, 10)
    assert scores.dtype == np.float32
    assert keys.dtype == np.int64
    np.testing.assert_allclose(scores, truth, atol=TOLERANCE[quantization])
    assert recall(keys, true_keys) >= (1 if quantization is Quantization.FLOAT32 else 0.9)


@pytest.mark.parametrize("quantization", MODES)
@pytest.mark.parametrize("target", [0.9, 0.99])
def test_above_the_crossover_the_recall_asked_for_is_reached(
    quantization: Quantization, target: float
) -> None:
    vectors, queries = make_clustered(4_000, dimension=64), make_clustered(200, 1, 64)

    def load(keys: Keys) -> Vectors:
        return vectors[keys - 1]

    index = fill_index(
        vectors, quantization=quantization, crossover=1_000, recall=target, rescore=load
    )
    assert not index.is_exact
    for queried in (queries, queries[:1]):
        scores, _ = index.search(queried, 10)
        truth, _ = best(vectors, np.arange(1, 4_001), queried, 10)
        assert (np.diff(scores, axis=1) <= 0).all()
        assert np.isclose(scores[:, 0], truth[:, 0], atol=1e-5).mean() >= target
    assert (
        recall(index.search(queries, 10)[1], best(vectors, np.arange(1, 4_001), queries, 10)[1])
        >= target
    )


def test_a_lower_recall_probes_less_and_tune_changes_it() -> None:
    index = fill_index(make_scattered(4_000), crossover=1_000, recall=0.99)
    queries = make_scattered(200, 1)
    truth = best(make_scattered(4_000), np.arange(1, 4_001), queries, 10)[1]
    # 32 dimensions: only a long shortlist does it
    assert recall(index.search(queries, 10)[1], truth) >= 0.985
    far = index.now.operating_point.probes[0]
    index.tune(0.6)
    assert index.now.operating_point.probes[0] < far / 2
    found = recall(index.search(queries, 10)[1], truth)
    # queries to come are a little less like the gallery than its own vectors
    assert 0.55 <= found < 0.95


def test_tuning_finds_the_neighbours_of_its_own_vectors_other_than_themselves() -> None:
    vectors = make_scattered(4_000)
    index = fill_index(vectors, crossover=1_000, recall=0.6)
    keys = draw(np.arange(1, 4_001), QUERIES)
    queries, now = vectors[keys - 1], index.now
    cells = now.operating_point.probes[0]
    found = now.segments[0].search(queries, 11, Probes(cells, 4_000))[1]
    truth = best(vectors, np.arange(1, 4_001), queries, 11)[1][:, 1:]
    assert (truth != keys[:, None]).all()
    assert recall(found, truth) >= 0.8


@pytest.mark.parametrize("quantization", MODES)
def test_a_segment_and_its_compaction_hold_what_was_appended(quantization: Quantization) -> None:
    vectors, keys = make_clustered(1_000), np.arange(1, 1_001) * 3
    codec = Codec.fit(quantization, vectors)
    coarse = CoarseQuantizer.train(vectors, 20, proceed_always)
    cells = coarse.assign(vectors)
    cells[cells == 7] = 8  # one that stays empty
    grown = [IndexSegment(codec, coarse) for _ in range(2)]
    for segment_, part in zip(grown, (slice(600), slice(600, None)), strict=True):
        segment_.append(keys[part], vectors[part], cells[part])
    tags = np.ones(3_001, np.uint8)
    tags[keys[::4]] = 0  # removed
    kept = tags[keys] != 0
    sealed = compact(grown, tags, proceed_always, codec, coarse)
    retrained = compact(grown, tags, proceed_always, codec, CoarseQuantizer(coarse.centroids))
    held = codec.decode(codec.encode(vectors))
    for made in (sealed, retrained):
        np.testing.assert_array_equal(made.keys, keys[kept])
        np.testing.assert_array_equal(made.codes, codec.encode(vectors[kept]))
        np.testing.assert_array_equal(made.vectors(np.arange(len(made))), held[kept])
    assert not len(sealed.cell(7)[0])
    assert sum(len(sealed.cell(cell)[0]) for cell in range(20)) == len(sealed) == 750
    queries = make_clustered(30, 1)
    truth, expected = best(held[kept], keys[kept], queries, 5)
    for made in (sealed, retrained):
        scores, found = made.search(queries, 5, EVERYTHING)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_allclose(scores, truth, atol=1e-5)
        assert recall(made.search(queries, 5, Probes(19, 500))[1], expected) > 0.98
    assert recall(grown[0].search(queries, 5, EVERYTHING, None, 300)[1], expected) < 0.6
    assert grown[0].search(queries, 5, EVERYTHING, None, 300)[1].max() <= 900


def test_where_all_that_is_near_was_removed_others_are_found() -> None:
    vectors = make_clustered(6_000)
    index = fill_index(vectors, crossover=1_000)
    near = 1 + np.argsort(-(vectors @ vectors[0]))[:4_000]
    index.remove(near)
    index.settle()
    assert len(index.now.segments[0]) == 6_000  # the lists hold them still
    for queries in (vectors[:1], vectors[[0, near[-1] - 1]]):
        keys = index.search(queries, 10)[1]
        assert (keys > 0).all()
        assert not np.isin(keys, near).any()
    left = np.setdiff1d(np.arange(1, 6_001), near)
    expected = best(vectors[left - 1], left, vectors[:1], 10)[1]
    np.testing.assert_array_equal(index.search(vectors[:1], 10)[1], expected)


@pytest.mark.parametrize("change", ["add", "remove"])
def test_tuning_counts_what_is_there_and_nothing_else(change: str) -> None:
    """Additions since the last merge are not in the sealed segment; removed vectors still are."""
    vectors = make_scattered(4_000)
    index = fill_index(vectors, crossover=1_000)
    index.tune(0.95)
    before = index.now.operating_point
    if change == "add":
        index.add(np.arange(4_001, 4_201), make_scattered(200, 5))
    else:
        index.remove(np.arange(1, 4_001, 20))
    assert len(index.now.segments) == 2
    index.tune(0.95)
    after = index.now.operating_point
    assert np.abs(np.log2(np.array(after.probes) / before.probes)).max() < 1
    assert np.abs(np.log2(np.array(after.factors) / before.factors)).max() <= 1


def test_equal_vectors_do_not_make_searching_harder() -> None:
    vectors = make_scattered(4_000)
    alone = fill_index(vectors, crossover=1_000).now.operating_point
    vectors[::10] = vectors[0]
    repeated = fill_index(vectors, crossover=1_000).now.operating_point
    assert max(repeated.factors) <= 2 * max(alone.factors)


def test_an_index_file_that_promises_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    index = fill_index(make_clustered(2_000), crossover=1_000)
    index.save(tmp_path / "whole")
    content = bytearray((tmp_path / "whole").read_bytes())
    header = int.from_bytes(content[8:12], "little")
    # the first cell's size stands after the centroids, the keys, their tags and their codes
    first = 12 + header + 4 * count_cells(index) * D + 2_000 * (8 + 1 + 4 * D)
    size = len(index.now.segments[0].cell(0)[0])
    assert int.from_bytes(content[first : first + 8], "little") == size
    for size in (-1, 1 << 20, 1 << 40, 1 << 62):
        content[first : first + 8] = size.to_bytes(8, "little", signed=True)
        (tmp_path / "damaged").write_bytes(content)
        assert "holds less than it says" in read_error(tmp_path / "damaged")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"count": 1 << 31}, "holds less than it says"),
        ({"count": -1}, "a number that no index has"),
        ({"cells": 1 << 31}, "holds less than it says"),
        ({"last": 599}, "not in order"),
        ({"last": 1 << 40}, "a number that no index has"),
        ({"probes": [0, 1, 1]}, "operating point"),
        ({"factors": [2]}, "not that of an index"),
        ({"stored": "int8"}, "|".join(("not in order", "less than it says"))),
        ({"layout": 2}, "layout is 2, not 3"),
        ({"extra": 7}, "not that of an index"),
    ],
)
def test_a_file_with_a_forged_header_is_refused(
    tmp_path: Path, saved: bytes, header: dict[str, Any], message: str
) -> None:
    length = int.from_bytes(saved[8:12], "little")
    forged = json.loads(saved[12 : 12 + length]) | header
    rest = np.frombuffer(saved[12 + length : -4], np.uint8)
    serialization.write(tmp_path / "forged", forged, iter([rest]))
    assert re.search(message, read_error(tmp_path / "forged"))


@pytest.mark.parametrize(
    ("number", "key"), [(0, -1), (1, 1), (1, 9), (599, 601), (599, 1 << 40), (599, 599)]
)
def test_a_file_with_forged_keys_is_refused(
    tmp_path: Path, saved: bytes, number: int, key: int
) -> None:
    """Keys 1 to 600 with one that is negative, not above the one before, or above the last."""
    length = int.from_bytes(saved[8:12], "little")
    header = json.loads(saved[12 : 12 + length])
    place = 12 + length + 4 * header["cells"] * D + 8 * number
    content = bytearray(saved[:-4])
    assert content[place : place + 8] == (number + 1).to_bytes(8, "little")
    content[place : place + 8] = key.to_bytes(8, "little", signed=True)
    content += zlib.crc32(content).to_bytes(4, "little")
    (tmp_path / "forged").write_bytes(content)
    assert "its keys are not in order" in read_error(tmp_path / "forged")


@pytest.mark.parametrize("position", [-1, 600, 1 << 40, 0])
def test_a_file_with_forged_positions_is_refused(
    tmp_path: Path, saved: bytes, position: int
) -> None:
    """One beyond the vectors, or one that two sketches claim."""
    length = int.from_bytes(saved[8:12], "little")
    header = json.loads(saved[12 : 12 + length])
    first = 12 + length + 4 * header["cells"] * D + 600 * (8 + 1 + 4 * D)
    content = bytearray(saved[:-4])
    size = int.from_bytes(content[first : first + 8], "little")
    assert size > 1
    content[first + 8 * size : first + 8 * size + 8] = position.to_bytes(8, "little", signed=True)
    if not position:
        content[first + 8 : first + 16] = content[first + 16 : first + 24]
    content += zlib.crc32(content).to_bytes(4, "little")
    (tmp_path / "forged").write_bytes(content)
    assert "its cells" in read_error(tmp_path / "forged")


def test_more_neighbours_are_found_with_the_same_recall(trained: VectorIndex) -> None:
    queries = make_clustered(50, 1)
    for k in (1, 50, 200):
        assert (
            recall(
                trained.search(queries, k)[1],
                best(make_clustered(4_000), np.arange(1, 4_001), queries, k)[1],
            )
            >= 0.98
        )


@pytest.mark.parametrize("share", [1e-4, 1e-2, 0.06, 0.3, 0.9])
def test_filters_find_what_exact_search_with_the_filter_finds(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_snapshot, "FEW_AT_LEAST", 200)
    vectors, queries = make_clustered(10_000), make_clustered(40, 1)
    index = fill_index(vectors, crossover=1_000)
    include = 1 + np.sort(
        np.random.default_rng(3).choice(10_000, max(1, int(10_000 * share)), replace=False)
    )
    found = index.search(queries, 10, include)[1]
    assert np.isin(found[found >= 0], include).all()
    truth = best(vectors[include - 1], include, queries, 10)[1]
    assert recall(found[:, : truth.shape[1]], truth) >= 0.99
    rest = np.setdiff1d(np.arange(1, 10_001), include)
    np.testing.assert_array_equal(index.search(queries, 10, exclude=rest)[1], found)


def test_a_filter_on_the_far_side_is_answered(trained: VectorIndex) -> None:
    vectors, query = make_clustered(4_000), make_clustered(1, 1)
    far = 1 + np.sort(np.argsort(vectors @ query[0])[:50])
    assert set(trained.search(query, 10, far)[1][0]) == set(
        best(vectors[far - 1], far, query, 10)[1][0]
    )


def test_include_and_without_together_and_keys_nobody_knows(trained: VectorIndex) -> None:
    query = make_clustered(1, 1)
    found = trained.search(
        query, 5, np.array([-4, 3, 5, 8, 10**12]), exclude=np.array([5, 7, 10**12])
    )[1]
    assert set(found[0]) == {3, 8, -1}
    assert (trained.search(query, 5, np.empty(0, np.int64))[1] == -1).all()


@pytest.mark.parametrize("crossover", [100, 10_000])
def test_k_above_what_is_there_is_padded(crossover: int) -> None:
    vectors = make_scattered(300)
    scores, keys = fill_index(vectors, crossover=crossover).search(vectors[:3], 1_000)
    assert sorted(keys[0][keys[0] >= 0]) == list(range(1, 301))
    assert (keys[:, 300:] == -1).all()
    assert np.isneginf(scores[:, 300:]).all()


def test_an_empty_index_finds_nothing(tmp_path: Path) -> None:
    index = VectorIndex(D)
    for _ in range(2):
        scores, keys = index.search(make_scattered(2), 3)
        assert keys.tolist() == [[-1] * 3] * 2
        assert np.isneginf(scores).all()
        assert len(index) == 0
        assert index.vectors(np.empty(0, np.int64)).shape == (0, D)
        index.remove(np.array([1, 2]))
        index.save(tmp_path / "i")
        index = VectorIndex.load(tmp_path / "i", D)
    assert index.search(np.empty((0, D), np.float32), 3)[1].shape == (0, 3)


@pytest.mark.parametrize("keys", [[0], [-1], [3, 3], [5, 4], [2**33]])
def test_keys_that_do_not_grow_are_refused(keys: list[int]) -> None:
    index = VectorIndex(D)
    with pytest.raises(GalleryError, match="keys: must grow"):
        index.add(np.array(keys), make_scattered(len(keys)))
    assert len(index) == 0
    index.add(np.array([7]), make_scattered(1))
    with pytest.raises(GalleryError, match="above 7"):
        index.add(np.array([7]), make_scattered(1))


def test_what_does_not_fit_is_refused() -> None:
    index = VectorIndex(D)
    with pytest.raises(GalleryError, match="expected 1 of 32"):
        index.add(np.array([1]), make_scattered(1, dimension=D + 1))
    with pytest.raises(GalleryError, match="queries"):
        index.search(make_scattered(1, dimension=D + 1), 3)
    with pytest.raises(GalleryError, match="k: must be"):
        index.search(make_scattered(1), 0)
    with pytest.raises(GalleryError, match="no vector under 9"):
        index.vectors(np.array([9]))


@pytest.mark.parametrize("quantization", MODES)
def test_vectors_come_back_as_exactly_as_they_are_held(quantization: Quantization) -> None:
    vectors = make_clustered(3_000)
    index = fill_index(vectors, quantization=quantization, crossover=1_000)
    wanted = np.array([2_999, 1, 1_500, 1])
    np.testing.assert_allclose(
        index.vectors(wanted),
        vectors[wanted - 1],
        atol={"float32": 0, "float16": 1e-3, "int8": 1e-2}[quantization],
    )


def test_int8_takes_a_third_of_the_memory() -> None:
    vectors = make_clustered(10_000, dimension=768)
    index = fill_index(vectors, quantization=Quantization.INT8, crossover=1_000, recall=0.9)
    assert not index.is_exact
    assert index.memory <= vectors.nbytes / 3


def test_int8_survives_a_coordinate_that_was_constant_at_first() -> None:
    early, late = make_scattered(1_200), make_scattered(400, 1)
    early[:, D // 2 :] = 0
    index = fill_index(unit(early), quantization=Quantization.INT8)
    index.add(np.arange(1_201, 1_601), late)
    assert np.abs(index.vectors(np.arange(1_201, 1_601)) - late).max() < 0.1


def test_int8_below_its_sample_is_float32_and_may_be_trained_before() -> None:
    vectors = make_clustered(1_500)
    index = fill_index(vectors[:900], quantization=Quantization.INT8, crossover=300)
    np.testing.assert_array_equal(index.vectors(np.array([9])), vectors[8:9])
    index.add(np.arange(901, 1_501), vectors[900:])
    index.settle()
    index.remove(np.array([4]))
    assert index.now.segments[0].codec.quantization is Quantization.INT8
    found = index.search(vectors[:1], 1_500)[1][0]
    assert sorted(found[found > 0]) == [key for key in range(1, 1_501) if key != 4]


def test_fetched_vectors_give_the_scores_and_gone_ones_fall_out() -> None:
    vectors = make_clustered(2_000)

    def load(keys: Keys) -> Vectors:
        rows = vectors[keys - 1].copy()
        rows[keys == 17] = np.nan
        return rows

    index = fill_index(vectors, quantization=Quantization.INT8, rescore=load)
    scores, keys = index.search(vectors[15:18], 10)
    assert keys[0, 0] == 16
    assert scores[0, 0] == pytest.approx(1, abs=1e-6)
    assert 17 not in keys
    assert 18 in keys[2]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("quantization", MODES)
def test_it_is_trained_again_as_it_grows_and_given_up_as_it_shrinks(
    quantization: Quantization,
) -> None:
    vectors = make_clustered(1_200)
    index = VectorIndex(D, quantization=quantization, crossover=200)
    numbers = [1]
    for start in range(0, 1_200, 100):
        index.add(np.arange(start + 1, start + 101), vectors[start : start + 100])
        index.settle()
        if count_cells(index) != numbers[-1]:
            numbers.append(count_cells(index))
    assert numbers[0] == 1
    assert len(numbers) == 4  # at 200, 400 and 800
    assert numbers == sorted(numbers)
    np.testing.assert_allclose(
        index.vectors(np.arange(1, 1_201)), vectors, atol=TOLERANCE[quantization]
    )
    index.remove(np.arange(1, 1_131))
    index.settle()
    assert index.is_exact
    assert index.now.held == len(index) == 70
    assert set(index.search(vectors[:1], 70)[1][0]) == set(range(1_131, 1_201))


@pytest.mark.usefixtures("small")
def test_removed_vectors_are_excluded_at_once_and_leave_the_lists_later() -> None:
    vectors = make_clustered(1_000)
    index = fill_index(vectors, crossover=200)
    index.remove(np.array([5, 5, 999_999, -3, 0]))
    assert len(index) == 999
    for options in ({}, {"include": np.arange(1, 11)}, {"exclude": np.array([7])}):
        assert 5 not in index.search(vectors[4:5], 1_000, **options)[1]
    assert index.now.held == 1_000
    index.remove(np.arange(1, 101))
    index.settle()
    assert index.now.held == len(index) == 900


operations = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "remove", "reload", "settle"]),
        st.integers(1, 90),
        st.integers(0, 10**6),
    ),
    max_size=12,
)


@pytest.mark.usefixtures("small")
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(operations=operations, quantization=st.sampled_from(MODES))
def test_whatever_is_done_it_agrees_with_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory,
    operations: list[tuple[str, int, int]],
    quantization: Quantization,
) -> None:
    path = tmp_path_factory.getbasetemp() / "model.index"
    index, model, last = (
        VectorIndex(D, quantization=quantization, crossover=120),
        dict[int, Vectors](),
        0,
    )
    for operation, count, seed in operations:
        if operation == "add":
            keys = last + np.cumsum(np.random.default_rng(seed).integers(1, 4, count))
            vectors, last = make_clustered(count, seed), int(keys[-1])
            index.add(keys, vectors)
            model |= dict(zip(keys.tolist(), vectors, strict=True))
        elif operation == "remove":
            gone = np.random.default_rng(seed).integers(-2, last + 3, count)
            index.remove(gone)
            model = {key: vector for key, vector in model.items() if key not in set(gone.tolist())}
        elif operation == "reload":
            index.save(path, {"seed": seed})
            index.close()
            index = VectorIndex.load(path, D, quantization=quantization, crossover=120)
            assert index.extra == {"seed": seed}
        else:
            index.settle()
        agrees(index, model, seed, TOLERANCE[quantization])
    index.close()


def agrees(index: VectorIndex, model: dict[int, Vectors], seed: int, tolerance: float) -> None:
    """The index holds what the model holds, and finds it."""
    assert len(index) == len(model)
    if not model:
        return
    keys, vectors, query = (
        np.array(list(model)),
        np.stack(list(model.values())),
        make_clustered(1, seed + 1),
    )
    np.testing.assert_allclose(index.vectors(keys), vectors, atol=tolerance)
    # some gone, some never there
    include = np.random.default_rng(seed).integers(-1, keys.max() + 5, 1 + len(keys) // 3)
    for options, passing in (
        ({"include": include}, np.isin(keys, include)),
        ({"exclude": include}, ~np.isin(keys, include)),
    ):
        scores, found = index.search(query, 1 + int(passing.sum()), **options)
        assert sorted(found[0][:-1]) == sorted(keys[passing])
        assert found[0, -1] == -1
        np.testing.assert_allclose(
            scores[0][:-1], -np.sort(-(vectors[passing] @ query[0])), atol=tolerance
        )
    found = index.search(query, len(keys) + 1)[1][0]
    assert sorted(found[found >= 0]) == sorted(keys)


def test_what_is_saved_comes_back_the_same(trained: VectorIndex, tmp_path: Path) -> None:
    trained.save(tmp_path / "a.index", {"position": [4_000, 7]})
    loaded = VectorIndex.load(tmp_path / "a.index", D, crossover=1_000)
    queries = make_clustered(30, 1)
    for mine, its in zip(loaded.search(queries, 10), trained.search(queries, 10), strict=True):
        np.testing.assert_array_equal(mine, its)
    assert loaded.extra == {"position": [4_000, 7]}
    loaded.add(np.array([4_001]), queries[:1])
    assert loaded.search(queries[:1], 1)[1] == 4_001
    assert [path.name for path in tmp_path.iterdir()] == ["a.index"]


def test_a_file_that_is_replaced_does_not_disturb_who_has_it_loaded(
    trained: VectorIndex, tmp_path: Path
) -> None:
    path = tmp_path / "a.index"
    trained.save(path)
    loaded = VectorIndex.load(path, D)
    path.write_bytes(b"")
    np.testing.assert_array_equal(loaded.vectors(np.array([5])), trained.vectors(np.array([5])))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a small trained index."""
    path = tmp_path_factory.mktemp("saved") / "a.index"
    fill_index(make_clustered(600), crossover=200).save(path)
    return path.read_bytes()


def read_error(path: Path, **options: Any) -> str:
    """The message of the one error that a file which cannot be used gives."""
    with pytest.raises(GalleryError) as caught:
        VectorIndex.load(path, **{"dimension": D, **options})
    assert caught.value.code == "index"
    assert caught.value.field == str(path)
    assert "\n" not in caught.value.message
    return caught.value.message


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(share=st.floats(0, 1, exclude_max=True), early=st.booleans())
def test_a_file_cut_short_is_refused(
    saved: bytes, tmp_path: Path, share: float, early: bool
) -> None:
    (tmp_path / "cut").write_bytes(saved[: int(share * (600 if early else len(saved)))])
    read_error(tmp_path / "cut")


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), early=st.booleans())
def test_a_flipped_bit_is_refused(
    saved: bytes, tmp_path: Path, share: float, bit: int, early: bool
) -> None:
    damaged = bytearray(saved)
    damaged[int(share * (600 if early else len(saved)))] ^= 1 << bit
    (tmp_path / "flipped").write_bytes(damaged)
    read_error(tmp_path / "flipped")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"TRIREIDX",
        b"TRIREIDX\xff\xff\xff\xff",
        b"TRIREIDX\2\0\0\0{}",
        b"TRIREIDX\2\0\0\0[]",
        b"SQLite format 3\0" * 90,
    ],
)
def test_external_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "external").write_bytes(content)
    read_error(tmp_path / "external")


def test_absent_files_folders_and_files_with_more_behind_are_refused(
    tmp_path: Path, saved: bytes
) -> None:
    read_error(tmp_path / "absent")
    read_error(tmp_path)
    (tmp_path / "longer").write_bytes(saved + b"\0")
    assert "checksum" in read_error(tmp_path / "longer")


def test_a_file_of_another_kind_of_index_is_refused(tmp_path: Path, saved: bytes) -> None:
    (tmp_path / "good").write_bytes(saved)
    assert "dimension is 32, not 33" in read_error(tmp_path / "good", dimension=D + 1)
    assert "quantization is float32, not int8" in read_error(tmp_path / "good", quantization="int8")
    assert "recall is 0.99, not 0.9" in read_error(tmp_path / "good", recall=0.9)


def test_saving_that_fails_leaves_the_old_file(
    trained: VectorIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.index"
    trained.save(path, {"which": "old"})

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        trained.save(path, {"which": "new"})
    monkeypatch.undo()
    assert VectorIndex.load(path, D).extra == {"which": "old"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.index"]


def test_a_writer_waits_for_readers_and_goes_before_those_that_come_later() -> None:
    lock, order, held = ReadWriteLock(), [], threading.Event()

    def write() -> None:
        with lock.write():
            order.append("written")
            held.wait(0.1)
            order.append("still alone")

    def read() -> None:
        with lock.read():
            order.append("read")

    with lock.read(), lock.read():
        writer = threading.Thread(target=write)
        writer.start()
        for _ in range(5_000):
            if lock._waiting:
                break
            time.sleep(0.001)
        reader = threading.Thread(target=read)
        reader.start()
        held.wait(0.05)
        order.append("first reader done")
    writer.join(10)
    reader.join(10)
    assert order == ["first reader done", "written", "still alone", "read"]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("quantization", MODES)
def test_searches_stay_right_while_others_add_remove_merge_and_train(
    quantization: Quantization, tmp_path: Path
) -> None:
    vectors = make_clustered(1_800)
    index = fill_index(vectors[:600], quantization=quantization, crossover=200)
    lasting, failures, done = np.arange(1, 301), [], threading.Event()

    def seek(seed: int) -> None:
        draw = np.random.default_rng(seed)
        while not done.is_set():
            key = int(draw.integers(1, 301))
            scores, keys = index.search(vectors[key - 1 : key], 5)
            _, filtered = index.search(vectors[key - 1 : key], 300, lasting)
            if (
                abs(scores[0, 0] - 1) > TOLERANCE[quantization]
                or not (key == keys[0]).any()
                or set(filtered[0]) != set(lasting)
            ):
                failures.append((key, scores, keys))

    searchers = [threading.Thread(target=seek, args=(seed,)) for seed in range(3)]
    for searcher in searchers:
        searcher.start()
    for start in range(600, 1_800, 60):
        index.add(np.arange(start + 1, start + 61), vectors[start : start + 60])
        index.remove(np.arange(start - 299, start - 269))
        if start % 600 == 0:
            index.save(tmp_path / "a.index")
    index.settle()
    done.set()
    for searcher in searchers:
        searcher.join()
    assert not failures
    assert len(index) == 1_800 - 20 * 30
    assert len(VectorIndex.load(tmp_path / "a.index", D, quantization=quantization)) > 600


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("quantization", MODES)
@pytest.mark.parametrize("crossover", [200, 10_000])
def test_what_is_seen_changes_in_whole_steps_only(
    quantization: Quantization, crossover: int, tmp_path: Path
) -> None:
    vectors = make_clustered(900)
    index = fill_index(vectors[:600], quantization=quantization, crossover=crossover)
    queries, lasting = vectors[:20], np.arange(1, 700)

    def find(of: IndexSnapshot | VectorIndex) -> list[Any]:
        several = [
            of.search(queries, 40),
            of.search(queries, 40, lasting),
            of.search(queries, 40, exclude=lasting[:30]),
        ]
        return [part.tolist() for pair in several for part in pair] + [
            of.vectors(np.arange(2, 600)).tolist()
        ]

    then = index.now
    before = find(index)
    with index.change():
        index.add(np.arange(601, 751), vectors[600:750])
        index.remove(np.arange(1, 200, 2))
        assert find(index) == before
    index.remove(np.array([620]))
    index.settle()
    assert find(then) == before  # whatever is merged and trained
    serialization.save(tmp_path / "then", then, {})
    assert (
        find(VectorIndex.load(tmp_path / "then", D, quantization=quantization))[::2] == before[::2]
        or crossover == 200
    )
    assert len(VectorIndex.load(tmp_path / "then", D, quantization=quantization)) == 600
    assert set(index.search(queries, 900)[1][0]) - {-1} == set(range(1, 751)) - set(
        range(1, 200, 2)
    ) - {620}


@pytest.mark.usefixtures("small")
def test_a_change_that_fails_is_never_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = make_clustered(900)
    index = fill_index(vectors[:600], crossover=200)
    with pytest.raises(GalleryError, match="must grow"):
        index.add(np.array([7]), vectors[:1])
    index.add(np.array([601]), vectors[600:601])  # what is refused changes nothing

    def full(*_: Any) -> None:
        raise MemoryError("planted")

    def half() -> None:
        with monkeypatch.context() as patch, index.change():
            index.add(np.arange(602, 851), vectors[601:850])
            patch.setattr(segment.IndexSegment, "append", full)
            index.add(np.array([851]), vectors[850:851])

    with pytest.raises(MemoryError):
        half()
    index.settle()
    assert set(index.search(vectors[:1], 900)[1][0]) - {-1} == set(range(1, 602))
    with pytest.raises(GalleryError, match="rebuild it"):
        index.remove(np.array([1]))


@pytest.mark.usefixtures("small")
def test_an_addition_that_ends_halfway_is_never_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The codes are there, the sketch and the key are not."""
    vectors = make_clustered(700)
    index = fill_index(vectors[:600], crossover=200)
    index.add(np.array([601]), vectors[600:601])

    def fail(*_: Any) -> None:
        raise MemoryError("planted")

    monkeypatch.setattr(segment.IndexSegment, "add_sketches", fail)
    with pytest.raises(MemoryError):
        index.add(np.array([602]), vectors[601:602])
    monkeypatch.undo()
    assert set(index.search(vectors[:1], 900)[1][0]) - {-1} == set(range(1, 602))
    assert set(index.search(vectors[:1], 9, np.arange(600, 700))[1][0]) - {-1} == {600, 601}
    with pytest.raises(GalleryError, match="rebuild it"):
        index.add(np.array([602]), vectors[601:602])


@pytest.mark.usefixtures("small")
def test_what_happens_during_training_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, reached, go = make_clustered(500), threading.Event(), threading.Event()
    true_measure = measure

    def slow(*given: Any) -> Any:
        reached.set()
        assert go.wait(20)
        return true_measure(*given)

    monkeypatch.setattr(under_test, "measure", slow)
    index = VectorIndex(D, crossover=300)
    index.add(np.arange(1, 301), vectors[:300])
    assert reached.wait(20)
    index.add(np.arange(301, 321), vectors[300:320])
    index.remove(np.array([7, 310]))
    assert index.is_exact
    assert index.search(vectors[304:305], 1)[1] == 305
    go.set()
    index.settle()
    assert not index.is_exact
    assert len(index) == 318
    found = set(index.search(vectors[:1], 500)[1][0]) - {-1}
    assert found == set(range(1, 321)) - {7, 310}


@pytest.mark.usefixtures("small")
def test_work_that_fails_is_reported_and_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    vectors = make_clustered(400)

    def broken(*_: Any, **__: Any) -> None:
        raise MemoryError("planted")

    monkeypatch.setattr(under_test, "compact", broken)
    index = VectorIndex(D, crossover=300)
    index.add(np.arange(1, 301), vectors[:300])
    index.settle()
    assert "could not be compacted" in caplog.text
    index.add(np.arange(301, 320), vectors[300:319])
    index.settle()
    assert sorted(index.search(vectors[:1], 319)[1][0]) == list(range(1, 320))
    # it is not tried again at every change
    assert caplog.text.count("could not be compacted") == 1
    monkeypatch.undo()
    index.add(
        np.arange(320, 320 + under_test.STALE_AT_LEAST),
        make_clustered(under_test.STALE_AT_LEAST, 5),
    )
    index.settle()
    assert not index.is_exact
    assert len(index) == 319 + under_test.STALE_AT_LEAST


def test_closing_ends_training_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds, begun = [], threading.Event()
    true_round = coarse_quantizer._improve

    def slow(*given: Any) -> Any:
        rounds.append(1)
        begun.set()
        time.sleep(0.2)
        return true_round(*given)

    monkeypatch.setattr(coarse_quantizer, "_improve", slow)
    index = VectorIndex(D, crossover=300)
    index.add(np.arange(1, 301), make_clustered(300))
    assert begun.wait(20)
    index.close()
    assert 1 <= len(rounds) <= 2
    assert index.is_exact
    assert index.search(make_clustered(1), 300)[1].min() == 1


@pytest.mark.parametrize(("asked", "gpus"), [("0", 1), ("", 1), ("1", 0), ("1", None)])
def test_a_gpu_is_used_only_if_asked_for_and_there(
    monkeypatch: pytest.MonkeyPatch, asked: str, gpus: int | None
) -> None:
    monkeypatch.setenv("TRIREID_INDEX_GPU", asked)
    monkeypatch.delattr(faiss, "get_num_gpus", raising=False)
    if gpus is not None:
        monkeypatch.setattr(faiss, "get_num_gpus", lambda: gpus, raising=False)
    monkeypatch.delattr(gpu, "GpuCopy")
    index = fill_index(make_scattered(5_000))
    assert index.is_exact
    assert index.search(make_scattered(5_000)[41:42], 1)[1] == 42


def test_the_gpu_copy_gives_keys_and_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1, raising=False)
    monkeypatch.setenv("TRIREID_INDEX_GPU", "1")
    monkeypatch.setattr(gpu, "_move", lambda flat: flat)  # stands in for the copy on the GPU
    vectors = make_scattered(5_000)
    index = fill_index(vectors)
    index.add(np.array([9_000]), vectors[:1])
    index.remove(np.array([3]))
    keys = index.search(vectors[:3], 2_000)[1]
    assert keys[0, :2].tolist() in ([1, 9_000], [9_000, 1])
    assert 3 not in keys
    assert len(set(index.search(vectors[:1], 2_048)[1][0])) == 2_048
