"""Reading settings again at SIGHUP."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Final

_CALLBACKS: Final[list[Callable[[], None]]] = []


def call_on_reload(callback: Callable[[], None]) -> None:
    """Have `callback`, which must not raise, called at each SIGHUP that this process gets."""
    _CALLBACKS.append(callback)


def accept_reloads() -> None:
    """Take SIGHUP as the order to reload; without this it would end the process.

    Main thread only.
    """
    signal.signal(signal.SIGHUP, lambda *_: _reload())


def _reload() -> None:
    for callback in _CALLBACKS:
        callback()
