"""Maintenance of an open gallery: a thread that finishes erasures, and keeps the reserve for a full
disk.
"""

from __future__ import annotations

import threading
import weakref
from pathlib import Path
from typing import Final

from trireid.gallery.erasure import Erasure
from trireid.gallery.reserve import keep_reserve

#: Seconds between two looks: while an erasure is pending at first and at most, and while nothing
#: is.
_FIRST: Final = 0.05
_MOST: Final = 2.0
_IDLE: Final = 5.0


class Maintenance:
    """A thread for as long as `owner`, a gallery, is open; it ends with `stop`, or when the gallery
    is collected.
    """

    def __init__(self, folder: Path, erasure: Erasure, owner: object) -> None:
        self._folder, self._erasure = folder, erasure
        self._wake, self._is_over = threading.Event(), threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"maintenance {folder.name}", daemon=True
        )
        weakref.finalize(owner, self._end)
        self._thread.start()

    def hurry(self) -> None:
        """Look at once: something is pending."""
        self._wake.set()

    def stop(self) -> None:
        """End the thread; what it is at is finished first."""
        self._end()
        self._thread.join()

    def _end(self) -> None:
        self._is_over.set()
        self._wake.set()

    def _run(self) -> None:
        pause = _IDLE
        while not self._is_over.is_set():
            if self._wake.wait(pause):
                self._wake.clear()
                pause = _FIRST
            if self._is_over.is_set():
                return
            is_done = self._erasure.finish()
            keep_reserve(self._folder)
            pause = _IDLE if is_done else min(2 * pause, _MOST)
