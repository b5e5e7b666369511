"""What a search can be asked for: missing modalities, tracklets, re-ranking, groups, probabilities,
times, retention.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.conftest import encode_image
from tests.gallery.crash_worker import DIMENSION, NoNetwork, embedding
from trireid.gallery import Gallery, live_index
from trireid.gallery.actor import current_actor
from trireid.gallery.calibration import _cosines, logistic
from trireid.gallery.filters import parse_instant
from trireid.gallery.index import VectorIndex
from trireid.gallery.items import Item, StoredImage
from trireid.gallery.read_session import ReadSession
from trireid.gallery.scoring import Segments, make_mask
from trireid.samples import MODALITIES, GalleryError, Sample

SUBSETS = [tuple(m for bit, m in enumerate(MODALITIES) if mask >> bit & 1) for mask in range(1, 8)]


class Told(NoNetwork):
    """Embeds a sample as what its id stands for, seen through the modalities that it has."""

    def embed_with_tokens(self, samples: Any) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        return np.stack([self.told(sample) for sample in samples]), np.empty(
            (len(samples), 3, 0), np.int64
        )

    def told(self, sample: Sample) -> NDArray[np.float32]:
        return embedding(str(sample.id))


@pytest.fixture
def people(tmp_path: Path) -> Iterator[Gallery]:
    """An empty gallery whose queries embed as their ids say."""
    with Gallery.open(tmp_path / "people.gallery", Told()) as opened:
        yield opened


def stored(id_: str, present: tuple[str, ...] = MODALITIES, **known: Any) -> Item:
    images = [StoredImage(name, b"small") for name in present]  # type: ignore[arg-type]
    vector = known.pop("vector", embedding(id_))
    return Item(id=id_, embedding=vector, digest=id_, images=images, **known)


def query(id_: str, present: tuple[str, ...] = MODALITIES, **known: Any) -> Sample:
    images: dict[str, Any] = dict.fromkeys(present, encode_image(0))
    return Sample(id=id_, **images, **known)


def cosine(one: NDArray[np.float32], other: NDArray[np.float32], modalities: set[str]) -> float:
    """By hand: over the four columns of each modality that both have."""
    columns = [
        column
        for i, name in enumerate(MODALITIES)
        if name in modalities
        for column in range(4 * i, 4 * i + 4)
    ]
    a, b = one[columns].astype(float), other[columns].astype(float)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@given(st.sampled_from(SUBSETS), st.lists(st.sampled_from(SUBSETS), min_size=1, max_size=6))
@settings(deadline=None, max_examples=25)
def test_scores_are_cosines_over_what_both_have(
    tmp_path_factory: pytest.TempPathFactory, asked: tuple[str, ...], held: list[tuple[str, ...]]
) -> None:
    with Gallery.open(tmp_path_factory.mktemp("shared") / "g.gallery", Told()) as gallery:
        gallery.add_items([stored(f"i{n}", present) for n, present in enumerate(held)])
        hits = gallery.search(query("q", asked), k=10)
    shared = {f"i{n}": set(asked) & set(present) for n, present in enumerate(held)}
    assert {hit.id for hit in hits} == {id_ for id_, both in shared.items() if both}
    for hit in hits:
        assert hit.score == pytest.approx(
            cosine(embedding("q"), embedding(hit.id), shared[hit.id]), abs=1e-5
        )
    if len({frozenset(both) for both in shared.values() if both}) == 1:
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_a_query_of_one_modality_finds_its_own_among_many(people: Gallery) -> None:
    people.add_items([stored(f"i{n}") for n in range(300)])
    for n in (3, 77, 299):
        assert people.search(query(f"i{n}", ("nir",)), k=1)[0].id == f"i{n}"


def test_items_of_other_modalities_are_ranked_by_how_far_they_stand_out(people: Gallery) -> None:
    """Every full item scores over 0.9, items with rgb alone 0.5 or so: one of those with 0.8 is the
    better hit.
    """
    common, draw = embedding("common"), np.random.default_rng(0)
    along = _unit(common[:4])
    across = _unit(np.array([along[1], -along[0], along[3], -along[2]]))

    def rgb_alone(score: float) -> NDArray[np.float32]:
        part = score * along + np.sqrt(1 - score**2) * across
        return np.concatenate([part, embedding("whatever")[4:]]).astype(np.float32)

    full = [
        stored(f"full{n}", vector=_unit(common + 0.2 * embedding(f"full{n}"))) for n in range(60)
    ]
    alone = [
        stored(f"rgb{n}", ("rgb",), vector=rgb_alone(score))
        for n, score in enumerate(draw.normal(0.5, 0.05, 60))
    ]
    people.add_items([*full, *alone, stored("target", ("rgb",), vector=rgb_alone(0.8))])

    class Common(Told):
        def told(self, sample: Sample) -> NDArray[np.float32]:
            return common

    people.embedder = Common()
    hits = people.search(query("q"), k=5)
    assert (hits[0].id, round(hits[0].score, 4)) == ("target", 0.8)
    assert hits[1].score > 0.9


def _unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(values / np.linalg.norm(values), np.float32)


def test_several_images_of_one_query_are_averaged(people: Gallery) -> None:
    people.add_items(
        [stored(f"i{n}", vector=_unit(embedding(f"a{n}") + embedding(f"b{n}"))) for n in range(50)]
    )
    hits = people.search([query("a7", ("rgb", "nir")), query("b7", ("rgb", "tir"))], k=1)
    expected = np.concatenate(
        [(embedding("a7") + embedding("b7"))[:4] / 2, embedding("a7")[4:8], embedding("b7")[8:]]
    )
    (item,) = [n for n in range(50) if f"i{n}" == hits[0].id]
    held = _unit(embedding(f"a{item}") + embedding(f"b{item}"))
    assert hits[0].score == pytest.approx(cosine(expected, held, set(MODALITIES)), abs=1e-5)
    with pytest.raises(GalleryError, match="one sample at least"):
        people.search([], k=1)


def test_hits_of_one_identity_are_one_hit(people: Gallery) -> None:
    people.add_items([stored(f"i{n}", identity=f"person {n % 7}") for n in range(210)])
    people.add_items([stored(f"stranger {n}") for n in range(3)])
    hits = people.search(query("i3"), k=9, by_identity=True)
    assert [hit.rank for hit in hits] == list(range(1, 10))
    named = [hit.identity for hit in hits if hit.identity is not None]
    assert len(named) == len(set(named))
    every = people.search(query("i3"), k=213)
    for hit in (hit for hit in hits if hit.identity is not None):
        assert hit.id == next(each.id for each in every if each.identity == hit.identity)
    assert len(people.search(query("i3"), k=50, by_identity=True)) == 10


def test_a_least_score(people: Gallery) -> None:
    people.add_items([stored(f"i{n}") for n in range(40)])
    every = people.search(query("q"), k=40)
    least = every[11].score
    assert [hit.id for hit in people.search(query("q"), k=40, min_score=least)] == [
        hit.id for hit in every[:12]
    ]


def test_reranking_looks_at_neighbours(people: Gallery) -> None:
    """A tight group around the query's identity: its farthest member scores less than a stranger,
    but shares its neighbours.
    """
    draw = np.random.default_rng(0)
    centre = embedding("centre")

    def near(spread: float) -> NDArray[np.float32]:
        return _unit(centre + spread * draw.standard_normal(DIMENSION).astype(np.float32))

    people.add_items([stored(f"one{n}", vector=near(0.12), identity="one") for n in range(30)])
    people.add_items(
        [stored(f"other{n}", vector=near(0.6), identity=f"other {n}") for n in range(150)]
    )

    class Near(Told):
        def told(self, sample: Sample) -> NDArray[np.float32]:
            return near(0.25)

    people.embedder = Near()
    plain = [hit.identity for hit in people.search(query("q"), k=30)]
    again = [hit.identity for hit in people.search(query("q"), k=30, rerank=True)]
    assert again.count("one") > plain.count("one")
    assert people.search(query("q"), k=1, where={"id": "one1"}, rerank=True)[0].id == "one1"


def test_other_cameras_of_a_tracklet(people: Gallery) -> None:
    people.add_items([stored(f"i{n}", camera=n % 4) for n in range(40)])
    hits = people.search([query("q", camera=1), query("r", camera=3)], k=40, other_cameras=True)
    assert {hit.camera for hit in hits} == {0, 2}
    assert len(hits) == 20


def test_filters_follow_what_is_added_and_removed(people: Gallery) -> None:
    for n in range(6):
        people.add_items([stored(f"i{n}", camera=n % 2, time=f"2026-01-0{n + 1}T10:00:00+0{n}:00")])
        hits = people.search(query("q"), k=10, where={"camera": 0})
        assert {hit.id for hit in hits} == {f"i{m}" for m in range(n + 1) if m % 2 == 0}
    people.remove(ids=["i2"])
    people.add_items([stored("i4", camera=1)])  # replaced
    assert {hit.id for hit in people.search(query("q"), k=10, where={"camera": 0})} == {"i0"}


def test_times_are_moments_whatever_their_offset(people: Gallery) -> None:
    times = {
        "utc": "2026-05-01T12:00:00Z",
        "east": "2026-05-01T13:30:00+02:00",
        "bare": "2026-05-01T12:00:00",
        "text": "frame 7",
    }
    people.add_items([stored(id_, time=time) for id_, time in times.items()])

    def found(where: dict[str, Any]) -> set[str]:
        return {hit.id for hit in people.search(query("q"), k=10, where=where)}

    assert found({"time": {"lt": "2026-05-01T12:00:00Z"}}) == {"east"}
    assert found({"time": {"gte": "2026-05-01T14:00:00+02:00"}}) == {"utc", "bare"}
    assert found({"time": "2026-05-01T11:30:00Z"}) == {"east"}
    assert found({"time": "frame 7"}) == {"text"}
    with pytest.raises(GalleryError, match=r"where\.time: a range takes"):
        found({"time": {"before": "2026-05-01"}})


def test_what_is_too_old_is_removed(people: Gallery) -> None:
    people.add_items(
        [
            stored("old", time="2001-01-01"),
            stored("new", time=datetime.now(UTC).isoformat()),
            stored("undated"),
        ]
    )
    assert people.remove_older(30) == 1
    assert people.ids() == {"new", "undated"}
    assert people.audit()[0][2] == {"older_than_days": 30, "removed": 1, "by": current_actor()}
    for days in (0.0, -1.0, math.nan):
        with pytest.raises(GalleryError, match="days must be over 0"):
            people.remove_older(days)


def test_probabilities_come_from_the_gallerys_own_identities(people: Gallery) -> None:
    draw = np.random.default_rng(0)
    assert people.add_items([stored("first", identity="a")])
    assert people.search(query("first"), k=1)[0].probability is None
    for n in range(40):
        parts = [
            _unit(embedding(f"p{n}") + 0.25 * draw.standard_normal(DIMENSION).astype(np.float32))
            for _ in range(3)
        ]
        people.add_items(
            [stored(f"p{n}-{i}", vector=v, identity=f"p{n}", camera=i) for i, v in enumerate(parts)]
        )
    hits = people.search(query("p3"), k=120)
    chances = [hit.probability for hit in hits if hit.probability is not None]
    assert len(chances) == len(hits)
    assert chances == sorted(chances, reverse=True)
    assert all(0 <= chance <= 1 for chance in chances)
    assert chances[0] > 0.9
    assert chances[-1] < 0.1
    for present in (("rgb",), ("nir", "tir")):
        part = people.search(query("p3", present), k=120)
        assert part[0].probability is not None


def test_the_probability_compares_pairs_over_what_both_have(people: Gallery) -> None:
    """Else one item without a modality would make pairs of one identity look like pairs of two."""
    segments, vector = Segments(people.embedder.card), embedding("p")[None]
    for masks in ((7, 3), (3, 7), (7, 7), (6, 3)):
        alike = _cosines(
            segments, np.repeat(vector, 2, axis=0), np.array(masks), 7, np.array([[0, 1]])
        )
        assert alike == pytest.approx([1], abs=1e-5)


@given(st.floats(-0.9, 0.9), st.floats(0.001, 0.5), st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_the_curve_is_half_where_both_are_as_likely(middle: float, gap: float, seed: int) -> None:
    """Two normal clouds of one width: the logistic curve crosses 1/2 between their means."""
    draw = np.random.default_rng(seed)
    same, other = draw.normal(middle + gap, gap / 2, 3000), draw.normal(middle - gap, gap / 2, 3000)
    curve = logistic(same, other)
    assert curve(middle) == pytest.approx(0.5, abs=0.12)
    assert curve(middle + gap) > 0.9 > 0.1 > curve(middle - gap)


def test_a_segment_of_two_modalities_needs_both() -> None:
    class Joined(NoNetwork):
        pass

    card = Joined().card
    from dataclasses import replace

    from trireid.inference import Segment

    parts = (
        Segment("rgb", "global", 0, 4),
        Segment("nir", "global", 4, 8),
        Segment("rgb+nir", "head", 8, 12),
    )
    segments = Segments(replace(card, segments=parts))
    assert segments.columns(make_mask(["rgb"])).tolist() == [True] * 4 + [False] * 8
    assert segments.columns(make_mask(["rgb", "nir"])).all()
    assert not segments.columns(make_mask(["tir"])).any()


@pytest.mark.parametrize("text", [None, "", "now", "2026-13-01", "12:00"])
def test_what_is_no_time(text: str | None) -> None:
    assert parse_instant(text) is None


def test_a_filter_that_one_in_ten_thousand_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above the crossover, where search looks into a few cells only; the item is the farthest of
    all from the query.
    """
    monkeypatch.setattr(live_index, "VectorIndex", partial(VectorIndex, crossover=2_000))
    with Gallery.open(tmp_path / "a.gallery", Told(), memory="int8") as people:
        people.add_items([stored(f"i{n}", identity=f"p{n}", camera=n % 7) for n in range(9_999)])
        people.add_items(
            [stored("far", vector=-embedding("q"), identity="rare", attributes={"plate": "B 7"})]
        )
        people.live_index().index.settle()
        assert not people.live_index().index.is_exact
        for where in ({"identity": "rare"}, {"plate": "B 7"}, {"id": ["far", "none"]}):
            (hit,) = people.search(query("q"), k=10, where=where)
            assert hit.id == "far"
            assert hit.score == pytest.approx(-1, abs=1e-5)
        assert [
            hit.camera
            for hit in people.search(
                query("q", camera=3), k=5, where={"identity": ["p3", "p4"]}, other_cameras=True
            )
        ] == [4]


def test_the_probability_is_fitted_to_a_bounded_share(
    people: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often one identity was seen, and by whatever camera first."""
    people.add_items(
        [stored(f"a{n}", vector=embedding("a"), identity="a", camera=0) for n in range(500)]
    )
    people.add_items(
        [
            stored(f"{k}{n}", vector=embedding(f"k{k}"), identity=f"k{k}", camera=n)
            for k in range(40)
            for n in (0, 1)
        ]
    )
    seen: list[int] = []
    vectors = ReadSession.vectors

    def counted(self: ReadSession, keys: Any) -> Any:
        seen.append(len(keys))
        return vectors(self, keys)

    monkeypatch.setattr(ReadSession, "vectors", counted)
    assert people.search(query("k3"), k=1)[0].probability is not None
    assert seen == [16 + 80]
