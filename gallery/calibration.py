"""Calibration: from a cosine to something like the probability that two samples show the same
identity.

Cosines of a network bunch wherever its features lie; what one means shows in the gallery's own
identities. A logistic curve is fitted to pairs of one identity (across cameras, where there are
several) and pairs of two, as likely as each other. Source: Platt, "Probabilistic Outputs for
Support Vector Machines" (1999).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trireid.gallery.read_session import ReadSession
from trireid.gallery.scoring import Segments

Probability = Callable[[float], float]
#: Fewer pairs of one identity say too little.
LEAST_PAIRS: Final = 30
MOST_PAIRS: Final = 4_000
_IDENTITIES: Final = 500
#: Items that are looked at: of an identity from a camera, and in all.
_OF_EACH, _MOST_ITEMS = 16, 4_000
_OF_SEVERAL: Final = """
SELECT key, identity, camera FROM (
    SELECT key, identity, camera,
        row_number() OVER (PARTITION BY identity, camera ORDER BY key) AS place FROM items
    WHERE identity IN (
        SELECT identity FROM items WHERE identity IS NOT NULL
        GROUP BY identity HAVING count(*) > 1 LIMIT ?
    )
) WHERE place <= ? ORDER BY place, key LIMIT ?
"""
_GROWTH: Final = 2.0
_STEPS: Final = 50
_RIDGE: Final = 1e-3
_STEEPEST: Final = 30.0


class Calibration:
    """The curves of one view, for each subset of modalities that queries have; fitted on first use,
    and again as it grows.
    """

    def __init__(self) -> None:
        self._curves: dict[int, tuple[int, Probability | None]] = {}
        self._lock = threading.Lock()

    def find_curve(self, session: ReadSession, mask: int) -> Probability | None:
        """The curve for queries of these modalities; None where identities do not suffice."""
        with self._lock:
            fitted_for, curve = self._curves.get(mask, (0, None))
            if len(session.snapshot) >= max(1.0, _GROWTH * fitted_for):
                curve = _fit(session, mask)
                self._curves[mask] = len(session.snapshot), curve
            return curve


def _fit(session: ReadSession, mask: int) -> Probability | None:
    rows = session.rows(_OF_SEVERAL, [_IDENTITIES, _OF_EACH, _MOST_ITEMS])
    same, other = _pairs(rows)
    if len(same) < LEAST_PAIRS or len(other) < LEAST_PAIRS:
        return None
    keys = np.array([row[0] for row in rows], np.int64)
    vectors, masks = session.vectors(keys)
    segments = session.segments
    scores = [_cosines(segments, vectors, masks, mask, pairs) for pairs in (same, other)]
    return logistic(scores[0], scores[1]) if min(map(len, scores)) >= LEAST_PAIRS else None


def _pairs(rows: Sequence[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places in `rows` of pairs of one identity, from two cameras where cameras are known, and of
    two identities, [n, 2].
    """
    by_identity: dict[str, list[int]] = {}
    for place, (_, identity, _) in enumerate(rows):
        by_identity.setdefault(identity, []).append(place)
    same = [
        pair
        for places in by_identity.values()
        for pair in combinations(places[:16], 2)
        if _tells(rows, pair)
    ]
    draw = np.random.default_rng(0)
    other = (
        draw.integers(0, max(1, len(rows)), (MOST_PAIRS, 2)) if rows else np.empty((0, 2), np.int64)
    )
    names = np.array([row[1] for row in rows])
    other = other[names[other[:, 0]] != names[other[:, 1]]] if rows else other
    chosen = np.array(same, np.int64).reshape(-1, 2)
    return draw.permutation(chosen)[:MOST_PAIRS], other


def _tells(rows: Sequence[Any], pair: tuple[int, int]) -> bool:
    one, other = (rows[place][2] for place in pair)
    return one is None or other is None or one != other


def _cosines(
    segments: Segments,
    vectors: NDArray[np.float32],
    masks: NDArray[np.int64],
    mask: int,
    pairs: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Cosines of pairs as a query of these modalities would get them: over the segments that both
    have.
    """
    both = masks[pairs[:, 0]] & masks[pairs[:, 1]] & mask
    sides = [segments.reduce(vectors[pairs[:, side]], both) for side in (0, 1)]
    lengths = np.linalg.norm(sides[0], axis=1) * np.linalg.norm(sides[1], axis=1)
    cosines: NDArray[np.float64] = np.einsum("nd,nd->n", *sides)[lengths > 0.5].astype(np.float64)
    return cosines


def logistic(same: NDArray[np.float64], other: NDArray[np.float64]) -> Probability:
    """The logistic curve that tells scores of one identity from scores of two, both kinds weighing
    the same; it never falls.
    """
    scores = np.concatenate([same, other])
    middle, spread = float(scores.mean()), max(float(scores.std()), 1e-9)
    x = np.stack([(scores - middle) / spread, np.ones(len(scores))], axis=1)
    y = np.concatenate([np.ones(len(same)), np.zeros(len(other))])
    weight = np.concatenate(
        [np.full(len(same), 0.5 / len(same)), np.full(len(other), 0.5 / len(other))]
    )
    slope, offset = _newton(x, y, weight)
    slope = min(max(slope, 0.0), _STEEPEST)

    def probability(score: float) -> float:
        return float(
            1 / (1 + np.exp(-np.clip(slope * (score - middle) / spread + offset, -50, 50)))
        )

    return probability


def _newton(
    x: NDArray[np.float64], y: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[float, float]:
    beta = np.zeros(2)
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -50, 50)))
        gradient = x.T @ (weight * (p - y)) + _RIDGE * beta
        curvature = (x * (weight * p * (1 - p))[:, None]).T @ x + _RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        beta -= step
        if np.abs(step).max() < 1e-9:
            break
    return float(beta[0]), float(beta[1])
