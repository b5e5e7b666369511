"""The index cache: a file that saves the opening of a gallery from rebuilding its index.

The truth is in the store. The cache carries the store's own mark and position. One that is damaged,
in another format, of another gallery, network or setting, or of a history that the store no longer
tells, is discarded, and the index rebuilt.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from trireid.gallery.index import IndexSnapshot, VectorIndex, serialization
from trireid.gallery.items import LogPosition
from trireid.gallery.store import Store
from trireid.samples import GalleryError
from trireid.samples.atomic_write import sync_folder

INDEX_CACHE: Final = "gallery.index"

log = logging.getLogger(__name__)


def load_index_cache(
    folder: Path, store: Store, dimension: int, **options: Any
) -> tuple[VectorIndex, LogPosition] | None:
    """Load the saved index, and how far it has followed the store.

    Returns:
        None if it is absent or unusable; the latter is logged.
    """
    path = folder / INDEX_CACHE
    if not path.is_file():
        return None
    try:
        now = store.position()
        index = VectorIndex.load(path, dimension, last=now.key, **options)
        position = _position(index.extra["position"])
        if index.extra["store"] != store.mark():
            raise ValueError("it is that of another gallery")
        if (
            position.generation != now.generation
            or position.key > now.key
            or not store.reaches(position)
        ):
            raise ValueError("it is of another history")
    except (GalleryError, KeyError, TypeError, ValueError) as error:
        log.warning("%s is discarded, and the index rebuilt: %s", path, error)
        if not store.read_only:
            path.unlink(missing_ok=True)
        return None
    return index, position


def _position(saved: Mapping[str, Any]) -> LogPosition:
    if not all(type(value) is int and value >= 0 for value in saved.values()):
        raise ValueError("its position is not of whole numbers")
    return LogPosition(**saved)


def save_index_cache(
    folder: Path,
    snapshot: IndexSnapshot,
    position: LogPosition,
    writer: Store,
    writing: threading.RLock,
) -> bool:
    """Save an index that has followed the store up to a position.

    Args:
        folder: The gallery's folder.
        snapshot: The index.
        position: How far it has followed the store.
        writer: The gallery's store, which is asked at the beginning and the end only.
        writing: Guards `writer`.

    Returns:
        False if anything was removed since: nothing of that may be on the disk again, so the file
        is dropped.
    """
    temporary = folder / f".{INDEX_CACHE}.{os.getpid()}-{threading.get_ident()}"
    with writing:
        mark = writer.mark()
    try:
        serialization.save(temporary, snapshot, {"store": mark, "position": asdict(position)})
        with writing, writer.transaction():
            now = writer.position()
            if (now.generation, now.removal) != (position.generation, position.removal):
                return False
            os.replace(temporary, folder / INDEX_CACHE)
        sync_folder(folder)
    except FileNotFoundError:  # the temporary file: another thread or process has dropped it
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def drop_index_cache(folder: Path) -> None:
    """Remove the cache and temporary files of it, also of killed processes: they hold vectors of
    what has been removed since.
    """
    _drop(folder, folder.glob(f"*{INDEX_CACHE}*"))


def drop_dead_temporaries(folder: Path) -> None:
    """Remove temporary files of the cache that a killed process left: what they hold may have been
    removed since.
    """
    _drop(folder, [path for path in folder.glob(f".*{INDEX_CACHE}.*") if not _is_alive(path.name)])


def _drop(folder: Path, paths: Iterable[Path]) -> None:
    found = list(paths)
    for path in found:
        path.unlink(missing_ok=True)
    if found:
        sync_folder(folder)


def _is_alive(temporary: str) -> bool:
    """Whether the process, and of this process the thread, that a temporary file is named after may
    still be writing it.
    """
    process, _, thread = temporary.rpartition(".")[2].partition("-")
    if not (process.isdecimal() and thread.isdecimal()):
        return False
    if int(process) == os.getpid():
        return int(thread) in {each.ident for each in threading.enumerate()}
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's
    return True
