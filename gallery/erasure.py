"""Erasure: what was removed leaves every file of the gallery's folder, even if a process dies or
goes on reading.

A removal overwrites the rows in the store's file, but older copies of them lie in its write-ahead
log, and their vectors in the saved index. How far these have been cleared is recorded in the store:
as long as that is behind what was removed, the erasure is pending, and each process that has the
gallery open goes on trying.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Final

from trireid.gallery.index_cache import drop_dead_temporaries, drop_index_cache
from trireid.gallery.reserve import with_reserve
from trireid.gallery.scrubbing import BUSY, is_large, scrub
from trireid.gallery.store import FILE, Store
from trireid.samples.errors import GalleryError, GalleryLockedError, StoreError

#: How long an answer waits for readers that are in the way; the rest is left to maintenance.
WAIT: Final = 1.0
_PAUSE: Final = 0.02
_MARK_MILLISECONDS: Final = 1000

log = logging.getLogger(__name__)


def is_pending(store: Store) -> bool:
    """Whether something that was removed may still be in a file."""
    return store.read_erased() != store.find_erasable()


class Erasure:
    """Finishes what removals begin, on a connection of its own: no writer waits for the readers
    that it waits for.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._complaint = folder, ""
        #: `_lock` is for the connection; `_clearing` for all that is cleared, which no answer waits
        #: for.
        self._lock, self._clearing = threading.Lock(), threading.Lock()
        self._store = Store(folder)
        self._store.run("PRAGMA busy_timeout = 0")

    @property
    def pending(self) -> bool:
        """Whether something that was removed may still be in a file."""
        with self._lock:
            return is_pending(self._store)

    def finish(self, wait: float = 0.0, *, is_brief: bool = False) -> bool:
        """Clear what is pending, within about that many seconds; returns whether nothing is.

        A large store takes longer to clear: with `is_brief` its pages are left to maintenance.
        Never raises: a reader in the way, a full disk or a folder that cannot be written leave the
        erasure pending.
        """
        until = time.monotonic() + wait
        try:
            drop_dead_temporaries(self._folder)
            is_brief = is_brief and is_large(self._folder / FILE)
            while not self._attempt(is_brief):
                if is_brief:
                    return False
                if time.monotonic() >= until:
                    self._complain("a reader is in the way")
                    return False
                time.sleep(_PAUSE)
        except (GalleryError, OSError) as error:
            self._complain(str(error))
            return False
        self._complaint = ""
        return True

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._store.close()

    def _attempt(self, is_brief: bool) -> bool:
        if is_brief:
            point, _ = self._begin()
            return point is None
        with self._clearing:
            point, is_log_empty = self._begin()
            if point is None:
                return True
            return is_log_empty and self._scrub() and self._record(point)

    def _begin(self) -> tuple[str | None, bool]:
        """Drop the saved index and empty the log; returns up to where, None if nothing is pending,
        and whether that is done.
        """
        with self._lock:
            point = self._store.find_erasable()
            if self._store.read_erased() == point:
                return None, True
            drop_index_cache(self._folder)
            return point, with_reserve(self._folder, self._empty_log)

    def _empty_log(self) -> bool:
        """Bring all of the log into the store's file and cut it to nothing, unless a reader or a
        writer is in the way.
        """
        ((busy, _, _),) = self._store.run("PRAGMA wal_checkpoint(TRUNCATE)")
        return not busy

    def _scrub(self) -> bool:
        """Clear the copies that SQLite has left in pages, unless a reader or a writer is in the
        way.
        """
        outcome = scrub(self._folder / FILE)
        if outcome not in (0, BUSY):
            raise StoreError(
                f"{self._folder}: its pages could not be cleared ({outcome})", str(self._folder)
            )
        return outcome == 0

    def _record(self, point: str) -> bool:
        with self._lock:
            return with_reserve(self._folder, lambda: self._record_now(point))

    def _record_now(self, point: str) -> bool:
        self._store.run(f"PRAGMA busy_timeout = {_MARK_MILLISECONDS}")
        try:
            with self._store.transaction():
                self._store.record_erased(point)
        except GalleryLockedError:
            return False
        finally:
            self._store.run("PRAGMA busy_timeout = 0")
        return True

    def _complain(self, reason: str) -> None:
        """Log why an erasure waits, once for as long as the reason stays."""
        if reason != self._complaint:
            log.warning(
                "%s: what was removed is not erased from every file yet, and is tried again: %s",
                self._folder,
                reason,
            )
        self._complaint = reason
