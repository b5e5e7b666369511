"""mAP and CMC: the field's numbers on the goldens, and the definitions on small rankings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import find_shared
from trireid.evaluation import evaluate, evaluate_distance, rerank


@pytest.mark.parametrize("protocol", ["camera", "scene"])
def test_research_metrics(protocol: str) -> None:
    golden = np.load(find_shared("goldens") / "metrics.npz")
    scores = evaluate(
        golden["query_features"],
        golden["gallery_features"],
        golden["query_ids"],
        golden["gallery_ids"],
        golden[f"query_{protocol}s"],
        golden[f"gallery_{protocol}s"],
    )
    assert scores.mAP == pytest.approx(float(golden[f"{protocol}_mAP"]), abs=1e-6)
    assert np.abs(scores.cmc - golden[f"{protocol}_cmc"]).max() <= 1e-6


def test_research_reranking() -> None:
    """The original sums in float16, hence the tolerance."""
    golden = np.load(find_shared("goldens") / "metrics.npz")
    distance = rerank(golden["query_features"], golden["gallery_features"], k1=20, k2=6, lam=0.3)
    assert distance.dtype == np.float32
    assert np.abs(distance - golden["rerank_distance"]).max() <= 5e-3
    labels = [
        golden[f"{side}_{name}"] for name in ("ids", "cameras") for side in ("query", "gallery")
    ]
    scores = evaluate_distance(distance, *labels)
    assert scores.mAP == pytest.approx(float(golden["rerank_mAP"]), abs=1e-4)
    assert np.abs(scores.cmc - golden["rerank_cmc"]).max() <= 1e-6


def test_reranking_with_only_the_original_distance_is_the_original_distance() -> None:
    draw = np.random.default_rng(0)
    queries, gallery = draw.normal(size=(7, 5)), draw.normal(size=(20, 5))
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, gallery)]
    squared = ((unit[0][:, None] - np.concatenate(unit)[None]) ** 2).sum(axis=2)
    expected = squared[:, 7:] / squared.max(axis=1, keepdims=True)
    assert np.abs(rerank(queries, gallery, lam=1.0) - expected).max() < 1e-5


def test_reranking_brings_up_what_shares_the_neighbourhood() -> None:
    """Two clusters; a stray of the other cluster is nearer to the query than its own cluster is,
    and falls behind it.
    """
    draw = np.random.default_rng(1)
    centres = np.eye(16)[:2]
    own, other = (centres[i] + 0.12 * draw.normal(size=(25, 16)) for i in range(2))
    query = 0.62 * centres[:1] + 0.45 * centres[1:2]
    features = np.concatenate([own, other])
    distance = rerank(query, features, lam=0.0)
    assert distance[0, :25].mean() < distance[0, 25:].mean()
    assert np.all((distance >= -1e-6) & (distance <= 1 + 1e-6))


@pytest.mark.parametrize("wrong", [{"k1": 0}, {"k2": 0}, {"lam": 1.5}])
def test_reranking_refuses_what_makes_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="k1 and k2 must be at least 1"):
        rerank(np.eye(3), np.eye(3), **wrong)  # type: ignore[arg-type]


def test_a_run_worked_out_by_hand() -> None:
    """The gallery in order of similarity: own camera (dropped), wrong, right, wrong, right -> AP
    (1/2 + 2/4) / 2.
    """
    angles = np.deg2rad([1, 5, 10, 20, 30])
    gallery = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    scores = evaluate([[2.0, 0.0]], gallery, ["a"], ["a", "b", "a", "b", "a"], [0], [0, 0, 1, 1, 2])
    assert scores.mAP == pytest.approx(0.5)
    assert scores.mINP == pytest.approx(2 / 4)
    assert scores.cmc[:3].tolist() == [0, 1, 1]
    assert scores.queries == 1


def test_a_query_without_a_match_left_is_not_counted() -> None:
    scores = evaluate(np.eye(2), np.eye(2), ["a", "b"], ["a", "b"], [0, 0], [1, 0])
    assert (scores.queries, scores.mAP, scores.rank1) == (1, 1.0, 1.0)
    with pytest.raises(ValueError, match="no query has a match"):
        evaluate(np.eye(2), np.eye(2), ["a", "b"], ["a", "b"], [0, 0], [0, 0])


def test_lengths_that_disagree_are_named() -> None:
    with pytest.raises(ValueError, match="identities number 1 and 2, features 2 and 2"):
        evaluate(np.eye(2), np.eye(2), ["a"], ["a", "b"], [0, 0], [1, 1])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 50))
def test_neither_order_nor_length_of_vectors_nor_names_matter(seed: int, scale: float) -> None:
    draw = np.random.default_rng(seed)
    features, ids, cameras = (
        draw.normal(size=(30, 4)),
        draw.integers(0, 5, 30),
        draw.integers(0, 3, 30),
    )
    whole = evaluate(features, features, ids, ids, cameras, cameras)
    shuffled = draw.permutation(30)
    lengths = scale * draw.uniform(0.5, 2, (30, 1))
    names = [f"person {number}" for number in ids]
    other = evaluate(
        features * lengths,
        features[shuffled],
        names,
        [names[i] for i in shuffled],
        cameras.tolist(),
        cameras[shuffled],
    )
    assert other.mAP == pytest.approx(whole.mAP)
    assert np.allclose(other.cmc, whole.cmc)
    assert (np.diff(whole.cmc) >= 0).all()


def test_other_groups_leave_out_the_querys_own_group_whole() -> None:
    """In order of similarity: own camera's other identity, right, wrong: the first counts unless
    its camera is left out.
    """
    angles = np.deg2rad([1, 5, 10])
    gallery = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    labels = ["a"], ["b", "a", "b"], [0], [0, 1, 1]
    assert evaluate([[2.0, 0.0]], gallery, *labels).mAP == pytest.approx(1 / 2)
    assert evaluate([[2.0, 0.0]], gallery, *labels, other_groups=True).mAP == 1
    distance = np.array([[1.0, 2.0, 3.0]])
    assert evaluate_distance(distance, *labels).rank1 == 0
    assert evaluate_distance(distance, *labels, other_groups=True).rank1 == 1
    with pytest.raises(ValueError, match="no query has a match"):
        evaluate([[2.0, 0.0]], gallery, ["a"], ["b", "a", "b"], [1], [0, 1, 1], other_groups=True)
