"""How far searches go: the operating point of an index, as `tuning` measures it."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Final, NamedTuple

#: The numbers of neighbours that an operating point is measured for.
NEIGHBOURS: Final = (10, 30, 100, 300, 1000)
#: Sketches that are picked for each neighbour (ten at least), and how many more.
FACTORS: Final = (2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256)
MORE: Final = 20


class Probes(NamedTuple):
    """How far one search goes.

    `cells`: the nearest to a query that are looked into; None if every vector is compared.
    `shortlist`: vectors that are picked there by their sketches and then compared.
    """

    cells: int | None = None
    shortlist: int = 0


EVERYTHING: Final = Probes()


@dataclass(frozen=True)
class OperatingPoint:
    """For 10, 30, ... neighbours, the cells to probe of all `cells`, and the sketches to pick for
    each neighbour.
    """

    cells: int = 1
    probes: tuple[int, ...] = ()
    factors: tuple[int, ...] = ()

    def probes_for(self, wanted: int, depth: float) -> Probes:
        """How far to search for `wanted` out of the `depth` nearest neighbours.

        The cells are those measured for the next higher number; all, beyond the highest.
        """
        tuned = bisect_left(NEIGHBOURS, depth)
        cells = self.probes[tuned] if tuned < len(self.probes) else self.cells
        if cells >= self.cells:
            return EVERYTHING
        factor = max(self.factors[: tuned + 1])
        return Probes(cells, max(wanted, NEIGHBOURS[0]) * factor + MORE)
