"""Taking a gallery elsewhere: a manifest that can be indexed again, with embeddings and images.

Every name of a file that is written is made here of an item's key and a modality; nothing in the
store names one.
"""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import numpy as np

from trireid.gallery.filters import COLUMNS, Condition
from trireid.gallery.items import ItemRecord, StoredImage
from trireid.gallery.store import Store
from trireid.samples import MODALITIES, Modality
from trireid.samples.atomic_write import fill_folder, make_private, replace_file, write_private
from trireid.samples.cells import write_text, write_value
from trireid.samples.decoding import examine
from trireid.samples.errors import ImageError, MissingImageError
from trireid.samples.files import is_regular, read_image_file
from trireid.samples.readers.columns import write_header
from trireid.samples.sample import is_field_name

MANIFEST: Final = "manifest.csv"
EMBEDDINGS: Final = "embeddings.npy"
IMAGES: Final = "pictures"
THUMBNAILS: Final = "thumbnails"
_BATCH: Final = 256
_SUFFIXES: Final = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif"}
#: The cells of an item's fields, and its attributes.
Row = tuple[dict[str, str], Mapping[str, Any]]
#: Writes an item's image below a folder if it must, and returns what the manifest calls it.
Place = Callable[[Path, int, StoredImage], str | None]


def export(folder: Path, target: Path) -> int:
    """Write a gallery out as a manifest that `index` takes, with embeddings and the images that are
    kept inside.

    `manifest.csv` has a row an item, `embeddings.npy` float32 [n, D] in the same order, `pictures/`
    the images that have no file of their own; of the others the manifest has the absolute path, so
    that indexing it takes `--allow-outside`.

    Args:
        folder: The gallery.
        target: A new or empty folder. Whatever goes wrong, it never holds a manifest of less than
            the whole.

    Returns:
        The number of items.

    Raises:
        GalleryError: There is no gallery, it is damaged, or `target` is not empty.
        OSError: A file cannot be written.
    """

    def place(temporary: Path, key: int, image: StoredImage) -> str | None:
        if image.path is not None and is_regular(image.path):
            return image.path
        return None if image.data is None else _write_image(temporary, key, image, image.data)

    with closing(Store(folder)) as store, fill_folder(target, last=MANIFEST) as temporary:
        return _write_items(store, temporary, ("1", []), place)


def export_person(folder: Path, condition: Condition, target: Path) -> tuple[int, list[str]]:
    """Write out all items that a condition holds for, each with copies of its images and their
    thumbnails.

    Files that were enrolled by reference are copied if they are regular files and images.

    Returns:
        The number of items, and a line for each image that could not be copied.

    Raises:
        GalleryError, OSError: As `export`.
    """
    missing: list[str] = []

    def place(temporary: Path, key: int, image: StoredImage) -> str | None:
        _write(temporary / THUMBNAILS / f"{key}-{image.modality}.jpg", image.thumbnail)
        try:
            data = image.data if image.data is not None else _read_copy(image)
        except ImageError as error:
            missing.append(f"item {key}: {error}")
            return None
        return _write_image(temporary, key, image, data)

    with closing(Store(folder)) as store, fill_folder(target, last=MANIFEST) as temporary:
        return _write_items(store, temporary, condition, place), missing


def _read_copy(image: StoredImage) -> bytes:
    """The content of an enrolled file.

    Raises ImageError if it is gone, or not an image: then it is not ours to copy.
    """
    if image.path is None:
        raise MissingImageError(
            f"{image.modality}: is neither kept in the gallery nor in a file", image.modality
        )
    data = read_image_file(image.path, f"{image.modality} ({image.path})")
    examine(data, f"{image.modality} ({image.path})")
    return data


def _write_items(store: Store, temporary: Path, condition: Condition, place: Place) -> int:
    """Write the items that a condition holds for;

    `place` writes an image, and returns what the manifest calls it.
    """
    meta = store.meta()
    rows: list[Row] = []
    with store.transaction("DEFERRED"):
        keys = store.keys(condition).tolist()
        embeddings = np.full((len(keys), int(meta["dimension"])), np.nan, np.float32)
        for start in range(0, len(keys), _BATCH):
            part = keys[start : start + _BATCH]
            known, stored = (
                store.load_records(part),
                store.embeddings(part, int(meta["generation"])),
            )
            for number, key in enumerate(part, start):
                embeddings[number] = stored.get(key, np.nan)
                placed = {
                    image.modality: place(temporary, key, image) for image in store.images(key)
                }
                rows.append((_fields(known[key], placed), known[key].attributes))
    with replace_file(temporary / EMBEDDINGS, private=True) as path, path.open("wb") as file:
        np.save(file, embeddings)
    _write_manifest(temporary / MANIFEST, rows)
    return len(rows)


def _fields(known: ItemRecord, placed: Mapping[Modality, str | None]) -> dict[str, str]:
    """The cells of an item's fields and images."""
    fields = {name: getattr(known, name) for name in COLUMNS} | {
        str(name): where for name, where in placed.items()
    }
    return {
        name: write_text(value) if isinstance(value, str) else str(value)
        for name, value in fields.items()
        if value is not None
    }


def _write_image(temporary: Path, key: int, image: StoredImage, data: bytes) -> str:
    path = temporary / IMAGES / f"{key}-{image.modality}{_suffix(data)}"
    _write(path, data)
    return str(path.relative_to(temporary))


def _suffix(data: bytes) -> str:
    try:
        return _SUFFIXES.get(examine(data).form, "")
    except ImageError:
        return ""


def _write(path: Path, data: bytes) -> None:
    make_private(path.parent)
    write_private(path, data)


def _write_manifest(path: Path, rows: list[Row]) -> None:
    columns = _columns({name for _, attributes in rows for name in attributes})
    first = [*MODALITIES, *COLUMNS]
    with (
        replace_file(path, private=True) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, [*first, *columns.values()], restval="")
        writer.writerow(
            {name: name for name in first}
            | {column: write_header(column) for column in columns.values()}
        )
        for fields, attributes in rows:
            writer.writerow(
                fields | {columns[name]: write_value(value) for name, value in attributes.items()}
            )


def _columns(names: set[str]) -> dict[str, str]:
    """The column of each attribute: its name, or `attribute_NAME` if that could be taken for a
    field, is blank, or comes twice but for how its letters are composed.
    """
    columns: dict[str, str] = {}
    for name in sorted(names, key=lambda name: (is_field_name(name), name)):
        column = unicodedata.normalize("NFC", name)
        if is_field_name(name) or not name.strip():
            column = f"attribute_{column.strip()}"
        while column in columns.values():
            column += "_"
        columns[name] = column
    return columns
