"""Bounds that a client and a gallery share."""

from __future__ import annotations

from typing import Final

#: Hits of one search.
MAX_K: Final = 1000
