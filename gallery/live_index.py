"""The live index: follows what every process commits to the store.

A search reads the store in a transaction of its own, and a snapshot of the index at the very same
position: each session brings the index forward to its transaction's position, before another one
can bring it further. So one search finds, filters, rescores and reports items of one state.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from trireid.gallery.attribute_names import AttributeNames
from trireid.gallery.calibration import Calibration
from trireid.gallery.filter_cache import FilterCache
from trireid.gallery.index import VectorIndex
from trireid.gallery.index_cache import load_index_cache
from trireid.gallery.items import LogPosition
from trireid.gallery.read_session import ReadSession
from trireid.gallery.scoring import Segments
from trireid.gallery.store import Store
from trireid.inference import Card
from trireid.samples.errors import GalleryMovedError

#: While more than this many items are taken in at once, new searches join the latest session.
MUCH: Final = 512
_POLL_SECONDS: Final = 0.005


class LiveIndex:
    """The index of one generation of embeddings, for several threads.

    One thread at a time brings it forward, while the others search.
    """

    def __init__(self, folder: Path, card: Card, **options: Any) -> None:
        self.segments, self.calibration = Segments(card), Calibration()
        self._folder, self._dimension = folder, card.dimension
        self._filters, self._names = FilterCache(), AttributeNames()
        #: Held by the thread that brings the index forward.
        self._forward = threading.Lock()
        #: Guards which sessions are open, and the connections that none of them uses.
        self._counting = threading.Lock()
        self._latest: ReadSession | None = None
        self._idle: list[Store] = []
        self._is_taking_much, self._is_usable, self._is_closed = False, True, False
        store = Store(folder)
        try:
            start = replace(store.position(), key=0)
            saved = load_index_cache(folder, store, card.dimension, **options)
            #: Whether the index was read from its cache.
            self.is_restored = saved is not None
            #: How far the index has followed the store.
            self.position: LogPosition
            self.index, self.position = saved or (VectorIndex(card.dimension, **options), start)
        finally:
            store.close()
        with self.index.fill():
            self.follow()

    def close(self) -> None:
        """End the background work, and stop following the store. Open sessions stay usable."""
        self.index.close()
        with self._forward:
            self._is_usable = False
        with self._counting:
            self._is_closed, idle = True, self._idle
            self._idle = []
        for store in idle:
            store.close()

    def follow(self) -> None:
        """Bring the index to where the store is.

        Raises:
            GalleryMovedError: As `read`.
        """
        with self._forward:
            session = self._bring_forward()
        self._leave(session)

    @contextmanager
    def read(self) -> Iterator[ReadSession]:
        """Open a session at the store's position; at an earlier one, while another thread takes in
        much.

        Raises:
            GalleryMovedError: The gallery has moved to another network, or no longer tells its
                history, or this index is closed: make another.
        """
        session = self._enter()
        try:
            yield session
        finally:
            self._leave(session)

    def _enter(self) -> ReadSession:
        while not self._forward.acquire(timeout=_POLL_SECONDS):
            if self._is_taking_much and (session := self._join()) is not None:
                return session
        try:
            return self._bring_forward()
        finally:
            self._forward.release()

    def _join(self) -> ReadSession | None:
        """The session that was opened last, if it is still open."""
        with self._counting:
            if self._latest is not None:
                self._latest.users += 1
            return self._latest

    def _bring_forward(self) -> ReadSession:
        """A session at the store's position. The caller keeps others from going further."""
        if not self._is_usable:
            raise GalleryMovedError(self._folder)
        store = self._connect()
        try:
            store.begin_reading()
            now = store.position()
            if now != self.position:
                self._take(store, now)
        except BaseException:
            store.close()
            raise
        session = ReadSession(store, now, self.index.now, self.segments, self._filters, self._names)
        with self._counting:
            self._latest = session
        return session

    def _connect(self) -> Store:
        with self._counting:
            if self._idle:
                return self._idle.pop()
        return Store(self._folder)

    def _leave(self, session: ReadSession) -> None:
        with self._counting:
            session.users -= 1
            if session.users:
                return
            if self._latest is session:
                self._latest = None
        try:
            session.store.end_reading()
        except BaseException:
            session.store.close()
            raise
        with self._counting:
            if not self._is_closed:
                self._idle.append(session.store)
                return
        session.store.close()

    def _take(self, store: Store, now: LogPosition) -> None:
        """Take in what is new in the store; if that fails midway, the index is no longer usable."""
        then = self.position
        if now.generation != then.generation or not store.reaches(then):
            self._is_usable = False
            raise GalleryMovedError(self._folder)
        self._is_taking_much = now.key - then.key > MUCH
        try:
            with self.index.change():
                for added in store.load_added(then, self._dimension):
                    vectors = self.segments.reduce(added.embeddings, added.present)
                    seen = added.present > 0  # an item without modalities is never found
                    tags = added.present[seen].astype(np.uint8)
                    self.index.add(added.keys[seen], vectors[seen], tags)
                self.index.remove(store.load_removals(then))
        except BaseException:
            self._is_usable = False
            raise
        finally:
            self._is_taking_much = False
        self.position = now
