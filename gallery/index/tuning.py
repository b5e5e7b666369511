"""How far to search: the fewest cells to probe that give the recall asked for, measured on the
index's own vectors.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trireid.gallery.index.contract import Keys, Scores, Vectors
from trireid.gallery.index.lists import NOTHING
from trireid.gallery.index.partition import Look
from trireid.gallery.index.sealed import Sealed

#: How many of the index's vectors are asked as queries, and how many of them at a time.
QUERIES: Final = 256
_GROUP: Final = 32
#: The numbers of neighbours that probes are tuned for.
NEIGHBOURS: Final = (10, 30, 100, 300, 1000)
#: What a shortlist may hold for each neighbour that is wanted (ten at least), and how many more.
FACTORS: Final = (2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256)
_MORE: Final = 20
#: Of what may be missed, the cells that are not probed may take this share, and the shortlists the
#: next half of the rest: queries to come are less like the gallery than its own vectors are.
_CELLS: Final = 0.5
_ALL: Final = 0.75
#: Scores that differ by no more are equal.
_EQUAL: Final = 1e-6

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Effort:
    """How many of all `cells` to probe for 10, 30, ... neighbours, and how many times as many to
    pick by their sketches.
    """

    cells: int
    probes: tuple[int, ...] = ()
    factors: tuple[int, ...] = ()

    def probes_for(self, k: float) -> int:
        """Cells to probe for k neighbours: as tuned for the next higher number, all where none was."""
        return next(
            (probes for tuned, probes in zip(NEIGHBOURS, self.probes, strict=False) if k <= tuned),
            self.cells,
        )

    def shortlist_for(self, k: int, depth: float) -> int:
        """How many to pick by their sketches, for k out of `depth` neighbours: with the largest
        factor up to there.
        """
        tuned = 1 + bisect_left(NEIGHBOURS, depth)
        return max(k, NEIGHBOURS[0]) * max(self.factors[:tuned] or FACTORS[-1:]) + _MORE


@dataclass(frozen=True)
class _Asked:
    """Queries [Q, D] with their own keys [Q], which are not found; the scores [Q, n] of their true
    neighbours, best first.
    """

    queries: Vectors
    own: Keys
    truth: Scores


def tuned(
    sealed: Sealed,
    cells: NDArray[np.int32],
    own: Keys,
    queries: Vectors,
    recall: float,
    selector: Any = None,
    proceed: Callable[[], None] = lambda: None,
) -> Effort:
    """The least effort with which the neighbours of some of the lists' own vectors are found.

    `cells`: the cell of each key; `own` and `queries`: those vectors' keys [Q] and they themselves
    [Q, D]; `selector`: bars what was removed. A query does not count as its own neighbour; one
    neighbour is as good as another with the same score. `proceed` is called every now and then, and
    may end the work by raising.
    """
    most = min(NEIGHBOURS[-1], len(own) and len(sealed) - 1)
    if most < 1:
        return Effort(len(sealed.partition))
    groups, ranks = list[_Asked](), list[NDArray[np.int64]]()
    for start in range(0, len(own), _GROUP):
        proceed()
        part = slice(start, start + _GROUP)
        everywhere = Look(sealed.partition, queries[part], len(sealed.partition))
        scores, keys = _others(own[part], *sealed.scan(everywhere, most + 1, 0, selector))
        groups.append(_Asked(queries[part], own[part], scores))
        ranks.append(_ranks(everywhere.nearest[1], np.where(keys == NOTHING, NOTHING, cells[keys])))
    probes, factors = list[int](), list[int]()
    for k in (k for k in NEIGHBOURS if k <= most):
        probed = _least(np.concatenate(ranks)[:, :k], _missing(recall, _CELLS))
        factor = next(
            _enough(sealed, groups, k, probed, _missing(recall, _ALL), selector, proceed), None
        )
        if factor is None:
            _log.warning(
                "sketches do not tell %d neighbours apart well enough: all vectors are compared for them",
                k,
            )
        probes.append(len(sealed.partition) if factor is None else probed)
        factors.append(factor or FACTORS[0])
    return Effort(len(sealed.partition), tuple(probes), tuple(factors))


def _missing(recall: float, share: float) -> float:
    """The recall at which no more than this share is missed of what may be."""
    return 1 - share * (1 - recall)


def _enough(
    sealed: Sealed,
    groups: list[_Asked],
    k: int,
    probes: int,
    target: float,
    selector: Any,
    proceed: Callable[[], None],
) -> Iterator[int]:
    """The factors, growing, by which the k nearest are found with the recall `target`."""
    for factor in FACTORS:
        found = wanted = 0
        for asked in groups:
            proceed()
            look = Look(sealed.partition, asked.queries, probes)
            scores, _ = _others(asked.own, *sealed.scan(look, k + 1, factor * k + _MORE, selector))
            last = asked.truth[:, :k].min(
                axis=1, keepdims=True, where=np.isfinite(asked.truth[:, :k]), initial=np.inf
            )
            found += int(np.isfinite(scores[scores >= last - _EQUAL]).sum())
            wanted += int(np.isfinite(asked.truth[:, :k]).sum())
        if found >= target * wanted:
            yield factor


def _others(own: Keys, scores: Scores, keys: Keys) -> tuple[Scores, Keys]:
    """What was found [Q, k + 1] other than the queries themselves [Q], best first: [Q, k]."""
    order = np.argsort(keys == own[:, None], axis=1, kind="stable")[:, :-1]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(keys, order, 1)


def _ranks(order: Keys, cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place of each wanted cell [Q, n] in its query's order of the cells [Q, L]; 0 of those
    that are nothing.
    """
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.broadcast_to(np.arange(order.shape[1]), order.shape), 1)
    return np.where(cells == NOTHING, 0, np.take_along_axis(places, np.maximum(cells, 0), 1))


def _least(ranks: NDArray[np.int64], target: float) -> int:
    ordered = np.sort(ranks, axis=None)
    return int(ordered[int(np.ceil(target * len(ordered))) - 1]) + 1
