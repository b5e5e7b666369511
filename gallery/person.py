"""A person's rights: all that a gallery holds of one identity."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trireid.gallery.exporting import export_person
from trireid.gallery.filters import COLUMNS, condition
from trireid.gallery.items import ItemRecord, StoredImage
from trireid.gallery.store import Store
from trireid.samples.errors import GalleryError, UnknownIdentityError
from trireid.samples.files import is_regular
from trireid.samples.text import list_forms


def find_identity(folder: Path, identity: str) -> dict[str, Any]:
    """Return all that a gallery holds of an identity.

    Args:
        folder: The gallery.
        identity: As enrolled.

    Returns:
        `items`, each with every field, attributes, when it was added (ISO 8601, UTC) and its images
        (file, bytes, thumbnail); `audit`, the lines that name the identity or one of these items.
        Embeddings are not printed: `export_identity`.

    Raises:
        GalleryError: There is no gallery, or nothing in it names the identity.
    """
    with closing(Store(folder)) as store:
        store.meta()
        with store.transaction("DEFERRED"):
            keys = store.keys(condition({"identity": identity})).tolist()
            items = [_describe(store, store.load_records([key])[key]) for key in keys]
            audit = [
                {"at": at, "action": action, "what": what}
                for at, action, what in store.read_audit()
                if _names(what, {*list_forms(identity), *(item["id"] for item in items)})
            ]
    if not items and not audit:
        raise _make_unknown_error(folder, identity)
    return {"gallery": str(folder), "identity": identity, "items": items, "audit": audit}


def export_identity(folder: Path, identity: str, target: Path) -> tuple[int, list[str]]:
    """Write out all items of an identity with their embeddings and images: see
    `trireid.gallery.exporting.export_person`.

    Raises:
        GalleryError: There is no gallery, or no item of the identity in it.
        OSError: A file cannot be written.
    """
    wanted = condition({"identity": identity})
    with closing(Store(folder)) as store:
        store.meta()
        if not len(store.keys(wanted)):
            raise _make_unknown_error(folder, identity)
    return export_person(folder, wanted, target)


def _make_unknown_error(folder: Path, identity: str) -> GalleryError:
    return UnknownIdentityError(f"{folder}: holds nothing of identity {identity!r}", "identity")


def _describe(store: Store, known: ItemRecord) -> dict[str, Any]:
    added = store.read_added_at(known.key)
    return {
        **{name: getattr(known, name) for name in COLUMNS},
        "attributes": known.attributes,
        "added": None
        if added <= 0
        else datetime.fromtimestamp(added, UTC).isoformat(timespec="seconds"),
        "images": {image.modality: _image(image) for image in store.images(known.key)},
    }


def _image(image: StoredImage) -> dict[str, Any]:
    there = image.path is not None and is_regular(image.path)
    size = Path(str(image.path)).stat().st_size if there else None
    return {
        "path": image.path,
        "is_kept": image.data is not None,
        "bytes": size if image.data is None else len(image.data),
        "thumbnail_bytes": len(image.thumbnail),
    }


def _names(what: Mapping[str, Any], names: set[str]) -> bool:
    """Whether a line of the audit names one of these, as a value or in a list."""
    values = [
        each for value in what.values() for each in (value if isinstance(value, list) else [value])
    ]
    return any(isinstance(value, str) and value in names for value in values)
