"""The index of a gallery: exact while that is fast, inverted lists above, compacted in the
background.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from trireid.gallery.index import serialization
from trireid.gallery.index.coarse_quantizer import PER_CELL, CoarseQuantizer, suitable_cells
from trireid.gallery.index.compaction import compact
from trireid.gallery.index.contract import (
    LAST_KEY,
    Keys,
    LoadVectors,
    Scores,
    Tags,
    Vectors,
    proceed_always,
)
from trireid.gallery.index.index_snapshot import IndexSnapshot
from trireid.gallery.index.operating_point import OperatingPoint
from trireid.gallery.index.quantization import SAMPLE, Codec, Quantization
from trireid.gallery.index.segment import IndexSegment
from trireid.gallery.index.selection import select
from trireid.gallery.index.threads import ALL, threads
from trireid.gallery.index.tuning import draw, measure
from trireid.samples.atomic_write import replace_file
from trireid.samples.errors import GalleryError

#: Up to this many vectors every one is compared (see docs/gallery-index.md).
CROSSOVER: Final = 10_000
#: The coarse quantizer is trained again when the index holds this many times what it was trained
#: for, or this share of it.
GROWTH: Final = 2.0
SHRINKAGE: Final = 0.25
#: Added and removed vectors are merged in when they are this share of all, and at least this many.
STALE: Final = 0.05
STALE_AT_LEAST: Final = 4_096
#: A writer holds up searches for this many vectors at a time.
BATCH: Final = 256
#: The int8 ranges are fitted again, with a new coarse quantizer, when more than this share of
#: coordinates lies at their ends.
CLIPPED: Final = 1e-3

_log = logging.getLogger(__name__)


class _ClosedError(Exception):
    """The index was closed during background work."""


class VectorIndex:
    """Vectors [n, D] of unit length under keys.

    Keys are positive and grow: each added key is above all before it, and none comes twice.

    Up to `crossover` vectors, a search compares every one. Above, it looks into the k-means cells
    nearest to the query, as many as its own vectors need to be found with the `recall` asked for
    (of the 10 nearest; other k likewise). Vectors are stored as `quantization` says; if `rescore`
    is given, the best are rescored by the vectors it loads. Recall below float32 and without
    `rescore` is relative to the vectors as they are stored.

    Safe for several threads: searches go on during everything else, each on one snapshot (`now`),
    in which a change is either whole or absent. Merging and training run in a thread of their own;
    `close` ends it, `settle` waits for it.
    """

    def __init__(
        self,
        dimension: int,
        *,
        quantization: Quantization | str = Quantization.FLOAT32,
        recall: float = 0.99,
        rescore: LoadVectors | None = None,
        crossover: int = CROSSOVER,
    ) -> None:
        self.dimension, self.crossover, self.rescore = dimension, crossover, rescore
        self.quantization = Quantization(quantization)
        #: JSON that was saved along with it.
        self.extra: dict[str, Any] = {}
        # int8 ranges are fitted once there are enough vectors
        is_int8 = self.quantization is Quantization.INT8
        codec = Codec(dimension, Quantization.FLOAT32 if is_int8 else self.quantization)
        self._writer, self._compacting = threading.RLock(), threading.Lock()
        self._work: threading.Thread | None = None
        self._is_filling = self._is_closed = self._is_torn = False
        #: Changes that are open; vectors added and removed so far, and how many of them it takes
        #: until work that failed is tried again.
        self._open, self._touched, self._try_again = 0, 0, 0
        #: Tags, also of later keys; those of a snapshot never change.
        self._tags: Tags = np.zeros(1, np.uint8)
        self._head = IndexSnapshot(
            segments=(IndexSegment(codec, None),),
            tags=self._tags[:1],
            quantization=self.quantization,
            recall=recall,
        )
        self._now = self._head

    def __len__(self) -> int:
        return len(self._head)

    @property
    def now(self) -> IndexSnapshot:
        """The snapshot that searches see: it stays as it is, whatever is done to the index."""
        return self._now

    @property
    def recall(self) -> float:
        """The share of the nearest that searches are to find."""
        return self._head.recall

    @property
    def is_exact(self) -> bool:
        """Whether every vector is compared."""
        return self._head.is_exact

    @property
    def memory(self) -> int:
        """Bytes held; what was added since the last merge may keep as much again free to grow."""
        return self._head.memory

    @contextmanager
    def change(self) -> Iterator[None]:
        """Let searches see all that is added and removed inside in one step, at the end.

        If it ends by raising, nothing of it is ever seen, and the index takes no more changes:
        rebuild it.
        """
        with self._writer:
            if self._is_torn:
                raise GalleryError("the index was left within a change: rebuild it", "index")
            before, self._open = self._head, self._open + 1
            try:
                yield
            except BaseException:
                if self._is_torn or self._head is not before:
                    self._is_torn = self._is_closed = True
                raise
            finally:
                self._open -= 1
            if not self._open:
                self._now = self._head

    def add(self, keys: Keys, vectors: Vectors, tags: Tags | None = None) -> None:
        """Add vectors. Searches wait for 256 of them at most.

        Args:
            keys: Int64 [n], each above all before it.
            vectors: Float32 [n, D].
            tags: One number about each, which snapshots keep: uint8 [n], 1 at least; None for 1.

        Raises:
            GalleryError: The keys do not grow, or the vectors are of another dimension.
        """
        keys = np.ascontiguousarray(keys, np.int64)
        vectors = np.ascontiguousarray(vectors, np.float32)
        tags = np.ones(len(keys), np.uint8) if tags is None else np.asarray(tags, np.uint8)
        with self.change():
            self._check(keys, vectors, tags)
            self._fit_codec(vectors)
            for start in range(0, len(keys), BATCH):
                part = slice(start, start + BATCH)
                self._append(keys[part], vectors[part], tags[part])
            self._touched += len(keys)
            self._start_work()

    def remove(self, keys: Keys) -> None:
        """Remove the vectors of these keys; keys that are not there are passed over."""
        with self.change():
            keys = np.unique(np.asarray(keys, np.int64))
            keys = keys[(keys > 0) & (keys < len(self._head.tags))]
            keys = keys[self._head.tags[keys] != 0]
            if len(keys):
                self._tags = self._tags.copy()  # the old one is that of snapshots
                self._tags[keys] = 0
                self._update(replace(self._head, tags=self._tags[: len(self._head.tags)]))
                self._touched += len(keys)
                self._start_work()

    def search(
        self, queries: Vectors, k: int, include: Keys | None = None, *, exclude: Keys | None = None
    ) -> tuple[Scores, Keys]:
        """See `IndexSnapshot.search`."""
        return self._now.search(queries, k, include, exclude=exclude, rescore=self.rescore)

    def vectors(self, keys: Keys) -> Vectors:
        """See `IndexSnapshot.vectors`."""
        return self._now.vectors(keys)

    @contextmanager
    def fill(self) -> Iterator[None]:
        """Train and merge nothing that is added inside until the end, and then with all cores."""
        with self._writer:
            self._is_filling = True
        try:
            yield
        finally:
            with self._writer:
                self._is_filling = False
        with threads(ALL):
            while not self._is_closed and (work := self._due()) is not None:
                self._compact(work)

    def settle(self) -> None:
        """Wait until nothing is left to merge or train."""
        while (work := self._work) is not None:
            work.join()

    def tune(self, recall: float) -> None:
        """Measure how far to search for another recall, which is in force on return."""
        with self._compacting, self._writer:
            made = replace(self._head, recall=recall)
            if not made.is_exact:
                made = self._measure(made, proceed_always)
            self._head = self._now = made

    def close(self) -> None:
        """End the background work, within seconds. Searches still work."""
        with self._writer:
            self._is_closed = True
        self.settle()

    def save(self, path: str | PathLike[str], extra: Mapping[str, Any] | None = None) -> None:
        """Write all to one file, whole or not at all; `extra` is JSON that comes back with it."""
        with replace_file(Path(path), private=True) as temporary:
            serialization.save(temporary, self._now, extra or {})

    @classmethod
    def load(
        cls, path: str | PathLike[str], dimension: int, last: int = LAST_KEY, **options: Any
    ) -> Self:
        """Read a file that `save` wrote; options as for a new index.

        Raises:
            IndexFileError: The file is absent, damaged, external, of another dimension,
                quantization or recall, or has keys above `last`: rebuild the index from the store.
        """
        index = cls(dimension, **options)
        expected = {"quantization": index.quantization.value, "recall": index.recall}
        loaded, index.extra = serialization.load(
            Path(path), {"dimension": dimension, **expected}, last
        )
        loaded.segments[0].use_gpus()
        index._head = index._now = loaded
        index._tags = loaded.tags
        return index

    def _check(self, keys: Keys, vectors: Vectors, tags: Tags) -> None:
        if vectors.shape != (len(keys), self.dimension) or len(tags) != len(keys):
            wanted = f"{len(keys)} of {self.dimension} numbers"
            raise GalleryError(f"vectors: expected {wanted}, got {vectors.shape}", "vectors")
        last = len(self._head.tags) - 1
        if len(keys) and (keys[0] <= last or (np.diff(keys) <= 0).any() or keys[-1] > LAST_KEY):
            raise GalleryError(f"keys: must grow, from above {last} to {LAST_KEY} at most", "keys")
        if not tags.all():
            raise GalleryError("tags: must be 1 at least", "tags")

    def _append(self, keys: Keys, vectors: Vectors, tags: Tags) -> None:
        """Add one small batch, so that a search waits for no more than that."""
        head, size = self._head, int(keys[-1]) + 1
        growing, cells = head.segments[-1], None
        if size > len(self._tags):
            grown = np.zeros(max(size, len(self._tags) * 5 // 4, 1024), np.uint8)
            grown[: len(head.tags)] = head.tags
            self._tags = grown
        with threads(1 if head.held > BATCH else ALL):
            if growing.coarse is not None:
                cells = growing.coarse.assign(vectors)
            with head.lock.write():
                self._is_torn = True  # if that ends halfway
                growing.append(keys, vectors, cells)
                self._is_torn = False
        self._tags[keys] = tags
        self._head = replace(head, tags=self._tags[:size], grown=len(growing))

    def _update(self, head: IndexSnapshot) -> None:
        """Take a snapshot as the newest; it excludes what its segments hold and its tags lack."""
        is_whole = head.held == len(head)
        self._head = replace(head, removed=None if is_whole else select(head.tags != 0))

    def _fit_codec(self, vectors: Vectors) -> None:
        """Change from float32 to int8 once there are enough vectors to fit its ranges to."""
        head, is_int8 = self._head, self.quantization is Quantization.INT8
        is_fitted = head.segments[0].codec.quantization is self.quantization
        if not is_int8 or is_fitted or len(head) + len(vectors) < SAMPLE:
            return
        if self._compacting.locked():  # of the old codec: later
            return
        known = head.vectors(np.flatnonzero(head.tags))
        codec = Codec.fit(self.quantization, np.concatenate([known, vectors[: 20 * SAMPLE]]))
        coarse = head.segments[0].coarse
        made = compact(head.segments, head.tags, proceed_always, codec, coarse)
        segments = (made, IndexSegment(codec, coarse))
        self._update(replace(head, segments=segments, grown=0))

    def _due(self) -> str | None:
        """The work that is due: to train a new coarse quantizer, to merge, or none."""
        head = self._head
        count = len(head)
        if count >= self.crossover:
            if head.is_exact or not SHRINKAGE < count / head.trained_for < GROWTH:
                return "train"
        elif count < self.crossover / 2 and not head.is_exact:
            return "train"
        sealed = len(head.segments[0]) if len(head.segments) > 1 else 0
        stale = head.held - sealed + (head.held - count)
        return "merge" if stale > max(STALE_AT_LEAST, STALE * count) else None

    def _start_work(self) -> None:
        is_idle = not self._is_filling and not self._is_closed and self._work is None
        if is_idle and self._touched >= self._try_again and self._due() is not None:
            self._work = threading.Thread(target=self._run_work, name="gallery index", daemon=False)
            self._work.start()

    def _run_work(self) -> None:
        try:
            with threads(1):
                while (work := self._next_work()) is not None:
                    self._compact(work)
        except Exception:
            _log.exception("the index could not be compacted; it goes on until much more changes")
            self._try_again = self._touched + STALE_AT_LEAST
        finally:
            with self._writer:
                if self._work is threading.current_thread():
                    self._work = None

    def _next_work(self) -> str | None:
        """The work that is due; if none is, this thread is done, and a later change starts one."""
        with self._writer:
            work = None if self._is_filling or self._is_closed else self._due()
            if work is None:
                self._work = None
        return work

    def _proceed(self) -> None:
        if self._is_closed:
            raise _ClosedError

    def _compact(self, work: str) -> None:
        """Write the segments into a new one; the old ones answer until it takes their place."""
        with self._compacting, suppress(_ClosedError):
            old = self._seal()
            codec, coarse = old.segments[0].codec, old.segments[0].coarse
            made = replace(old, removed=None, grown=0)
            if work == "train":
                codec, coarse = self._train(old)
                made = replace(made, trained_for=len(old))
            segment = compact(old.segments, old.tags, self._proceed, codec, coarse)
            segment.use_gpus()
            made = replace(made, segments=(segment, IndexSegment(codec, coarse)))
            if coarse is not None:
                made = self._measure(made, self._proceed)
            with self._writer:
                self._proceed()
                self._take(made)

    def _seal(self) -> IndexSnapshot:
        """Let a new segment grow from here on; the index before, which nothing is added to."""
        with self._writer:
            old = self._head
            if not old.grown and len(old.segments) > 1:
                return replace(old, segments=old.segments[:-1])
            growing = IndexSegment(old.segments[0].codec, old.segments[0].coarse)
            self._head = replace(old, segments=(*old.segments, growing), grown=0)
            return old

    def _train(self, old: IndexSnapshot) -> tuple[Codec, CoarseQuantizer | None]:
        """A codec and a coarse quantizer (None below the crossover) for what the index holds."""
        is_small = len(old) < self.crossover
        cells = 1 if is_small else suitable_cells(len(old))
        sample = old.vectors(draw(np.flatnonzero(old.tags), PER_CELL * cells))
        codec = old.segments[0].codec
        if codec.measure_clipping(sample) > CLIPPED:
            codec = Codec.fit(codec.quantization, sample)
        if is_small:
            return codec, None
        return codec, CoarseQuantizer.train(sample, cells, self._proceed)

    def _measure(self, snapshot: IndexSnapshot, proceed: Any) -> IndexSnapshot:
        """The snapshot with the operating point of its first segment, which is sealed."""
        segment, tags = snapshot.segments[0], snapshot.tags
        present = np.flatnonzero(tags[segment.keys])
        selector = None if len(present) == len(segment) else select(tags != 0).selector
        point = OperatingPoint()
        if segment.coarse is not None:
            point = measure(segment, present, snapshot.recall, selector, proceed)
        return replace(snapshot, operating_point=point)

    def _take(self, made: IndexSnapshot) -> None:
        """Put a new segment in place of those it was made of; what was added since stays, what was
        removed is excluded.
        """
        head, (sealed, growing) = self._head, made.segments
        if head.grown:
            growing = head.segments[-1]
            if (growing.codec, growing.coarse) != (sealed.codec, sealed.coarse):
                growing = compact([growing], head.tags, proceed_always, sealed.codec, sealed.coarse)
        self._update(replace(made, segments=(sealed, growing), tags=head.tags, grown=len(growing)))
        if not self._open:
            self._now = self._head
