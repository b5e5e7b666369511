"""Files that are whole or not there: written beside their place, flushed to the disk, and then renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_whole(path: Path, *parts: bytes) -> None:
    """Write a file of these parts in one step: after a crash or on a full disk there is the old one, or none.

    Raises OSError, naming the path.
    """
    with draft_of(path) as draft, draft.open("wb") as file:
        file.writelines(parts)


@contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """A place to write a file to, which takes `path`'s place, durably, when the block ends; on an error nothing stays.

    Raises OSError, naming `path` where it names no other file, where the disk is full or the folder cannot be written to.
    """
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
            draft = Path(folder) / path.name
            yield draft
            _sync(draft)
            os.replace(draft, path)
        sync_folder(path.parent)
    except OSError as error:  # a failed write says neither which file nor, in a temporary folder, whose
        if error.filename is not None and f".{path.name}-" not in str(error.filename):
            raise  # another file's, as of a draft within this one
        raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error


def sync_folder(folder: Path) -> None:
    """Flush a folder's list of names to the disk, after a file in it was made, renamed or removed."""
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
