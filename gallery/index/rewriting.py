"""Lists written anew: several tiers merged into one, or regrouped by another partition.

What was removed is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from trireid.gallery.index.codec import Codec, Codes
from trireid.gallery.index.contract import Keys
from trireid.gallery.index.lists import NOTHING, Lists
from trireid.gallery.index.partition import Partition
from trireid.gallery.index.sealed import Sealed, Tier

Proceed = Callable[[], None]
#: Regrouping gathers so many bytes of codes at a time, and assigns so many vectors.
_GROUP = 96 << 20
_ASSIGNED = 16_384
#: Cells handled between two looks at whether to go on.
_PACE = 64


def merged(tiers: Sequence[Tier], cells: NDArray[np.int32], proceed: Proceed) -> Tier:
    """The tiers' vectors whose key has a cell in `cells`, in one, sealed where there is more than
    one cell.

    The tiers share partition and codec, the first is sealed where there is more than one cell, and
    each has keys above those of the one before. `proceed` may end the work by raising.
    """
    partition, codec = tiers[0].partition, tiers[0].codec
    if len(partition) == 1:
        lists = Lists(codec, partition)
        lists.extend(0, *joined(tiers, cells, 0)[:2])
        return lists
    sealed = Sealed(codec, partition, sizes_of(tiers, cells))
    for cell in range(len(partition)):
        if cell % _PACE == 0:
            proceed()
        sealed.fill(cell, *joined(tiers, cells, cell))
    return sealed


def sizes_of(tiers: Sequence[Tier], cells: NDArray[np.int32]) -> NDArray[np.int64]:
    """How many of the tiers' vectors have a cell in `cells`, [L]: by the cell that the tiers have
    them in.
    """
    numbers = range(len(tiers[0].partition))
    return np.array(
        [sum(int((cells[tier.keys(cell)] != NOTHING).sum()) for tier in tiers) for cell in numbers]
    )


def joined(
    tiers: Sequence[Tier], cells: NDArray[np.int32], cell: int
) -> tuple[Keys, Codes, Codes | None]:
    """Keys, codes and sketches (none for a partition of one cell) of one cell of all tiers, as
    `merged` holds them.
    """
    keys, codes, sketches = zip(
        *(_kept(tier, tiers[0], cells, cell) for tier in tiers), strict=True
    )
    joined_sketches = None if len(tiers[0].partition) == 1 else np.concatenate(sketches)
    return np.concatenate(keys), np.concatenate(codes), joined_sketches


def _kept(
    tier: Tier, first: Tier, cells: NDArray[np.int32], cell: int
) -> tuple[Keys, Codes, Codes | None]:
    keys = tier.keys(cell)
    keep = cells[keys] != NOTHING
    codes = tier.codes(cell)[keep]
    if isinstance(tier, Sealed):
        return keys[keep], codes, tier.sketches(cell)[keep]
    return keys[keep], codes, first.sketched(cell, codes) if isinstance(first, Sealed) else None


def regrouped(
    tiers: Sequence[Tier],
    cells: NDArray[np.int32],
    partition: Partition,
    codec: Codec,
    proceed: Proceed,
    *,
    seal: bool,
) -> Tier:
    """As `merged`, by another partition or over another codec, on which the tiers need not agree
    either.
    """
    moves = [_moves(tier, cells, partition, proceed) for tier in tiers]
    sizes = sum(
        (np.bincount(to[to != NOTHING], minlength=len(partition)) for move in moves for to in move),
        _zeros(partition),
    )
    made = Sealed(codec, partition, sizes) if seal else Lists(codec, partition)
    fill = made.fill if isinstance(made, Sealed) else made.extend
    for start, stop in _groups(sizes * codec.size):
        proceed()
        keys, codes, to = _gathered(tiers, moves, codec, start, stop)
        order = np.lexsort((keys, to))
        edges = np.searchsorted(to[order], np.arange(start, stop + 1))
        for cell in range(start, stop):
            chosen = order[edges[cell - start] : edges[cell - start + 1]]
            fill(cell, keys[chosen], codes[chosen])
    return made


def _zeros(partition: Partition) -> NDArray[np.int64]:
    return np.zeros(len(partition), np.int64)


def _moves(
    tier: Tier, cells: NDArray[np.int32], partition: Partition, proceed: Proceed
) -> list[NDArray[np.int64]]:
    """Per cell of the tier, the new cell of each of its vectors; nothing for those that were
    removed.
    """
    moves = []
    for cell in range(len(tier.partition)):
        if cell % _PACE == 0:
            proceed()
        to = _assigned(tier, cell, partition, proceed)
        to[cells[tier.keys(cell)] == NOTHING] = NOTHING
        moves.append(to)
    return moves


def _assigned(tier: Tier, cell: int, partition: Partition, proceed: Proceed) -> NDArray[np.int64]:
    codes, parts = tier.codes(cell), [np.empty(0, np.int64)]
    for start in range(0, len(codes), _ASSIGNED):
        proceed()
        parts.append(partition.assign(tier.codec.decode(codes[start : start + _ASSIGNED])))
    return np.concatenate(parts)


def _groups(sizes: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of cells that hold about `_GROUP` bytes each; `sizes`: the bytes of each cell."""
    groups = np.cumsum(sizes) // _GROUP
    edges = np.flatnonzero(np.diff(groups)) + 1
    yield from zip([0, *edges.tolist()], [*edges.tolist(), len(sizes)], strict=True)


def _gathered(
    tiers: Sequence[Tier],
    moves: Sequence[list[NDArray[np.int64]]],
    codec: Codec,
    start: int,
    stop: int,
) -> tuple[Keys, Codes, NDArray[np.int64]]:
    """Keys, codes and new cells of all that moves to the cells from `start` to before `stop`."""
    keys, codes, cells = (
        [np.empty(0, np.int64)],
        [np.empty((0, codec.size), np.uint8)],
        [np.empty(0, np.int64)],
    )
    for tier, move in zip(tiers, moves, strict=True):
        for cell, to in enumerate(move):
            chosen = np.flatnonzero((to >= start) & (to < stop))
            if len(chosen):
                keys.append(tier.keys(cell)[chosen])
                codes.append(_recoded(tier.codes(cell)[chosen], tier.codec, codec))
                cells.append(to[chosen])
    return np.concatenate(keys), np.concatenate(codes), np.concatenate(cells)


def _recoded(codes: Codes, old: Codec, new: Codec) -> Codes:
    return codes if new is old else new.encode(old.decode(codes))
