"""Retention: items leave a gallery when they are past their `expires`, or older than the gallery
keeps items.

An item's age is by the earlier of its `time` and the moment at which it was added, so that no
`time` of a client lets it outlive its age. The machine's clock decides; one that has jumped would
empty a gallery, so more than half of one goes only if that is asked for.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from trireid.gallery.filters import EXPIRED, Condition
from trireid.gallery.store import Store
from trireid.samples.errors import GalleryError, RetentionError

KEEP_DAYS: Final = "keep_days"
_DAY: Final = 86_400.0
_AGE: Final = "min(coalesce(instant, added), added) < ?"


def get_keep_days(meta: Mapping[str, str]) -> float | None:
    """Return for how many days a gallery keeps items; None for as long as it exists."""
    return float(meta[KEEP_DAYS]) if KEEP_DAYS in meta else None


def set_keep_days(folder: Path, days: float | None) -> None:
    """Record for how many days a gallery keeps items, with a line of the audit; None lifts the
    rule.

    Raises:
        GalleryError: `days` is not a number over 0.
    """
    if days is not None:
        check_days(days)
    store = Store(folder)
    try:
        store.meta()
        with store.transaction():
            if days is None:
                store.run("DELETE FROM meta WHERE name = ?", [KEEP_DAYS])
            else:
                store.run(
                    "INSERT OR REPLACE INTO meta VALUES (?, ?)", [KEEP_DAYS, repr(float(days))]
                )
            store.audit("set", {KEEP_DAYS: days})
    finally:
        store.close()


def check_days(days: float) -> None:
    """Raise GalleryError for an age that is not a number over 0."""
    if not (days > 0 and math.isfinite(days)):
        raise GalleryError(f"days must be over 0, not {days}", "days")


def older_than(days: float) -> Condition:
    """Return the condition for items that are older than some days."""
    check_days(days)
    return _AGE, [time.time() - days * _DAY]


def due(days: float | None) -> Condition:
    """Return the condition for what a gallery forgets by its rule: what has expired, and what is
    older than `days`.
    """
    now = time.time()
    if days is None:
        return EXPIRED, [now]
    return f"{EXPIRED} OR {_AGE}", [now, now - days * _DAY]


def check_share(store: Store, condition: Condition) -> None:
    """Refuse to forget more than half of a gallery.

    Raises:
        GalleryError: With the numbers, the clock and when the newest item was added, so that a
            reader can tell which is wrong.
    """
    where, values = condition
    going, total, newest = store.run(
        f"SELECT coalesce(sum(CASE WHEN {where} THEN 1 ELSE 0 END), 0), count(*), max(added) FROM"
        " items",
        values,
    )[0]
    if 2 * going <= total:
        return
    raise RetentionError(
        f"{store.folder}: {going} of {total} items have reached their age by this machine's clock"
        f" ({_text(time.time())}; the"
        f" newest item was added {_text(newest)}): more than half of a gallery goes only with"
        " --force",
        "force",
    )


def _text(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"
