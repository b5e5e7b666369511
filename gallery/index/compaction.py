"""Compaction: the segments of an index written into one, without what was removed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trireid.gallery.index.coarse_quantizer import CoarseQuantizer
from trireid.gallery.index.contract import Codes, Keys, Proceed, Tags
from trireid.gallery.index.quantization import Codec
from trireid.gallery.index.segment import IndexSegment

#: Vectors worked on at a time.
_BLOCK: Final = 16_384
#: Cells handled between two calls of `proceed`.
_PACE: Final = 64


class Compaction:
    """The vectors of segments, with ascending keys throughout, whose key has a tag in `tags`."""

    def __init__(self, segments: Sequence[IndexSegment], tags: Tags) -> None:
        self._segments = segments
        self._kept = [_is_tagged(segment.keys, tags) for segment in segments]
        parts = [segment.keys[kept] for segment, kept in zip(segments, self._kept, strict=True)]
        self.keys: Keys = np.concatenate(parts)

    def codes(self) -> Iterator[tuple[Codec, Codes]]:
        """The codes, block after block, in the order of the keys, with their codec."""
        for segment, kept in zip(self._segments, self._kept, strict=True):
            codes = segment.codes
            for start in range(0, len(codes), _BLOCK):
                part = slice(start, start + _BLOCK)
                yield segment.codec, codes[part][kept[part]]

    def cells(self) -> Iterator[tuple[Keys, Codes]]:
        """The new positions and sketches in each cell of the quantizer that the segments share."""
        moved, start = list[NDArray[np.int64]](), 0
        for kept in self._kept:
            moved.append(start - 1 + np.cumsum(kept))
            start += int(kept.sum())
        assert self._segments[0].coarse is not None
        for cell in range(len(self._segments[0].coarse)):
            positions, sketches = list[Keys](), list[Codes]()
            for segment, kept, to in zip(self._segments, self._kept, moved, strict=True):
                old, sketched = segment.cell(cell)
                positions.append(to[old[kept[old]]])
                sketches.append(sketched[kept[old]])
            yield np.concatenate(positions), np.concatenate(sketches)


def compact(
    segments: Sequence[IndexSegment],
    tags: Tags,
    proceed: Proceed,
    codec: Codec,
    coarse: CoarseQuantizer | None,
) -> IndexSegment:
    """Write segments into one.

    Args:
        segments: Segments with ascending keys throughout, that no thread appends to.
        tags: Vectors whose key has the tag 0 are left out: uint8 [last key + 1].
        proceed: Called every now and then; ends the work by raising.
        codec: How the vectors are to be stored.
        coarse: The quantizer of the new segment; sketches are made again if it is a new one.
    """
    compaction = Compaction(segments, tags)
    made = IndexSegment(codec, coarse, len(compaction.keys))
    made.keys[:], start = compaction.keys, 0
    has_new_cells = coarse is not None and coarse is not segments[0].coarse
    for old, codes in compaction.codes():
        proceed()
        stop = start + len(codes)
        vectors = old.decode(codes) if has_new_cells or old is not codec else None
        made.codes[start:stop] = codes if old is codec or vectors is None else codec.encode(vectors)
        if has_new_cells and vectors is not None and coarse is not None:
            made.add_sketches(start, vectors, coarse.assign(vectors))
        start = stop
    if coarse is not None and not has_new_cells:
        for cell, (positions, sketches) in enumerate(compaction.cells()):
            if cell % _PACE == 0:
                proceed()
            made.add_cell(cell, positions, sketches)
    return made


def _is_tagged(keys: Keys, tags: Tags) -> NDArray[np.bool_]:
    """Whether each of the ascending keys has a tag."""
    known = keys[: np.searchsorted(keys, len(tags))]
    tagged = np.zeros(len(keys), bool)
    tagged[: len(known)] = tags[known] != 0
    return tagged
