"""An index in its file, and out of it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trireid.gallery.index import file
from trireid.gallery.index.codec import Codec, Memory
from trireid.gallery.index.contract import LAST_KEY
from trireid.gallery.index.lists import Lists
from trireid.gallery.index.partition import Partition
from trireid.gallery.index.rewriting import joined, sizes_of
from trireid.gallery.index.sealed import Sealed, Tier
from trireid.gallery.index.state import State, cells_of
from trireid.gallery.index.tuning import Effort

#: The order of a file's arrays and what its header holds: another number is another form.
LAYOUT: Final = 2


def save(path: Path, state: State, settings: Mapping[str, Any]) -> None:
    """Write a state, without what was removed, and settings that come back in the header.

    Nobody may add to it meanwhile.
    """
    codec = state.tiers[0].codec
    header = {
        "layout": LAYOUT,
        "dimension": codec.dimension,
        "memory": codec.memory.value,
        "levels": len(codec.levels),
        "cells": len(state.partition),
        "last": len(state.cells) - 1,
        "made_for": state.made_for,
        "probes": state.effort.probes,
        "factors": state.effort.factors,
        **settings,
    }
    file.write(path, header, _arrays(state))


def load(path: Path, expected: Mapping[str, Any], last: int) -> tuple[State, dict[str, Any]]:
    """The state and the header of a file.

    Raises GalleryError where it is damaged, unexpected, or has keys above `last`.
    """
    with file.reading(path) as reader:
        for name, value in {"layout": LAYOUT, **expected}.items():
            if reader.header.get(name) != value:
                raise ValueError(f"its {name} is {reader.header.get(name)}, not {value}")
        _check_header(reader.header, last)
        return _restored(reader), reader.header


def _check_header(header: Mapping[str, Any], last: int) -> None:
    """Raise ValueError for numbers that no index has: a stranger may have written the file."""
    numbers = [header[name] for name in ("cells", "levels", "made_for")] + [
        *header["probes"],
        *header["factors"],
    ]
    if not all(type(number) is int and 0 <= number <= LAST_KEY for number in numbers):
        raise ValueError("its header holds a number that no index has")
    if not header["cells"] or not -1 <= header["last"] <= last or type(header["last"]) is not int:
        raise ValueError(f"its last key is {header['last']}, over {last}")
    if not isinstance(header["extra"], dict):
        raise ValueError("its header is no mapping")


def _restored(reader: file.Reader) -> State:
    header = reader.header
    if header["levels"] != (2 * header["dimension"] if header["memory"] == Memory.INT8 else 0):
        raise ValueError(f"it has {header['levels']} levels")
    levels = reader.array(np.float32, header["levels"])
    codec = Codec(header["dimension"], Memory(header["memory"]), levels if len(levels) else None)
    partition = Partition(reader.array(np.float32, header["cells"], header["dimension"]))
    first = _read_first(reader, codec, partition)
    _check_tier(first, header["last"])
    reader.finish()
    effort = Effort(len(partition), tuple(header["probes"]), tuple(header["factors"]))
    return State(
        partition,
        (first, Lists(codec, partition)),
        cells_of([first], header["last"]),
        effort,
        header["made_for"],
    )


def _check_tier(tier: Tier, last: int) -> None:
    """Raise ValueError unless each cell's keys grow and none is negative or above the last."""
    for cell in range(len(tier.partition)):
        keys = tier.keys(cell)
        if len(keys) and (keys[0] < 0 or keys[-1] > last or (keys[1:] <= keys[:-1]).any()):
            raise ValueError("its keys are not in order")


def _arrays(state: State) -> Iterator[NDArray[Any]]:
    """What goes into the file, in the order in which it is read back."""
    tiers, cells, partition = state.tiers, state.cells, state.partition
    yield tiers[0].codec.levels
    yield partition.centroids
    yield sizes_of(tiers, cells)
    for cell in range(len(partition)):
        yield from (part for part in joined(tiers, cells, cell) if part is not None)


def _read_first(reader: file.Reader, codec: Codec, partition: Partition) -> Tier:
    """The first tier, cell after cell."""
    sizes = reader.array(np.int64, len(partition))
    if sizes.min() < 0 or sum(sizes.tolist()) * codec.size > reader.left:
        raise ValueError("it holds fewer vectors than it says")
    if len(partition) == 1:
        lists = Lists(codec, partition)
        lists.extend(
            0, reader.array(np.int64, sizes[0]), reader.array(np.uint8, sizes[0], codec.size)
        )
        return lists
    sealed = Sealed(codec, partition, sizes)
    for cell, size in enumerate(sizes.tolist()):
        keys, codes = reader.array(np.int64, size), reader.array(np.uint8, size, codec.size)
        sealed.fill(cell, keys, codes, reader.array(np.uint8, size, sealed.sketch_size))
    return sealed
