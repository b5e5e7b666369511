"""Lists written anew: several tiers merged into one, or regrouped by another partition. What was removed is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from gallery.index.codec import Codec, Codes
from gallery.index.contract import Keys
from gallery.index.lists import NOTHING, Lists
from gallery.index.partition import Partition

Proceed = Callable[[], None]
#: Regrouping gathers so many vectors at a time.
_GROUP = 65_536
#: Cells handled between two looks at whether to go on.
_PACE = 64


def merged(tiers: Sequence[Lists], cells: NDArray[np.int32], proceed: Proceed) -> Lists:
    """The tiers' vectors whose key has a cell in `cells`, in one, with sketches where there is more than one cell.

    The tiers share partition and codec, the first has sketches, and each has keys above those of the one before. `proceed` may
    end the work by raising.
    """
    partition = tiers[0].partition
    lists = Lists(tiers[0].codec, partition, sketched=len(partition) > 1)
    for cell in range(len(partition)):
        if cell % _PACE == 0:
            proceed()
        lists.extend(cell, *joined(tiers, cells, cell))
    return lists


def joined(tiers: Sequence[Lists], cells: NDArray[np.int32], cell: int) -> tuple[Keys, Codes, Codes | None]:
    """Keys, codes and sketches (none for a partition of one cell) of one cell of all tiers, as `merged` holds them."""
    keys, codes, sketches = zip(*(_kept(tier, tiers[0], cells, cell) for tier in tiers), strict=True)
    joined_sketches = None if len(tiers[0].partition) == 1 else np.concatenate(sketches)
    return np.concatenate(keys), np.concatenate(codes), joined_sketches


def _kept(tier: Lists, sketcher: Lists, cells: NDArray[np.int32], cell: int) -> tuple[Keys, Codes, Codes | None]:
    keys, codes, sketches = tier.keys(cell), tier.codes(cell), tier.sketches(cell)
    keep = cells[keys] != NOTHING
    if sketches is None:
        made = sketcher.sketched(cell, codes[keep]) if len(sketcher.partition) > 1 else None
        return keys[keep], codes[keep], made
    return keys[keep], codes[keep], sketches[keep]


def regrouped(
    tiers: Sequence[Lists], cells: NDArray[np.int32], partition: Partition, codec: Codec, proceed: Proceed, *, sketched: bool
) -> Lists:
    """As `merged`, by another partition or over another codec, on which the tiers need not agree either."""
    lists = Lists(codec, partition, sketched=sketched)
    moves = [_moves(tier, cells, partition, proceed) for tier in tiers]
    sizes = sum((np.bincount(to[to != NOTHING], minlength=len(partition)) for move in moves for to in move), _zeros(partition))
    for start, stop in _groups(sizes):
        proceed()
        keys, codes, to = _gathered(tiers, moves, codec, start, stop)
        order = np.lexsort((keys, to))
        edges = np.searchsorted(to[order], np.arange(start, stop + 1))
        for cell in range(start, stop):
            chosen = order[edges[cell - start] : edges[cell - start + 1]]
            lists.extend(cell, keys[chosen], codes[chosen])
    return lists


def _zeros(partition: Partition) -> NDArray[np.int64]:
    return np.zeros(len(partition), np.int64)


def _moves(tier: Lists, cells: NDArray[np.int32], partition: Partition, proceed: Proceed) -> list[NDArray[np.int64]]:
    """Per cell of the tier, the new cell of each of its vectors; nothing for those that were removed."""
    moves = []
    for cell in range(len(tier.partition)):
        if cell % _PACE == 0:
            proceed()
        to = _assigned(tier, cell, partition, proceed)
        to[cells[tier.keys(cell)] == NOTHING] = NOTHING
        moves.append(to)
    return moves


def _assigned(tier: Lists, cell: int, partition: Partition, proceed: Proceed) -> NDArray[np.int64]:
    codes, parts = tier.codes(cell), [np.empty(0, np.int64)]
    for start in range(0, len(codes), _GROUP // 4):
        proceed()
        parts.append(partition.assign(tier.codec.decode(codes[start : start + _GROUP // 4])))
    return np.concatenate(parts)


def _groups(sizes: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of cells that hold about `_GROUP` vectors each."""
    groups = np.cumsum(sizes) // _GROUP
    edges = np.flatnonzero(np.diff(groups)) + 1
    yield from zip([0, *edges.tolist()], [*edges.tolist(), len(sizes)], strict=True)


def _gathered(
    tiers: Sequence[Lists], moves: Sequence[list[NDArray[np.int64]]], codec: Codec, start: int, stop: int
) -> tuple[Keys, Codes, NDArray[np.int64]]:
    """Keys, codes and new cells of all that moves to the cells from `start` to before `stop`."""
    keys, codes, cells = [np.empty(0, np.int64)], [np.empty((0, codec.size), np.uint8)], [np.empty(0, np.int64)]
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
