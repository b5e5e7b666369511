"""A view of the store: the index and what else a process derives from it, kept up with what every
process commits.

A search reads the store in a transaction of its own, beside a moment that is derived from the very
same position of the store: whoever begins to read brings the view forward to where its transaction
stands, before anyone else can bring it further. So what one search finds, filters, scores again and
tells of is of one state, and nothing has to be searched for twice.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trireid.gallery.attribute_names import AttributeNames
from trireid.gallery.calibration import Calibration
from trireid.gallery.filters import Filters
from trireid.gallery.index import VectorIndex
from trireid.gallery.index_cache import load_index_cache
from trireid.gallery.items import LogPosition
from trireid.gallery.moment import Moment
from trireid.gallery.read_session import ReadSession
from trireid.gallery.scoring import ALL, Segments
from trireid.gallery.store import Store
from trireid.gallery.stored_values import check_keys, check_masks
from trireid.inference import Card
from trireid.samples.errors import GalleryMovedError

#: While more than so many items are taken in at once, searches that begin join those that read what
#: was before.
MUCH: Final = 512
_PATIENCE: Final = 0.005


class LiveIndex:
    """The index of one generation of embeddings, for several threads: one brings it forward, the
    others search meanwhile.
    """

    def __init__(self, folder: Path, card: Card, **options: Any) -> None:
        self.segments, self.calibration = Segments(card), Calibration()
        self._folder, self._card, self._filters, self._names = (
            folder,
            card,
            Filters(),
            AttributeNames(),
        )
        #: Held by who brings the view forward.
        self._forward = threading.Lock()
        #: Guards which readings are open, and the connections that none of them uses.
        self._counting = threading.Lock()
        self._latest: ReadSession | None = None
        self._idle: list[Store] = []
        self._taking_much, self._usable, self._closed = False, True, False
        store = Store(folder)
        try:
            start = replace(store.position(), key=0)
            saved = load_index_cache(folder, store, card.dimension, **options)
            #: Whether the index was read from its cache.
            self.is_restored = saved is not None
            self.index, position = saved or (VectorIndex(card.dimension, **options), start)
            #: What was last derived; its position is the store's in no transaction but a reading's.
            self.moment = self._first(store, position)
        finally:
            store.close()
        with self.index.filling():
            self.follow()

    def __len__(self) -> int:
        return len(self.moment)

    @property
    def position(self) -> LogPosition:
        """How far the index has followed the store."""
        return self.moment.position

    def close(self) -> None:
        """End the index's background work, and stop following the store.

        Who is reading reads on.
        """
        self.index.close()
        with self._forward:
            self._usable = False
        with self._counting:
            self._closed, idle = True, self._idle
            self._idle = []
        for store in idle:
            store.close()

    def follow(self) -> None:
        """Bring the view to where the store is. Raises GalleryMovedError as `reading` does."""
        with self._forward:
            reading = self._brought_forward()
        self._leave(reading)

    @contextmanager
    def read(self) -> Iterator[ReadSession]:
        """The store and the moment derived from it, as they are now; as they were, while another
        thread takes in much.

        Raises GalleryMovedError where the gallery has moved to another network or tells of its history no
        more, or the view is closed: make another.
        """
        reading = self._entered()
        try:
            yield reading
        finally:
            self._leave(reading)

    def _entered(self) -> ReadSession:
        while not self._forward.acquire(timeout=_PATIENCE):
            if self._taking_much and (reading := self._joined()) is not None:
                return reading
        try:
            return self._brought_forward()
        finally:
            self._forward.release()

    def _joined(self) -> ReadSession | None:
        """The reading that was begun last, if it has not ended."""
        with self._counting:
            if self._latest is not None:
                self._latest.users += 1
            return self._latest

    def _brought_forward(self) -> ReadSession:
        """A reading of where the store is now. The caller keeps others from going further."""
        if not self._usable:
            raise GalleryMovedError(self._folder)
        store = self._connection()
        try:
            store.begin_reading()
            now = store.position()
            if now != self.moment.position:
                self._take(store, now)
            elif (
                self.index.now is not self.moment.index
            ):  # merged or trained since, and of the same content
                self.moment = replace(self.moment, index=self.index.now)
        except BaseException:
            store.close()
            raise
        reading = ReadSession(store, self.moment, self._filters, self._names)
        with self._counting:
            self._latest = reading
        return reading

    def _connection(self) -> Store:
        with self._counting:
            if self._idle:
                return self._idle.pop()
        return Store(self._folder)

    def _leave(self, reading: ReadSession) -> None:
        with self._counting:
            reading.users -= 1
            if reading.users:
                return
            if self._latest is reading:
                self._latest = None
        try:
            reading.store.end_reading()
        except BaseException:
            reading.store.close()
            raise
        with self._counting:
            if not self._closed:
                self._idle.append(reading.store)
                return
        reading.store.close()

    def _take(self, store: Store, now: LogPosition) -> None:
        """Derive what the store holds now from what is new; where that fails midway, the view is of
        no more use.
        """
        then = self.moment.position
        if now.generation != then.generation or not store.reaches(then):
            self._usable = False
            raise GalleryMovedError(self._folder)
        self._taking_much = now.key - then.key > MUCH
        try:
            with self.index.changing():
                present, counts = self._taken(store, now)
        except BaseException:
            self._usable = False
            raise
        finally:
            self._taking_much = False
        self.moment = Moment(now, self.index.now, self.segments, present, counts)

    def _taken(self, store: Store, now: LogPosition) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Bring the index forward; which modalities the items have then, and how many have which."""
        then, counts = self.moment.position, self.moment.counts.copy()
        present = np.zeros(now.key + 1, np.uint8)
        present[: len(self.moment.present)] = self.moment.present
        for added in store.added(then, self._card.dimension):
            self.index.add(added.keys, self.segments.reduced(added.embeddings, added.present))
            present[added.keys] = added.present
            counts += np.bincount(added.present, minlength=len(counts))
        removed = store.removed(then)
        self.index.remove(removed)
        counts -= np.bincount(present[removed], minlength=len(counts))
        present[removed] = 0
        return present, counts

    def _first(self, store: Store, position: LogPosition) -> Moment:
        """The moment of an index as it was saved, or of an empty one."""
        present = np.zeros(position.key + 1, np.uint8)
        rows = store.run("SELECT key, present FROM items WHERE key <= ?", [position.key])
        keys = check_keys(self._folder, [key for key, _ in rows], position.key)
        present[keys] = check_masks(self._folder, [mask for _, mask in rows])
        return Moment(
            position,
            self.index.now,
            self.segments,
            present,
            np.bincount(present, minlength=ALL + 1),
        )
