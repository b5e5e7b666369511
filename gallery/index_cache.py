"""The index's snapshot: a file that saves opening a gallery from building its index anew. Truth
stays in the store.

It carries the store's own mark and position. One that is damaged, of another gallery, network or
setting, or of a history that the store no longer tells, is set aside, and the index built anew.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from trireid.gallery.index import Seen, VectorIndex
from trireid.gallery.items import LogPosition
from trireid.gallery.store import Store
from trireid.samples import GalleryError
from trireid.samples.durable import sync_folder

INDEX_CACHE: Final = "gallery.index"

log = logging.getLogger(__name__)


def load_index_cache(
    folder: Path, store: Store, dimension: int, **options: Any
) -> tuple[VectorIndex, LogPosition] | None:
    """The saved index and how far it has seen;

    None where there is none that can be used, which is logged.
    """
    path = folder / INDEX_CACHE
    if not path.is_file():
        return None
    try:
        now = store.position()
        index = VectorIndex.load(path, dimension, last=now.key, **options)
        position = _position(index.extra["position"])
        if index.extra["store"] != store.mark():
            raise ValueError("it is another gallery's")
        if (
            position.generation != now.generation
            or position.key > now.key
            or not store.reaches(position)
        ):
            raise ValueError("it is of another history")
    except (GalleryError, KeyError, TypeError, ValueError) as error:
        log.warning("%s is set aside, and the index built anew: %s", path, error)
        if not store.read_only:
            path.unlink(missing_ok=True)
        return None
    return index, position


def _position(saved: Mapping[str, Any]) -> LogPosition:
    if not all(type(value) is int and value >= 0 for value in saved.values()):
        raise ValueError("its position is not of whole numbers")
    return LogPosition(**saved)


def save_index_cache(
    folder: Path, index: Seen, position: LogPosition, writer: Store, writing: threading.RLock
) -> bool:
    """Save an index that has seen the store up to a position.

    Nothing that was removed since may come to lie on the disk again: where anything was, the file
    is dropped and False returned. `writing` guards the writer, which is asked at the beginning and
    the end only.
    """
    draft = folder / f".{INDEX_CACHE}.{os.getpid()}-{threading.get_ident()}"
    with writing:
        mark = writer.mark()
    try:
        index.save(draft, {"store": mark, "position": asdict(position)})
        with writing, writer.transaction():
            now = writer.position()
            if (now.generation, now.removal) != (position.generation, position.removal):
                return False
            os.replace(draft, folder / INDEX_CACHE)
        sync_folder(folder)
    except FileNotFoundError:  # the draft: another thread or process has dropped it
        return False
    finally:
        draft.unlink(missing_ok=True)
    return True


def drop_index_cache(folder: Path) -> None:
    """Remove the snapshot and drafts of it, of killed processes too: they hold vectors of what has
    been removed since.
    """
    _drop(folder, folder.glob(f"*{INDEX_CACHE}*"))


def drop_dead_drafts(folder: Path) -> None:
    """Remove drafts of the snapshot that a killed process left: of what they hold nobody knows what
    was removed since.
    """
    _drop(folder, [path for path in folder.glob(f".*{INDEX_CACHE}.*") if not _is_alive(path.name)])


def _drop(folder: Path, paths: Iterable[Path]) -> None:
    found = list(paths)
    for path in found:
        path.unlink(missing_ok=True)
    if found:
        sync_folder(folder)


def _is_alive(draft: str) -> bool:
    """Whether the process, and of this process the thread, that a draft is named after may still be
    writing it.
    """
    process, _, thread = draft.rpartition(".")[2].partition("-")
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
