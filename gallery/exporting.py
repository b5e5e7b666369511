"""Taking a gallery elsewhere: a manifest that can be indexed again, with embeddings and pictures."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any, Final

import numpy as np

from gallery.store import Store
from gallery.where import COLUMNS
from samples import MODALITIES, GalleryError
from samples.durable import draft_of

MANIFEST: Final = "manifest.csv"
EMBEDDINGS: Final = "embeddings.npy"
_COLUMNS: Final = COLUMNS


def export(folder: Path, target: Path) -> int:
    """Write a gallery out as a manifest that `index` takes, with embeddings and the pictures that are kept inside.

    `manifest.csv` has a row an item, `embeddings.npy` float32 [n, D] in the same order, `pictures/` what has no file of its
    own. Returns the number of items. Raises GalleryError where `target` is there and not empty.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise GalleryError(f"{target}: is there already; name a new or empty folder", str(target))
    store = Store(folder)
    try:
        dimension, generation = int(store.meta()["dimension"]), store.generation()
        target.mkdir(parents=True, exist_ok=True)
        with store.transaction("DEFERRED"):
            rows = [
                _row(store, target, values) for values in store.run(f"SELECT key, {', '.join(_COLUMNS)}, attributes FROM items")
            ]
            keys = [key for key, _ in rows]
            stored = store.embeddings(keys, generation)
    finally:
        store.close()
    embeddings = np.stack([stored[key] for key in keys]) if keys else np.empty((0, dimension), np.float32)
    with draft_of(target / EMBEDDINGS) as draft, draft.open("wb") as file:
        np.save(file, embeddings)
    _write_manifest(target / MANIFEST, [row for _, row in rows])
    return len(rows)


def _row(store: Store, target: Path, values: tuple[Any, ...]) -> tuple[int, dict[str, Any]]:
    key, *known, attributes = values
    row = {name: value for name, value in zip(_COLUMNS, known, strict=True) if value is not None}
    for picture in store.pictures(key):
        if picture.path is not None and Path(picture.path).is_file():
            row[picture.modality] = picture.path
        elif picture.data is not None:
            path = target / "pictures" / f"{key}-{picture.modality}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(picture.data)
            row[picture.modality] = str(path.relative_to(target))
    return key, {**{name: _cell(value) for name, value in json.loads(attributes).items() if name not in row}, **row}


def _cell(value: Any) -> Any:
    return value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)


def _write_manifest(path: Path, rows: list[dict[str, Any]]) -> None:
    first = [*MODALITIES, *_COLUMNS]
    others = sorted({name for row in rows for name in row} - set(first))
    with draft_of(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*first, *others], restval="")
        writer.writeheader()
        writer.writerows(rows)
