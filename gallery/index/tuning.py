"""How far to search: the fewest cells to probe that give the recall asked for, measured on the index's own vectors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gallery.index.contract import Keys, Vectors
from gallery.index.lists import NOTHING
from gallery.index.partition import Look
from gallery.index.sealed import Sealed

#: How many of the index's vectors are asked as queries.
QUERIES: Final = 256
#: The numbers of neighbours that probes are tuned for.
NEIGHBOURS: Final = (10, 30, 100, 300, 1000)


#: What a shortlist may hold for each neighbour that is wanted; the last is as good as all.
FACTORS: Final = (2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256)
#: A shortlist holds so many more.
_MORE: Final = 20


@dataclass(frozen=True)
class Effort:
    """How many of all `cells` to probe for 10, 30, ... neighbours, and how many times as many to pick by their sketches."""

    cells: int
    probes: tuple[int, ...] = ()
    factors: tuple[int, ...] = ()

    def probes_for(self, k: float) -> int:
        """Cells to probe for k neighbours: as tuned for the next higher number, all where none was."""
        return next((probes for tuned, probes in zip(NEIGHBOURS, self.probes, strict=False) if k <= tuned), self.cells)

    def shortlist_for(self, k: int, depth: float) -> int:
        """How many to pick by their sketches, for k out of `depth` neighbours: with the largest factor up to there."""
        tuned = 1 + sum(depth > at for at in NEIGHBOURS)
        return k * max(self.factors[:tuned] or FACTORS[-1:]) + _MORE


def tuned(sealed: Sealed, cells: NDArray[np.int32], queries: Vectors, recall: float) -> Effort:
    """The least effort with which the neighbours of `queries` (vectors of its own, [Q, D]) are found.

    `cells`: the cell of each key. A query does not count as its own neighbour. The target is set half-way between `recall`
    and 1, since queries to come are less like the gallery than its own vectors are.
    """
    target = (1 + recall) / 2
    most = min(NEIGHBOURS[-1], len(sealed) - 1)
    everywhere = Look(sealed.partition, queries, len(sealed.partition))
    neighbours = sealed.scan(everywhere, most + 1, 0)[1][:, 1:]
    ranks = _ranks(everywhere.nearest[1], cells[neighbours])
    probes = tuple(_least(ranks[:, :k], target) for k in NEIGHBOURS if k <= most)
    effort, factors = Effort(len(sealed.partition), probes), list[int]()
    for k in NEIGHBOURS[: len(probes)]:
        factors.append(_least_factor(sealed, queries, neighbours[:, :k], effort, recall))
    return replace(effort, factors=tuple(factors))


def overlap(found: Keys, wanted: Keys) -> float:
    """Recall: the share of the wanted keys [Q, k] that were found [Q, any]; places that hold nothing do not count."""
    hits = sum(len(np.intersect1d(mine, its[its != NOTHING])) for mine, its in zip(found, wanted, strict=True))
    return hits / max(1, int((wanted != NOTHING).sum()))


def _least_factor(sealed: Sealed, queries: Vectors, wanted: Keys, effort: Effort, recall: float) -> int:
    """The least of the factors by which the wanted neighbours [Q, k] of the queries are found."""
    k = wanted.shape[1]
    look = Look(sealed.partition, queries, effort.probes_for(k))
    picked = (sealed.scan(look, k + 1, factor * (k + 1) + _MORE)[1] for factor in FACTORS)
    enough = (factor for factor, found in zip(FACTORS, picked, strict=True) if overlap(found, wanted) >= recall)
    return next(enough, FACTORS[-1])


def _ranks(order: Keys, cells: NDArray[np.int32]) -> NDArray[np.int64]:
    """The place of each wanted cell [Q, n] in its query's order of the cells [Q, L]."""
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.broadcast_to(np.arange(order.shape[1]), order.shape), 1)
    return np.take_along_axis(places, cells.astype(np.int64), 1)


def _least(ranks: NDArray[np.int64], target: float) -> int:
    ordered = np.sort(ranks, axis=None)
    return int(ordered[int(np.ceil(target * len(ordered))) - 1]) + 1
