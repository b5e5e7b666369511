"""Whether a gallery is whole, and what of a damaged one can still be read."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from gallery.schema import connect
from gallery.scoring import mask_of
from gallery.store import FILE
from samples import GalleryError

_UNIT: Final = 1e-3
_SHOWN: Final = 20


@dataclass
class CheckReport:
    """`items`: rows of the store; `readable`: those that can be read whole; `faults`: a line for each thing found."""

    items: int = 0
    readable: int = 0
    faults: list[str] = field(default_factory=list)


def check(folder: Path) -> CheckReport:
    """Read everything a gallery holds, and say what is wrong with it; nothing is changed.

    Looked at are SQLite's own integrity, each item's description, embedding and pictures, and whether the files that it refers
    to are there. A store that is damaged is read as far as it goes. Raises GalleryError where there is no store at all.
    """
    file = folder / FILE
    if not file.is_file():
        raise GalleryError(f"{folder}: no gallery there", str(folder))
    report = CheckReport()
    try:
        database = connect(file)
    except sqlite3.Error as error:
        report.faults.append(f"{FILE} cannot be opened as a store: {error}")
        return report
    try:
        report.faults += _integrity(database)
        _check_items(database, report)
    finally:
        database.close()
    return report


def _integrity(database: sqlite3.Connection) -> Iterator[str]:
    try:
        for (line,) in database.execute(f"PRAGMA integrity_check({_SHOWN})"):
            if line != "ok":
                yield f"{FILE}: {line}"
    except sqlite3.Error as error:
        yield f"{FILE}: is damaged: {error}"


def _check_items(database: sqlite3.Connection, report: CheckReport) -> None:
    try:
        meta = dict(database.execute("SELECT name, value FROM meta"))
        (last,) = database.execute("SELECT coalesce(max(key), 0) FROM items").fetchone()
        table, dimension = f"vectors_{int(meta['generation'])}", int(meta["dimension"])
    except (sqlite3.Error, KeyError, ValueError) as error:
        report.faults.append(f"{FILE}: what it says of itself cannot be read: {error}")
        return
    counted: Counter[str] = Counter()
    item = f"SELECT id, embedding, present FROM items LEFT JOIN {table} USING (key) WHERE key = ?"
    shown = "SELECT modality, path, data IS NULL, length(thumbnail) FROM pictures WHERE key = ?"
    for key in range(1, last + 1):  # one by one: a page that is damaged costs its own rows only
        try:
            row = database.execute(item, [key]).fetchone()
            if row is None:
                continue
            report.items += 1
            pictures = database.execute(shown, [key]).fetchall()
        except sqlite3.Error as error:
            counted[f"rows that cannot be read ({error})"] += 1
            continue
        id_, embedding, present = row
        found = list(_item_faults(id_, embedding, present, pictures, dimension))
        report.faults += found[: max(0, _SHOWN - len(report.faults))]
        counted["items with faults"] += bool(found)
        report.readable += not found
    report.faults += [f"{count} {what}" for what, count in counted.items() if count]


def _item_faults(id_: str, embedding: bytes | None, present: int, pictures: list[Any], dimension: int) -> Iterator[str]:
    if embedding is None or len(embedding) != 4 * dimension:
        yield f"{id_}: has no embedding of {dimension} numbers"
    elif not abs(float(np.linalg.norm(np.frombuffer(embedding, np.float32))) - 1) < _UNIT:
        yield f"{id_}: its embedding is not of unit length"
    if pictures and mask_of(modality for modality, *_ in pictures) != present:
        yield f"{id_}: its pictures are not of the modalities that it is said to have"
    for modality, path, without_data, _ in pictures:
        if without_data and path is not None and not Path(path).is_file():
            yield f"{id_}: its {modality} picture {path} is gone"
