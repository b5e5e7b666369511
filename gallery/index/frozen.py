"""An index in its file, and out of it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gallery.index import file
from gallery.index.codec import Codec, Memory
from gallery.index.lists import NOTHING, Lists
from gallery.index.partition import Partition
from gallery.index.rewriting import joined
from gallery.index.state import State, cells_of
from gallery.index.tuning import Effort


def save(path: Path, state: State, settings: Mapping[str, Any]) -> None:
    """Write a state, without what was removed, and settings that come back in the header. Nobody may add to it meanwhile."""
    codec = state.tiers[0].codec
    header = {
        "dimension": codec.dimension,
        "memory": codec.memory.value,
        "levels": len(codec.levels),
        "cells": len(state.partition),
        "last": len(state.cells) - 1,
        "made_for": state.made_for,
        "probes": state.effort.probes,
        "shortlist": state.effort.shortlist,
        **settings,
    }
    file.write(path, header, _arrays(state))


def load(path: Path, expected: Mapping[str, Any]) -> tuple[State, dict[str, Any]]:
    """The state and the header of a file. Raises GalleryError where it is damaged, or its header is not as expected."""
    with file.reading(path) as reader:
        for name, value in expected.items():
            if reader.header[name] != value:
                raise ValueError(f"its {name} is {reader.header[name]}, not {value}")
        return _restored(reader), reader.header


def _restored(reader: file.Reader) -> State:
    header = reader.header
    levels = reader.array(np.float32, header["levels"])
    codec = Codec(header["dimension"], Memory(header["memory"]), levels if len(levels) else None)
    partition = Partition(reader.array(np.float32, header["cells"], header["dimension"]))
    lists = Lists(codec, partition, sketched=len(partition) > 1)
    _read_lists(reader, lists)
    reader.finish()
    effort = Effort(len(partition), tuple(header["probes"]), header["shortlist"])
    tiers = (lists, Lists(codec, partition, sketched=False))
    return State(partition, tiers, cells_of([lists], header["last"]), effort, header["made_for"])


def _arrays(state: State) -> Iterator[NDArray[Any]]:
    """What goes into the file, in the order in which it is read back."""
    tiers, cells, partition = state.tiers, state.cells, state.partition
    yield tiers[0].codec.levels
    yield partition.centroids
    yield np.array([sum(int((cells[tier.keys(cell)] != NOTHING).sum()) for tier in tiers) for cell in range(len(partition))])
    for cell in range(len(partition)):
        yield from (part for part in joined(tiers, cells, cell) if part is not None)


def _read_lists(reader: file.Reader, lists: Lists) -> None:
    count = len(lists.partition)
    for cell, size in enumerate(reader.array(np.int64, count).tolist()):
        keys, codes = reader.array(np.int64, size), reader.array(np.uint8, size, lists.codec.size)
        sketches = reader.array(np.uint8, size, lists.sketch_size) if count > 1 else None
        lists.extend(cell, keys, codes, sketches)
