"""Whether a gallery is whole, and what of a damaged one can still be read."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np

from trireid.gallery.filters import COLUMNS
from trireid.gallery.metadata import make_no_gallery_error
from trireid.gallery.opening import connect
from trireid.gallery.schema_check import VersionError
from trireid.gallery.scoring import make_mask
from trireid.gallery.store import FILE, IMAGES, KNOWN, Store
from trireid.gallery.stored_values import image_errors, item_errors, limit_length
from trireid.samples import MODALITIES
from trireid.samples.errors import GalleryError, GalleryReadOnlyError
from trireid.samples.files import is_regular

_UNIT: Final = 1e-3
_SHOWN: Final = 20
#: Keys in a row that lead to damaged pages.
_MOST_PASSED: Final = 1_000_000


@dataclass
class CheckReport:
    """`items`: rows of the store;

    `readable`: those that can be read whole; `errors`: a line for each thing found.
    """

    items: int = 0
    readable: int = 0
    errors: list[str] = field(default_factory=list)


def check(folder: Path) -> CheckReport:
    """Read everything a gallery holds, and say what is wrong with it.

    It is opened as every command opens it; beyond that, nothing is changed. Looked at are SQLite's
    own integrity, each item's fields, attributes, embedding and images, and whether the files that
    it refers to are there. A store that is damaged is read as far as it goes. Raises GalleryError
    where there is no store at all, or one of another version.
    """
    file = folder / FILE
    if not file.is_file():
        raise make_no_gallery_error(folder)
    report = CheckReport()
    try:
        database = connect(file)
    except VersionError as error:
        raise GalleryError(f"{folder}: {error}", str(folder)) from error
    except sqlite3.Error as error:
        report.errors.append(f"{FILE} cannot be opened as a store: {error}")
        return report
    try:
        report.errors += _integrity(database)
        meta = _meta(database, folder, report)
        if meta is not None:
            _check_items(database, report, meta)
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


def _meta(database: sqlite3.Connection, folder: Path, report: CheckReport) -> dict[str, str] | None:
    """Read the record of the gallery, upgraded if it is of an older version;

    None if that cannot be read.
    """
    meta = None
    try:
        with closing(Store(folder)) as store:
            meta = store.meta()
            for read in (store.position, store.read_audit):
                try:
                    read()
                except GalleryError as error:
                    report.errors.append(f"{FILE}: {error}")
    except GalleryReadOnlyError:
        raise
    except GalleryError as error:
        report.errors.append(f"{FILE}: what it says of itself cannot be read: {error}")
    return meta


def _check_items(
    database: sqlite3.Connection, report: CheckReport, meta: Mapping[str, str]
) -> None:
    table, dimension = f"vectors_{int(meta['generation'])}", int(meta["dimension"])
    embedding = limit_length("embedding", 4 * dimension)
    item = f"SELECT {KNOWN}, {embedding} FROM items LEFT JOIN {table} USING (key) WHERE key = ?"
    query = f"SELECT {IMAGES} FROM pictures WHERE key = ? LIMIT {len(MODALITIES) + 1}"
    counted: Counter[str] = Counter()
    # one by one: a page that is damaged costs its own rows only
    for key in _keys(database, counted):
        try:
            *values, attributes, vector = database.execute(item, [key]).fetchone()
            images = database.execute(query, [key]).fetchall()
        except (
            sqlite3.Error,
            TypeError,
        ) as error:  # TypeError: an index leads to a row that is not there
            report.items += 1
            counted[f"rows that cannot be read ({error})"] += 1
            continue
        report.items += 1
        known = dict(zip(("key", *COLUMNS, "present"), values, strict=True))
        found = list(_find_item_errors(known, attributes, vector, images, dimension))
        report.errors += found[: max(0, _SHOWN - len(report.errors))]
        counted["items with errors"] += bool(found)
        report.readable += not found
    report.errors += [f"{count} {what}" for what, count in counted.items() if count]


def _keys(database: sqlite3.Connection, counted: Counter[str]) -> Iterator[int]:
    """Every key, growing; those of a damaged page are passed over one by one, up to a bound."""
    key, passed = 0, 0
    (last,) = database.execute(
        "SELECT max(seq) FROM sqlite_sequence WHERE name = 'items'"
    ).fetchone()
    last = last if isinstance(last, int) else 0
    while passed < _MOST_PASSED and not (passed and key > last):
        try:
            row = database.execute(
                "SELECT key FROM items WHERE key > ? ORDER BY key LIMIT 1", [key]
            ).fetchone()
        except sqlite3.Error as error:
            counted[f"rows that cannot be read ({error})"] += 1
            key, passed = key + 1, passed + 1
            continue
        if row is None:
            return
        key, passed = int(row[0]), 0
        yield key


def _find_item_errors(
    known: Mapping[str, Any], attributes: Any, vector: Any, images: list[Any], dimension: int
) -> Iterator[str]:
    name = known["id"] if isinstance(known["id"], str) else f"item {known['key']}"
    for error in chain(item_errors(known, attributes), image_errors(images)):
        yield f"{name}: {error}"
    if not isinstance(vector, bytes) or len(vector) != 4 * dimension:
        yield f"{name}: has no embedding of {dimension} numbers"
    elif not abs(float(np.linalg.norm(np.frombuffer(vector, np.float32))) - 1) < _UNIT:
        yield f"{name}: its embedding is not of unit length"
    modalities = {modality for modality, *_ in images if modality in MODALITIES}
    if images and make_mask(modalities) != known["present"]:
        yield f"{name}: its images are not of the modalities that it is said to have"
    for modality, _, path, data in images:
        if data is None and isinstance(path, str) and not is_regular(path):
            yield f"{name}: its {modality} image {path} is gone"
