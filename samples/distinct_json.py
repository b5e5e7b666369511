"""JSON of which no object names a key twice: most readers keep the last value, silently."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from trireid.samples.errors import TrireidError


def parse_distinct(text: str | bytes) -> Any:
    """Parse JSON.

    Raises:
        TrireidError: An object names a key twice.
        ValueError: It is not JSON.
        RecursionError: It is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_check_pairs)


def _check_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise TrireidError(f"{json.dumps(twice[:100])} is named twice; give it one value")
    return values
