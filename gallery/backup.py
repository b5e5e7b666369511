"""A whole copy of a gallery's store, taken while others go on writing."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from trireid.gallery.store import FILE, Store
from trireid.samples.atomic_write import fill_folder, write_private


def back_up(folder: Path, target: Path) -> int:
    """Copy a gallery's store as it is at one moment; the index is built from it when the copy is
    opened.

    Args:
        folder: The gallery.
        target: A new or empty folder, whose owner alone may enter it.

    Returns:
        The number of items.

    Raises:
        GalleryError: There is no gallery, it is damaged, or `target` is not empty.
        OSError: The copy cannot be written.
    """
    with closing(Store(folder)) as store, fill_folder(target, last=FILE) as temporary:
        store.meta()
        write_private(temporary / FILE, b"")
        return store.copy_to(temporary / FILE)
