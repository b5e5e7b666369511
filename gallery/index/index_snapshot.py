"""An immutable snapshot of the index, as searches see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

import numpy as np

from trireid.gallery.index.compaction import compact
from trireid.gallery.index.contract import (
    NOTHING,
    Keys,
    LoadVectors,
    Scores,
    Tags,
    Vectors,
    proceed_always,
)
from trireid.gallery.index.lock import ReadWriteLock
from trireid.gallery.index.operating_point import EVERYTHING, OperatingPoint, Probes
from trireid.gallery.index.quantization import Quantization
from trireid.gallery.index.segment import IndexSegment
from trireid.gallery.index.selection import Selection, select
from trireid.gallery.index.threads import ALL, threads
from trireid.samples.errors import GalleryError, ItemNotFoundError

#: Queries worked on at a time, and the shortlists of those, together.
QUERY_BATCH: Final = 256
_PICKED_AT_ONCE: Final = 2_000_000
#: A filter that at most this share, or this many, pass is answered by comparing all that pass.
_FEW: Final = 0.05
FEW_AT_LEAST: Final = 10_000
#: Rescored are the k best, half as many more, and these.
EXTRA: Final = 5


@dataclass(frozen=True, eq=False)
class IndexSnapshot:
    """The index at the end of a change, whatever is added, removed, merged or trained later.

    Attributes:
        segments: Each has keys above those of the one before. The last one grows: `lock` is held
            while it is read, and later keys in it are not found.
        grown: How many vectors of the last segment count.
        tags: One number about each key, 0 if it is gone: uint8 [last key + 1].
        removed: Excludes the removed keys that segments still hold; None without any.
        operating_point: How far searches go.
        trained_for: How many vectors the coarse quantizer was trained for.
        quantization, recall: As the index was asked for them.
        lock: Guards the last segment.
    """

    segments: tuple[IndexSegment, ...]
    tags: Tags
    quantization: Quantization
    recall: float
    lock: ReadWriteLock = field(default_factory=ReadWriteLock)
    operating_point: OperatingPoint = field(default_factory=OperatingPoint)
    grown: int = 0
    removed: Selection | None = None
    trained_for: int = 0

    def __len__(self) -> int:
        return self._count

    @cached_property
    def _count(self) -> int:
        return int(np.count_nonzero(self.tags))

    @property
    def held(self) -> int:
        """Vectors in the segments, removed ones among them."""
        return sum(len(segment) for segment in self.segments[:-1]) + self.grown

    @property
    def is_exact(self) -> bool:
        """Whether every vector is compared."""
        return self.segments[0].coarse is None

    @property
    def memory(self) -> int:
        """Bytes held, less what the last segment keeps free to grow."""
        coarse = self.segments[0].coarse
        centroids = 0 if coarse is None else coarse.centroids.nbytes
        return sum(segment.memory for segment in self.segments) + centroids + self.tags.nbytes

    @cached_property
    def count_by_tag(self) -> dict[int, int]:
        """How many vectors have each tag that there is."""
        counts = np.bincount(self.tags)
        return {tag: int(counts[tag]) for tag in np.flatnonzero(counts).tolist() if tag}

    def keys_with(self, tags: Sequence[int]) -> Keys:
        """The keys int64 [n], ascending, that have one of these tags."""
        wanted = tuple(tags)
        if wanted not in self._keys_by_tags:
            self._keys_by_tags[wanted] = np.flatnonzero(np.isin(self.tags, wanted))
        return self._keys_by_tags[wanted]

    @cached_property
    def _keys_by_tags(self) -> dict[tuple[int, ...], Keys]:
        return {}

    def search(
        self,
        queries: Vectors,
        k: int,
        include: Keys | None = None,
        *,
        exclude: Keys | None = None,
        rescore: LoadVectors | None = None,
    ) -> tuple[Scores, Keys]:
        """Find the k nearest of each query.

        Args:
            queries: Float32 [Q, D], of unit length.
            k: Neighbours of each query, 1 at least.
            include: Only these keys may be found; None for all.
            exclude: These keys may not be found.
            rescore: Gives better vectors, by which the best are rescored.

        Returns:
            Scores and keys [Q, k], best first; -inf and -1 if there are fewer.

        Raises:
            GalleryError: The queries are of another dimension, or k is below 1.
        """
        queries = self._check(queries, k)
        selection, is_filtered = self.removed, include is not None or exclude is not None
        if is_filtered:
            selection = select(self.tags != 0, include, exclude)
        probes = self._probes(k, selection if is_filtered else None)
        at_once = max(1, min(QUERY_BATCH, _PICKED_AT_ONCE // max(k, probes.shortlist)))
        found = [(np.empty((0, k), np.float32), np.empty((0, k), np.int64))]
        with threads(ALL if len(queries) > 1 else 1):
            for start in range(0, len(queries), at_once):
                part = queries[start : start + at_once]
                found.append(self._search(part, k, probes, selection, rescore))
        if len(found) == 2:
            return found[-1]
        scores, keys = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return scores, keys

    def vectors(self, keys: Keys) -> Vectors:
        """Return the vectors of keys [n], float32 [n, D], as exactly as they are held.

        Raises:
            ItemNotFoundError: A key is not there.
        """
        keys = np.asarray(keys, np.int64)
        known = (keys > 0) & (keys < len(self.tags))
        known[known] = self.tags[keys[known]] != 0
        if not known.all():
            gone = keys[~known][0]
            raise ItemNotFoundError(f"keys: the index holds no vector under {gone}", "keys")
        found = np.empty((len(keys), self.segments[0].codec.dimension), np.float32)
        with self.lock.read():
            for segment in self.segments:
                held = segment.keys
                positions = np.searchsorted(held, keys)
                here = np.flatnonzero(positions < len(held))
                here = here[held[positions[here]] == keys[here]]
                found[here] = segment.vectors(positions[here])
        return found

    def freeze(self) -> IndexSnapshot:
        """Copy the last segment, so that no lock is needed to read the snapshot."""
        with self.lock.read():
            last = self.segments[-1]
            copy = compact([last], self.tags, proceed_always, last.codec, last.coarse)
        return replace(self, segments=(*self.segments[:-1], copy), grown=len(copy))

    def _check(self, queries: Vectors, k: int) -> Vectors:
        dimension = self.segments[0].codec.dimension
        queries = np.ascontiguousarray(queries, np.float32)
        if queries.ndim != 2 or queries.shape[1] != dimension:
            shape = list(queries.shape)
            raise GalleryError(f"queries: expected [Q, {dimension}], got {shape}", "queries")
        if k < 1:
            raise GalleryError(f"k: must be 1 at least, not {k}", "k")
        return queries

    def _probes(self, k: int, filtered: Selection | None) -> Probes:
        """How far to search for the k best that pass a filter.

        A narrow filter needs everything. Of another, that one in n passes, the k best are expected
        among the 2 n k nearest: often a filter excludes the nearest to a query (the items of its
        own camera).
        """
        if filtered is None:
            return self.operating_point.probes_for(k, k)
        if filtered.passing <= max(FEW_AT_LEAST, _FEW * self.held):
            return EVERYTHING
        share = min(1.0, max(1, filtered.passing) / max(1, self.held))
        return self.operating_point.probes_for(2 * k, 2 * k / share)

    def _search(
        self,
        queries: Vectors,
        k: int,
        probes: Probes,
        selection: Selection | None,
        rescore: LoadVectors | None,
    ) -> tuple[Scores, Keys]:
        is_exact = self.segments[0].codec.quantization is Quantization.FLOAT32
        wanted = k if rescore is None or is_exact else k + EXTRA + k // 2
        scores, keys = self._scan(queries, wanted, probes, selection)
        if probes.cells is not None and (keys[:, -1] == NOTHING).any():
            # the nearest are excluded: look further
            passing = self.held if selection is None else selection.passing
            short = (keys == NOTHING).sum(axis=1) > max(0, wanted - passing)
            if short.any():
                scores[short], keys[short] = self._scan(
                    queries[short], wanted, EVERYTHING, selection
                )
        if rescore is not None and wanted > k:
            return _rescore(rescore, queries, keys, k)
        return scores, keys

    def _scan(
        self, queries: Vectors, k: int, probes: Probes, selection: Selection | None
    ) -> tuple[Scores, Keys]:
        """The best of all segments."""
        selector, last = None if selection is None else selection.selector, self.segments[-1]
        sealed = [segment for segment in self.segments[:-1] if len(segment)]
        found = [segment.search(queries, k, probes, selector) for segment in sealed]
        if self.grown or not found:
            with self.lock.read():
                first = -1 if len(last) == self.grown else self.grown
                found.append(last.search(queries, k, probes, selector, first))
        if len(found) == 1:
            return found[0]
        scores, keys = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
        return _best(scores, keys, k)


def _best(scores: Scores, keys: Keys, k: int) -> tuple[Scores, Keys]:
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(keys, order, 1)


def _rescore(load: LoadVectors, queries: Vectors, keys: Keys, k: int) -> tuple[Scores, Keys]:
    """The k best of a shortlist [Q, n] by the vectors that are loaded; those that are gone fall
    out.
    """
    wanted, places = np.unique(keys[keys != NOTHING], return_inverse=True)
    scores = np.full(keys.shape, -np.inf, np.float32)
    if len(wanted):
        rows = np.asarray(load(wanted), np.float32)[places]
        of_query = queries[np.nonzero(keys != NOTHING)[0]]
        scores[keys != NOTHING] = np.einsum("nd,nd->n", rows, of_query)
    scores[np.isnan(scores)] = -np.inf
    return _best(scores, np.where(np.isneginf(scores), NOTHING, keys), k)
