"""The timer by which a server has its galleries forget what is past its age."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

from trireid.gallery.gallery import Gallery
from trireid.samples import TrireidError

EVERY_SECONDS: Final = 3600.0

log = logging.getLogger(__name__)


class RetentionTimer:
    """A thread that applies the galleries' rules at once and every hour, and calls `changed` with
    each that has lost items.
    """

    def __init__(
        self,
        galleries: Sequence[Gallery],
        changed: Callable[[Gallery], None],
        every: float = EVERY_SECONDS,
    ) -> None:
        self._galleries, self._changed, self._every = galleries, changed, every
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what it is at is finished first."""
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            for gallery in self._galleries:
                if not self._is_over.is_set():
                    self._apply(gallery)
            if self._is_over.wait(self._every):
                return

    def _apply(self, gallery: Gallery) -> None:
        try:
            removed = gallery.retain()
        except (
            TrireidError
        ) as error:  # also that it would be more than half: an admin has to look at it
            log.warning("retention: nothing removed: %s", error.message)
            return
        if removed:
            log.warning("retention: %s: %d items removed", gallery.name, removed)
            self._changed(gallery)
