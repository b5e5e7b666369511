"""Measures the operating point: the fewest cells to probe, and then the shortest shortlists, that
give the recall asked for with the index's own vectors as queries.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trireid.gallery.index.contract import NOTHING, Keys, Proceed, Scores, Vectors
from trireid.gallery.index.operating_point import (
    EVERYTHING,
    FACTORS,
    MORE,
    NEIGHBOURS,
    OperatingPoint,
    Probes,
)
from trireid.gallery.index.segment import IndexSegment

#: How many of the index's vectors are queries, and how many are searched for at a time.
QUERIES: Final = 256
_GROUP: Final = 32
#: Of what may be missed, cells that are not probed may take this share, and the shortlists the next
#: half of the rest: later queries are less like the gallery than its own vectors are.
_CELLS: Final = 0.5
_ALL: Final = 0.75
#: Scores that differ by no more are equal.
_EQUAL: Final = 1e-6
_SEED: Final = 7

_log = logging.getLogger(__name__)


def draw(keys: Keys, count: int) -> Keys:
    """At most `count` of the keys at random, ascending."""
    if len(keys) <= count:
        return keys
    return np.sort(np.random.default_rng(_SEED).choice(keys, count, replace=False))


def measure(
    segment: IndexSegment, present: Keys, recall: float, selector: Any, proceed: Proceed
) -> OperatingPoint:
    """Find the least effort that finds the neighbours of some of a segment's own vectors.

    A query is not its own neighbour; a neighbour is as good as another with the same score.

    Args:
        segment: A segment with a coarse quantizer.
        present: The positions [n] of the vectors that were not removed.
        recall: The share of the neighbours to find, 0 to 1.
        selector: A FAISS selector that excludes the removed keys; None without any.
        proceed: Called every now and then; ends the work by raising.

    Returns:
        The operating point.
    """
    assert segment.coarse is not None
    most, cells = min(NEIGHBOURS[-1], len(present) - 1), len(segment.coarse)
    chosen = draw(present, QUERIES)
    own, queries = segment.keys[chosen], segment.vectors(chosen)

    def search(k: int, probes: Probes) -> tuple[Scores, Keys]:
        return _search_others(
            own, lambda part: segment.search(queries[part], k + 1, probes, selector), proceed
        )

    if most < 1:
        return OperatingPoint(cells)
    truth, keys = search(most, EVERYTHING)
    ranks = _rank_cells(segment, queries, keys)
    probes, factors = list[int](), list[int]()
    for k in (k for k in NEIGHBOURS if k <= most):
        probed = _quantile(ranks[:, :k], 1 - _CELLS * (1 - recall))
        if probed < cells:
            factor = _least_factor(search, truth[:, :k], probed, 1 - _ALL * (1 - recall))
            if factor is None:
                _log.warning("too few bits to tell %d neighbours apart: all are compared", k)
                probed = cells
            factors.append(factor or FACTORS[0])
        else:
            factors.append(FACTORS[0])
        probes.append(probed)
    return OperatingPoint(cells, tuple(probes), tuple(factors))


def _search_others(
    own: Keys, search: Callable[[slice], tuple[Scores, Keys]], proceed: Proceed
) -> tuple[Scores, Keys]:
    """Search for queries with their own keys [Q]; what is found other than those, best first."""
    found = list[tuple[Scores, Keys]]()
    for start in range(0, len(own), _GROUP):
        proceed()
        found.append(search(slice(start, start + _GROUP)))
    scores, keys = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(keys == own[:, None], axis=1, kind="stable")[:, :-1]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(keys, order, 1)


def _rank_cells(segment: IndexSegment, queries: Vectors, keys: Keys) -> NDArray[np.int64]:
    """How many cells are nearer to each query than that of each neighbour [Q, n]; 0 for none."""
    assert segment.coarse is not None
    cells = np.empty(len(segment), np.int64)
    for cell in range(len(segment.coarse)):
        cells[segment.cell(cell)[0]] = cell
    ranks = np.argsort(segment.coarse.rank(queries), axis=1)
    positions = np.searchsorted(segment.keys, np.maximum(keys, segment.keys[0]))
    return np.where(keys == NOTHING, 0, np.take_along_axis(ranks, cells[positions], 1))


def _quantile(ranks: NDArray[np.int64], share: float) -> int:
    """How many cells hold this share of the neighbours."""
    ordered = np.sort(ranks, axis=None)
    return int(ordered[int(np.ceil(share * len(ordered))) - 1]) + 1


def _least_factor(
    search: Callable[[int, Probes], tuple[Scores, Keys]], truth: Scores, cells: int, recall: float
) -> int | None:
    """The least factor by which the true neighbours [Q, k] are found with this recall, if any."""
    k, is_there = truth.shape[1], np.isfinite(truth)
    last = np.where(is_there, truth, np.inf).min(axis=1, keepdims=True)
    for factor in FACTORS:
        scores, _ = search(k, Probes(cells, factor * k + MORE))
        if (scores >= last - _EQUAL).sum() >= recall * is_there.sum():
            return factor
    return None
