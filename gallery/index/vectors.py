"""The index of a gallery: exact while that is fast, an inverted file above, kept in shape in the
background.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from trireid.gallery.index import frozen
from trireid.gallery.index.codec import SAMPLE, Codec, Memory
from trireid.gallery.index.contract import LAST_KEY, Fetch, Keys, Scores, Vectors
from trireid.gallery.index.lists import NOTHING, Lists
from trireid.gallery.index.lock import ReadWriteLock
from trireid.gallery.index.partition import PER_CELL, Partition, cells_for
from trireid.gallery.index.rewriting import merged, regrouped
from trireid.gallery.index.sealed import Sealed, Tier
from trireid.gallery.index.seen import Seen
from trireid.gallery.index.selection import Selection, selection
from trireid.gallery.index.state import State, cells_of, decoded, drawn
from trireid.gallery.index.threads import ALL, threads
from trireid.gallery.index.tuning import QUERIES, Effort, tuned
from trireid.samples import GalleryError

#: Up to this many vectors every one is compared (measured: see docs/gallery-index.md).
CROSSOVER: Final = 10_000
#: The partition is made anew when the index holds this many times what it was made for, or this
#: share of it.
GROWTH: Final = 2.0
SHRINKAGE: Final = 0.25
#: Added and removed vectors are merged in when they are this share of all, and at least so many.
STALE: Final = 0.05
STALE_AT_LEAST: Final = 4_096
#: A writer holds up searches for so many vectors at a time.
BATCH: Final = 256
#: The int8 levels are fitted anew with a new partition when more than this share of coordinates
#: lies at their ends.
CLIPPED: Final = 1e-3
#: Vectors that int8 levels are fitted to, at most.
_CHUNK: Final = 20_000

_log = logging.getLogger(__name__)


class _StoppedError(Exception):
    """The index was closed in the middle of background work."""


class VectorIndex:
    """Vectors [n, D] of unit length under growing keys; see `Index` for what it answers.

    Up to `crossover` vectors, search compares every one. Above, it looks into the k-means cells
    nearest to the query, as many as its own vectors need to be found with the `recall` asked for
    (of the 10 nearest; other k likewise). Vectors are held as `memory` says; where `fetch` is
    given, the best are scored again with what it gives. Recall below float32 and without `fetch` is
    relative to the vectors as they are held.

    Safe for several threads: searches go on during everything else, each on one moment (`now`), in
    which a change is either whole or not at all. Merging and training run in a thread of their own;
    `close` ends it, `settle` waits for it.
    """

    def __init__(
        self,
        dimension: int,
        *,
        memory: Memory | str = Memory.FLOAT32,
        recall: float = 0.99,
        fetch: Fetch | None = None,
        crossover: int = CROSSOVER,
    ) -> None:
        self.dimension, self.memory_mode, self.recall = dimension, Memory(memory), recall
        self.fetch, self.crossover = fetch, crossover
        #: What was saved along with it.
        self.extra: dict[str, Any] = {}
        codec = Codec(
            dimension, Memory.FLOAT32 if self.memory_mode is Memory.INT8 else self.memory_mode
        )
        partition = Partition.whole(dimension)
        self._state = State(
            partition, (Lists(codec, partition),), np.full(1024, NOTHING, np.int32), Effort(1)
        )
        self._count, self._last = 0, 0
        self._writer, self._shaping, self._lists = (
            threading.RLock(),
            threading.Lock(),
            ReadWriteLock(),
        )
        self._work: threading.Thread | None = None
        self._filling, self._closed = False, False
        #: Bars the removed vectors that the lists still hold; None where there are none.
        self._barred: Selection | None = None
        self._changes, self._torn = 0, False
        #: Vectors added and removed so far, and how many it takes until work that failed is tried
        #: again.
        self._touched, self._try_again = 0, 0
        self._publish()

    def __len__(self) -> int:
        return self._count

    @property
    def now(self) -> Seen:
        """What searches see at this moment."""
        return self._seen

    @contextmanager
    def changing(self) -> Iterator[None]:
        """All that is added and removed inside is seen in one step, at its end.

        Where it ends by raising, nothing of it is ever seen, and the index takes no more changes:
        build it anew.
        """
        with self._writer:
            if self._torn:
                raise GalleryError(
                    "the index was left in the middle of a change: build it anew", "index"
                )
            state, last, self._changes = self._state, self._last, self._changes + 1
            try:
                yield
            except BaseException:
                if self._state is not state or self._last != last:
                    self._torn = self._closed = True
                raise
            finally:
                self._changes -= 1
            if not self._changes:
                self._publish()

    @property
    def exact(self) -> bool:
        """Whether every vector is compared."""
        return len(self._state.partition) == 1

    @property
    def memory(self) -> int:
        """Bytes held.

        Lists that were added to since the last merge may keep up to as much again free to grow.
        """
        state = self._state
        return (
            sum(tier.memory for tier in state.tiers) + state.partition.memory + state.cells.nbytes
        )

    def add(self, keys: Keys, vectors: Vectors) -> None:
        """See `Index.add`. Searches wait for 256 vectors at most."""
        keys, vectors = (
            np.ascontiguousarray(keys, np.int64),
            np.ascontiguousarray(vectors, np.float32),
        )
        with self.changing():
            self._check(keys, vectors)
            self._fit_codec(vectors)
            for start in range(0, len(keys), BATCH):
                self._append(keys[start : start + BATCH], vectors[start : start + BATCH])
            self._count += len(keys)
            self._touched += len(keys)
            self._keep_in_shape()

    def remove(self, keys: Keys) -> None:
        """See `Index.remove`."""
        with self.changing():
            cells = self._state.cells
            keys = np.unique(np.asarray(keys, np.int64))
            keys = keys[(keys > 0) & (keys <= self._last)]
            keys = keys[cells[keys] != NOTHING]
            if len(keys):
                cells = cells.copy()  # the old one is seen
                cells[keys] = NOTHING
                self._state = replace(self._state, cells=cells)
                self._count -= len(keys)
                self._touched += len(keys)
                self._barred = self._bar()
                self._keep_in_shape()

    def search(
        self, queries: Vectors, k: int, among: Keys | None = None, *, without: Keys | None = None
    ) -> tuple[Scores, Keys]:
        """See `Index.search`. Raises GalleryError for queries of another dimension or k below 1."""
        return self._seen.search(queries, k, among, without=without, fetch=self.fetch)

    def vectors(self, keys: Keys) -> Vectors:
        """See `Index.vectors`."""
        return self._seen.vectors(keys)

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Add much at once inside: nothing is trained or merged before the end, and then with all
        cores, at once.
        """
        with self._writer:
            self._filling = True
        try:
            yield
        finally:
            with self._writer:
                self._filling = False
        with threads(ALL):
            while not self._closed and (anew := self._due()) is not None:
                self._reshape(anew)

    def settle(self) -> None:
        """Wait until nothing is left to merge or train."""
        while (work := self._work) is not None:
            work.join()

    def tune(self, recall: float) -> None:
        """Ask for another recall: measured and in force on return; what is held stays as it is."""
        with self._shaping, self._writer:
            self.recall, state = recall, self._state
            if isinstance(first := state.tiers[0], Sealed):
                self._state = replace(state, effort=self._tuned(first, self._sealed_cells(first)))
                self._publish()

    def close(self) -> None:
        """End the background work, within seconds. Searches still work."""
        with self._writer:
            self._closed = True
        self.settle()

    def save(self, path: str | PathLike[str], extra: Mapping[str, Any] | None = None) -> None:
        """See `Index.save`.

        Searches go on; adding waits only while what came after the last merge is copied.
        """
        self._seen.save(Path(path), extra or {})

    @classmethod
    def load(
        cls, path: str | PathLike[str], dimension: int, last: int = LAST_KEY, **options: Any
    ) -> Self:
        """Read a file that `save` wrote; options as for a new index.

        `last`: no key in it is above this. Raises GalleryError (code `index`) for a file that is
        absent, damaged, foreign, or of another dimension, memory or recall: build the index from
        the store again.
        """
        index = cls(dimension, **options)
        expected = {"dimension": dimension, "mode": index.memory_mode.value, "recall": index.recall}
        state, header = frozen.load(Path(path), expected, last)
        _to_gpu(state.tiers[0])
        index._state, index._count, index._last = state, state.held, header["last"]
        index.extra = header["extra"]
        index._publish()
        return index

    def _publish(self) -> None:
        """Let searches see what is now. The caller holds the writer's lock."""
        self._seen = Seen(
            self._state, self._last, self._barred, self._lists, self.memory_mode, self.recall
        )

    def _check(self, keys: Keys, vectors: Vectors) -> None:
        if vectors.shape != (len(keys), self.dimension):
            raise GalleryError(
                f"vectors: expected {len(keys)} of {self.dimension} numbers, got {vectors.shape}",
                "vectors",
            )
        if len(keys) and (
            keys[0] <= self._last or (np.diff(keys) <= 0).any() or keys[-1] > LAST_KEY
        ):
            raise GalleryError(
                f"keys: must grow, from above {self._last} to {LAST_KEY} at most", "keys"
            )

    def _append(self, keys: Keys, vectors: Vectors) -> None:
        """Add one small batch, so that a search waits for no more than that."""
        with threads(1) if len(self) > BATCH else threads(ALL):
            to = self._state.partition.assign(vectors)
            self._make_room(int(keys[-1]))
            state = self._state
            with self._lists.writing():
                state.tail.append(keys, vectors, to)
        state.cells[keys] = to
        self._last = int(keys[-1])

    def _make_room(self, last: int) -> None:
        cells = self._state.cells
        if last >= len(cells):
            grown = np.full(max(last + 1, len(cells) + len(cells) // 4), NOTHING, np.int32)
            grown[: len(cells)] = cells
            self._state = replace(self._state, cells=grown)

    def _bar(self) -> Selection | None:
        state = self._state
        if state.held == self._count:
            return None
        return selection(state.cells[: self._last + 1] != NOTHING, None, None)

    def _fit_codec(self, vectors: Vectors) -> None:
        """int8 begins as float32, until there are enough vectors to fit its levels to."""
        state = self._state
        fitted = state.tiers[0].codec.memory is self.memory_mode
        # work in progress is of the old codec: later
        if fitted or len(self) + len(vectors) < SAMPLE or self._shaping.locked():
            return
        known = decoded(state, np.flatnonzero(state.cells != NOTHING))
        codec = Codec.fitted(self.memory_mode, np.concatenate([known, vectors[:_CHUNK]]))
        lists = regrouped(
            state.tiers, state.cells, state.partition, codec, lambda: None, seal=not self.exact
        )
        self._state = replace(state, tiers=(lists, Lists(codec, state.partition)))
        self._barred = None

    def _due(self) -> bool | None:
        """What work is due: True for a new partition, False for merging, None for none."""
        state, count = self._state, self._count
        if count >= self.crossover:
            if self.exact or not SHRINKAGE < count / state.made_for < GROWTH:
                return True
        elif count < self.crossover / 2 and not self.exact:
            return True
        merged_already = len(state.tiers[0]) if len(state.tiers) > 1 else 0
        stale = state.held - merged_already + (state.held - count)
        return False if stale > max(STALE_AT_LEAST, STALE * count) else None

    def _keep_in_shape(self) -> None:
        idle = not self._filling and not self._closed and self._work is None
        if idle and self._touched >= self._try_again and self._due() is not None:
            self._work = threading.Thread(target=self._work_on, name="gallery index", daemon=False)
            self._work.start()

    def _work_on(self) -> None:
        try:
            with threads(1):
                while (anew := self._next_work()) is not None:
                    self._reshape(anew)
        except Exception:
            _log.exception(
                "the index could not be brought into shape; it goes on as it is, until much more has changed"
            )
            self._try_again = self._touched + STALE_AT_LEAST
        finally:
            with self._writer:
                if self._work is threading.current_thread():
                    self._work = None

    def _next_work(self) -> bool | None:
        """What is due; where nothing is, this thread is done, and the next change starts another."""
        with self._writer:
            anew = None if self._filling or self._closed else self._due()
            if anew is None:
                self._work = None
        return anew

    def _proceed(self) -> None:
        if self._closed:
            raise _StoppedError

    def _reshape(self, anew: bool) -> None:
        """Write the lists anew beside the old ones, which go on answering, and then take their
        place.
        """
        with self._shaping, suppress(_StoppedError):
            state, cells = self._seal()
            made = self._renewed(state, cells) if anew else self._merged(state, cells)
            _to_gpu(made.tiers[0])
            with self._writer:
                self._proceed()
                self._take(made, anew)

    def _seal(self) -> tuple[State, NDArray[np.int32]]:
        """Let additions go to new lists from here on; the state before, and where its keys are now."""
        with self._writer:
            state = self._state
            if not len(state.tail) and len(state.tiers) > 1:
                return replace(state, tiers=state.tiers[:-1]), state.cells.copy()
            fresh = Lists(state.tiers[0].codec, state.partition)
            self._state = replace(state, tiers=(*state.tiers, fresh))
            return state, state.cells.copy()

    def _merged(self, state: State, cells: NDArray[np.int32]) -> State:
        lists = merged(state.tiers, cells, self._proceed)
        effort = (
            self._tuned(lists, cells, self._proceed) if isinstance(lists, Sealed) else state.effort
        )
        return replace(state, tiers=(lists,), effort=effort)

    def _renewed(self, state: State, cells: NDArray[np.int32]) -> State:
        count = int((cells != NOTHING).sum())
        number = cells_for(count) if count >= self.crossover else 1
        sample = decoded(state, drawn(cells, PER_CELL * number))
        codec = self._refitted(state.tiers[0].codec, sample)
        partition = Partition.whole(self.dimension)
        if number > 1:
            partition = Partition.trained(sample, number, self._proceed)
        lists = regrouped(state.tiers, cells, partition, codec, self._proceed, seal=number > 1)
        cells = cells_of([lists], len(cells) - 1)
        effort = (
            self._tuned(lists, cells, self._proceed) if isinstance(lists, Sealed) else Effort(1)
        )
        return State(partition, (lists,), cells, effort, count)

    def _refitted(self, codec: Codec, sample: Vectors) -> Codec:
        """The codec, or one with wider levels where too much of the sample lies at their ends."""
        return (
            Codec.fitted(codec.memory, sample)
            if codec.clipped(codec.encode(sample)) > CLIPPED
            else codec
        )

    def _tuned(
        self, sealed: Sealed, cells: NDArray[np.int32], proceed: Callable[[], None] = lambda: None
    ) -> Effort:
        """`cells`: the cell of each key that these lists hold and that was not removed."""
        proceed()
        own = drawn(cells, QUERIES)
        queries = decoded(State(sealed.partition, (sealed,), cells, Effort(1)), own)
        there = (
            None
            if len(sealed) == (cells != NOTHING).sum()
            else selection(cells != NOTHING, None, None)
        )
        return tuned(
            sealed,
            cells,
            own,
            queries,
            self.recall,
            None if there is None else there.selector,
            proceed,
        )

    def _sealed_cells(self, sealed: Sealed) -> NDArray[np.int32]:
        """The cell of each key that these lists hold and that was not removed since."""
        cells = cells_of([sealed], self._last)
        cells[self._state.cells[: self._last + 1] == NOTHING] = NOTHING
        return cells

    def _take(self, made: State, anew: bool) -> None:
        """Put new lists in place of those they were made of; what was added meanwhile stays, what
        was removed is barred.
        """
        old = self._state
        fresh, cells = old.tiers[-1], old.cells
        if anew:
            fresh = regrouped(
                [fresh], cells, made.partition, made.tiers[0].codec, lambda: None, seal=False
            )
            cells = cells_of([made.tiers[0], fresh], len(cells) - 1)
            cells[old.cells == NOTHING] = NOTHING
        self._state = replace(made, tiers=(made.tiers[0], fresh), cells=cells)
        self._barred = self._bar()
        self._publish()


def _to_gpu(first: Tier) -> None:
    """Exact search moves to the GPUs where there are any; sealed lists stay."""
    if isinstance(first, Lists):
        first.move_to_gpu()
