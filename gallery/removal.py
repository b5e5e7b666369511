"""Removing items, also on a full disk: with the reserve's room, and piece by piece where that does not hold the whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from gallery.reserve import release_reserve
from gallery.store import Store
from gallery.where import Condition
from samples import GalleryError

_PIECE: Final = 64


def remove_items(store: Store, condition: Condition, audited: Mapping[str, Any]) -> int:
    """Remove the items that a condition holds for, with a line of the audit; returns how many.

    In one transaction; on a full disk in several, each of them durable and with its own line, if one does not fit.
    """
    try:
        return store.remove(condition, audited)
    except GalleryError as error:
        if error.code != "disk_full":
            raise
    release_reserve(store.folder)
    return _remove_in_pieces(store, condition, audited)


def _remove_in_pieces(store: Store, condition: Condition, audited: Mapping[str, Any]) -> int:
    removed, size = 0, len(store.keys(condition))
    while keys := store.keys(condition)[: max(size, 1)].tolist():
        store.run("PRAGMA wal_checkpoint(PASSIVE)")  # so that the log is written from its beginning again
        try:
            removed += store.remove(("key IN (SELECT value FROM json_each(?))", [json.dumps(keys)]), audited)
        except GalleryError as error:
            if error.code != "disk_full" or len(keys) == 1:
                raise
            size = min(_PIECE, len(keys) // 2)
    return removed
