"""How often each token may ask: a bucket that fills steadily, holds two seconds' worth, and is
emptied by asking.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

BURST_SECONDS: Final = 2.0


class RateLimit:
    """At most `rate` requests a second of each caller, in the long run; 0: any number.

    Of one server process.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self._clock = rate, clock
        self._most = max(1.0, rate * BURST_SECONDS)
        self._held: dict[str | None, tuple[float, float]] = {}

    def wait(self, caller: str | None) -> float:
        """Seconds until this caller may ask again; 0 where it may now, which then counts."""
        if not self.rate:
            return 0.0
        now = self._clock()
        held, at = self._held.get(caller, (self._most, now))
        held = min(self._most, held + (now - at) * self.rate)
        allowed = held >= 1
        self._held[caller] = (held - 1 if allowed else held, now)
        return 0.0 if allowed else (1 - held) / self.rate
