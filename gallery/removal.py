"""Removing items, also on a full disk: with the reserve's space, and piece by piece where that does
not hold the whole.

It takes the store alone: items go from a gallery whose network is lost, and damaged ones from one
that cannot be searched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from trireid.gallery.erasure import WAIT, Erasure
from trireid.gallery.filters import Condition, condition
from trireid.gallery.reserve import keep_reserve, release_reserve
from trireid.gallery.retention import check_share, due, get_keep_days, older_than
from trireid.gallery.store import Store
from trireid.samples.errors import DiskFullError

_PIECE: Final = 64


def remove_stored(
    folder: Path,
    *,
    ids: Sequence[str] | None = None,
    identity: str | None = None,
    older_than_days: float | None = None,
    force: bool = False,
) -> int:
    """Remove and erase items of a gallery without its network and index.

    Args:
        folder: The gallery.
        ids: Of the items that go.
        identity: All items of which go.
        older_than_days: An age over 0. With none of the three, what the gallery's retention forgets
            goes.
        force: By age, also more than half of the gallery.

    Returns:
        How many items were removed. Whether they are erased is recorded in the store.

    Raises:
        GalleryError: The store cannot be read or written, the age is not over 0, or more than half
            would go by age.
    """
    with closing(Store(folder)) as store, closing(Erasure(folder)) as erasure:
        what, audited = select(store, ids=ids, identity=identity, older_than_days=older_than_days)
        store.position()  # a store that cannot be is one error, before anything goes
        if ids is None and identity is None and not force:
            check_share(store, what)
        removed = remove_items(store, what, audited)
        if removed or erasure.pending:
            erasure.finish(WAIT)
            keep_reserve(folder)
    return removed


def select(
    store: Store,
    *,
    ids: Sequence[str] | None = None,
    identity: str | None = None,
    older_than_days: float | None = None,
) -> tuple[Condition, dict[str, Any]]:
    """Return the condition for what is to be removed, and what the audit says of it; with no
    argument, of the retention.
    """
    days = get_keep_days(store.meta())
    if ids is not None or identity is not None:
        where: dict[str, Any] = {"id": list(ids)} if ids is not None else {"identity": identity}
        return condition(where), where
    if older_than_days is not None:
        return older_than(older_than_days), {"older_than_days": older_than_days}
    return due(days), {"keep_days": days, "reason": "retention"}


def select_ids(
    store: Store,
    *,
    ids: Sequence[str] | None = None,
    identity: str | None = None,
    older_than_days: float | None = None,
) -> list[str]:
    """Return the ids of what `select` tells, in the order of adding."""
    (where, values), _ = select(store, ids=ids, identity=identity, older_than_days=older_than_days)
    return [id_ for (id_,) in store.run(f"SELECT id FROM items WHERE {where} ORDER BY key", values)]


def remove_items(store: Store, condition: Condition, audited: Mapping[str, Any]) -> int:
    """Remove the items that a condition holds for, with a line of the audit; returns how many.

    In one transaction; on a full disk in several, each of them durable and with its own line, if
    one does not fit.
    """
    try:
        return store.remove(condition, audited)
    except DiskFullError:
        pass
    release_reserve(store.folder)
    return _remove_in_pieces(store, condition, audited)


def _remove_in_pieces(store: Store, condition: Condition, audited: Mapping[str, Any]) -> int:
    removed, size = 0, len(store.keys(condition))
    while keys := store.keys(condition)[: max(size, 1)].tolist():
        # so that the log is written from its beginning again
        store.run("PRAGMA wal_checkpoint(PASSIVE)")
        try:
            removed += store.remove(
                ("key IN (SELECT value FROM json_each(?))", [json.dumps(keys)]), audited
            )
        except DiskFullError:
            if len(keys) == 1:
                raise
            size = min(_PIECE, len(keys) // 2)
    return removed
