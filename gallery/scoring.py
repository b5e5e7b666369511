"""Scores over what two samples really share: the segments of the modalities that both have."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trireid.inference import Card
from trireid.samples import MODALITIES

Floats = NDArray[np.float32]
Masks = NDArray[np.int64]
#: The mask of a sample that has every modality.
ALL: Final = (1 << len(MODALITIES)) - 1
_TINY: Final = 1e-12


def make_mask(modalities: Iterable[str]) -> int:
    """Modalities as bits: rgb 1, nir 2, tir 4."""
    return sum(1 << MODALITIES.index(modality) for modality in set(modalities))


class Segments:
    """The segments of a network's embedding, and cosines over those that two samples share.

    A segment counts where all its modalities are there (`rgb+nir` needs both). Embeddings are
    float32 [n, D].
    """

    def __init__(self, card: Card) -> None:
        self.dimension = card.dimension
        self.seen = make_mask(card.modalities)
        self._parts = [
            (make_mask(part.modality.split("+")), part.start, part.stop) for part in card.segments
        ]
        self.columns = cache(self._columns)

    def _columns(self, mask: int) -> NDArray[np.bool_]:
        """Which columns [D] a sample with the modalities of `mask` has; all, of a network that
        joins all in one segment.
        """
        columns = np.zeros(self.dimension, np.bool_)
        for needed, start, stop in self._parts:
            columns[start:stop] = needed & mask == needed
        return (
            columns if columns.any() or len(self._parts) > 1 else np.ones(self.dimension, np.bool_)
        )

    def reduce(self, embeddings: Floats, masks: Masks) -> Floats:
        """The embeddings without what each sample lacks, of unit length: what is compared, and what
        the index holds.
        """
        whole = self.columns(self.seen).all() and bool(((masks & self.seen) == self.seen).all())
        kept = (
            embeddings
            if whole
            else embeddings * np.stack([self.columns(mask) for mask in masks.tolist()])
        )
        return _unit(kept)

    def scores(self, query: Floats, query_mask: int, embeddings: Floats, masks: Masks) -> Floats:
        """Cosines float32 [n] of a query [D] with embeddings over the columns that both have; -inf
        where they share none.
        """
        scores = np.full(len(embeddings), -np.inf, np.float32)
        for mask in np.unique(masks).tolist():
            columns = self.columns(mask) & self.columns(query_mask)
            if columns.any():
                rows = masks == mask
                scores[rows] = _unit(embeddings[rows] * columns) @ _unit(query * columns)
        return scores


def _unit(values: Floats) -> Floats:
    lengths = np.linalg.norm(values, axis=-1, keepdims=True)
    unit: Floats = values / np.maximum(lengths, _TINY)
    return unit
