"""A gallery in numbers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trireid.gallery.erasure import is_pending
from trireid.gallery.index_cache import INDEX_CACHE
from trireid.gallery.metadata import get_artifact, get_recorded_kind
from trireid.gallery.retention import get_keep_days
from trireid.gallery.store import Store
from trireid.gallery.stored_values import limit_length, make_damage_error
from trireid.samples import MODALITIES


def stats(folder: Path) -> dict[str, Any]:
    """Count what a gallery holds: by camera, day, kind and modalities, its network, settings and
    bytes on the disk.

    An item without a kind is counted as what the gallery's network is for.
    """
    store = Store(folder)
    try:
        meta = store.meta()
        by = {
            "camera": "SELECT camera, count(*) FROM items GROUP BY camera ORDER BY camera",
            "kind": f"SELECT {limit_length('kind')}, count(*) FROM items"
            " GROUP BY kind ORDER BY kind",
            "day": "SELECT date(instant, 'unixepoch'), count(*) FROM items"
            " WHERE instant IS NOT NULL GROUP BY 1 ORDER BY 1",
        }
        counts = {
            f"by_{name}": _counts(folder, name, store.run(query)) for name, query in by.items()
        }
        if (kind := get_recorded_kind(meta)) is not None and str(None) in counts["by_kind"]:
            counts["by_kind"][kind] = counts["by_kind"].pop(str(None)) + counts["by_kind"].get(
                kind, 0
            )
        present = dict(store.run("SELECT present, count(*) FROM items GROUP BY present"))
        return {
            "items": len(store),
            "identities": store.run("SELECT count(DISTINCT identity) FROM items")[0][0],
            "model": meta["model"],
            "fingerprint": meta["fingerprint"],
            "artifact": get_artifact(meta),
            "dimension": int(meta["dimension"]),
            "memory": meta.get("memory", "float32"),
            "recall": float(meta.get("recall", "0.99")),
            "thermal": meta.get("thermal", "auto"),
            **counts,
            "by_modalities": {
                _said(mask): count for mask, count in sorted(present.items(), reverse=True)
            },
            "keep_days": get_keep_days(meta),
            "erasure_pending": is_pending(store),
            "bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
            "index_saved": (folder / INDEX_CACHE).is_file(),
        }
    finally:
        store.close()


def _counts(folder: Path, name: str, rows: Iterable[tuple[Any, int]]) -> dict[str, int]:
    expected = int if name == "camera" else str
    counts = {}
    for value, count in rows:
        if value is not None and not isinstance(value, expected):
            raise make_damage_error(
                folder,
                f"an item's {name} is not a {'whole number' if expected is int else 'short text'}",
            )
        counts[str(value)] = count
    return counts


def _said(mask: int) -> str:
    return "+".join(name for bit, name in enumerate(MODALITIES) if mask >> bit & 1)
