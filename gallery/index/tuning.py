"""How far to search: the fewest cells to probe that give the recall asked for, measured on the index's own vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gallery.index.contract import Keys, Vectors
from gallery.index.lists import NOTHING, Lists
from gallery.index.partition import Partition

#: How many of the index's vectors are asked as queries.
QUERIES: Final = 256
#: The numbers of neighbours that probes are tuned for.
NEIGHBOURS: Final = (10, 30, 100, 300, 1000)


@dataclass(frozen=True)
class Effort:
    """How many cells to probe for 10, 30, ... neighbours out of all `cells`; and the shortlist per neighbour asked for."""

    cells: int
    probes: tuple[int, ...] = ()
    shortlist: int = 4

    def probes_for(self, k: float) -> int:
        """Cells to probe for k neighbours: as tuned for the next higher number, all where none was."""
        return next((probes for tuned, probes in zip(NEIGHBOURS, self.probes, strict=False) if k <= tuned), self.cells)

    def shortlist_for(self, k: int) -> int:
        """How many to pick by their sketches, for k neighbours."""
        return self.shortlist * k + 20


def tuned(lists: Lists, partition: Partition, cells: NDArray[np.int32], queries: Vectors, recall: float) -> Effort:
    """The least effort with which the neighbours of `queries` (vectors of the lists, [Q, D]) are found.

    `cells`: the cell of each key. A query does not count as its own neighbour. The target is set half-way between `recall`
    and 1, since queries to come are less like the gallery than its own vectors are.
    """
    target = (1 + recall) / 2
    most = min(NEIGHBOURS[-1], len(lists) - 1)
    similarity, order = partition.nearest(queries, len(partition))
    neighbours = lists.scan(queries, similarity, order, most + 1, None)[1][:, 1:]
    ranks = _ranks(order, cells[neighbours])
    probes = tuple(_least(ranks[:, :k], target) for k in NEIGHBOURS if k <= most)
    effort = Effort(len(partition), probes)
    wanted = neighbours[:, : NEIGHBOURS[0]]
    while _found(lists, partition, queries, wanted, effort) < recall and effort.shortlist < 256:
        effort = Effort(effort.cells, effort.probes, 2 * effort.shortlist)
    return effort


def overlap(found: Keys, wanted: Keys) -> float:
    """Recall: the share of the wanted keys [Q, k] that were found [Q, any]; places that hold nothing do not count."""
    hits = sum(len(np.intersect1d(mine, its[its != NOTHING])) for mine, its in zip(found, wanted, strict=True))
    return hits / max(1, int((wanted != NOTHING).sum()))


def _found(lists: Lists, partition: Partition, queries: Vectors, wanted: Keys, effort: Effort) -> float:
    k = wanted.shape[1] + 1
    similarity, cells = partition.nearest(queries, effort.probes_for(k))
    return overlap(lists.scan(queries, similarity, cells, k, effort.shortlist_for(k))[1], wanted)


def _ranks(order: Keys, cells: NDArray[np.int32]) -> NDArray[np.int64]:
    """The place of each wanted cell [Q, n] in its query's order of the cells [Q, L]."""
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.broadcast_to(np.arange(order.shape[1]), order.shape), 1)
    return np.take_along_axis(places, cells.astype(np.int64), 1)


def _least(ranks: NDArray[np.int64], target: float) -> int:
    ordered = np.sort(ranks, axis=None)
    return int(ordered[int(np.ceil(target * len(ordered))) - 1]) + 1
