"""What an index is at one moment: its partition, its lists, and where each key is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trireid.gallery.index.contract import Keys, Vectors
from trireid.gallery.index.lists import NOTHING, Lists
from trireid.gallery.index.partition import Partition
from trireid.gallery.index.sealed import Tier
from trireid.gallery.index.tuning import Effort

_SEED: Final = 7


@dataclass(frozen=True)
class State:
    """What searches see, replaced as a whole. `tiers`: each has keys above those of the one before;
    the last takes what is added.
    """

    partition: Partition
    tiers: tuple[Tier, ...]
    #: The cell of each key, -1 where it is gone or never was: int32 [more than the last key].
    cells: NDArray[np.int32]
    effort: Effort
    #: How many vectors the partition was made for.
    made_for: int = 0

    @property
    def tail(self) -> Lists:
        """The last tier, which grows."""
        tail = self.tiers[-1]
        assert isinstance(tail, Lists)
        return tail

    @property
    def held(self) -> int:
        """Vectors in the lists, removed ones among them."""
        return sum(len(tier) for tier in self.tiers)


def cells_of(tiers: Sequence[Tier], last: int) -> NDArray[np.int32]:
    """The cell of each key from 0 to the last, -1 for those that are not there."""
    cells = np.full(last + 1, NOTHING, np.int32)
    for tier in tiers:
        for cell in range(len(tier.partition)):
            cells[tier.keys(cell)] = cell
    return cells


def drawn(cells: NDArray[np.int32], count: int) -> Keys:
    """So many of the keys at random, ascending; all where there are fewer."""
    keys = np.flatnonzero(cells != NOTHING)
    return (
        keys
        if len(keys) <= count
        else np.sort(np.random.default_rng(_SEED).choice(keys, count, replace=False))
    )


def decoded(state: State, keys: Keys) -> Vectors:
    """The vectors of keys that are there, [n, D], as they are held."""
    found, filled = np.empty((len(keys), state.tiers[0].codec.dimension), np.float32), 0
    cells = state.cells[keys]
    order = np.argsort(cells, kind="stable")
    edges = np.flatnonzero(np.diff(cells[order])) + 1
    for rows in np.split(order, edges) if len(keys) else []:
        for tier in state.tiers:
            filled += _decode_into(found, tier, int(cells[rows[0]]), keys, rows)
    if filled != len(keys):
        raise KeyError(f"{len(keys) - filled} of {len(keys)} keys are in no tier")
    return found


def _decode_into(found: Vectors, tier: Tier, cell: int, keys: Keys, rows: NDArray[np.int64]) -> int:
    """Those of the rows whose key this tier has in this cell; how many they are."""
    held = tier.keys(cell)
    if not len(held):
        return 0
    places = np.minimum(np.searchsorted(held, keys[rows]), len(held) - 1)
    hit = held[places] == keys[rows]
    found[rows[hit]] = tier.codec.decode(tier.codes(cell)[places[hit]])
    return int(hit.sum())
