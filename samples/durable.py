"""Files that are whole or not there: written beside their place, flushed to the disk, and then
renamed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from trireid.samples.errors import GalleryError

#: Rights of what holds vectors, images or names of people, whatever the umask: the owner's alone.
PRIVATE_FILE: Final = 0o600
PRIVATE_FOLDER: Final = 0o700
_DRAFT: Final = ".draft-"


def write_whole(path: Path, *parts: bytes) -> None:
    """Write a file of these parts in one step: after a crash or on a full disk there is the old
    one, or none.

    Raises OSError, naming the path.
    """
    with draft_of(path) as draft, draft.open("wb") as file:
        file.writelines(parts)


def make_private(folder: Path) -> None:
    """Make a folder that its owner alone may enter, and such parents of it as are not there.

    One that is there and empty becomes such, if it is the caller's.
    """
    # one that others may write to would let them put another folder in this one's place
    if not folder.parent.exists():
        make_private(folder.parent)
    try:
        folder.mkdir(PRIVATE_FOLDER)
    except FileExistsError:
        if not folder.is_dir() or any(folder.iterdir()):
            return
    with suppress(PermissionError):  # another user's, as a volume's may be
        folder.chmod(PRIVATE_FOLDER)


def write_private(path: Path, data: bytes) -> None:
    """Write a new file that its owner alone may read, and flush it to the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, PRIVATE_FILE)
        file.write(data)
        file.flush()
        os.fsync(descriptor)


@contextmanager
def draft_folder(target: Path, last: str) -> Iterator[Path]:
    """Give a place to make the content of a new or empty folder; all of it is there, durably, when
    the block ends.

    It moves into `target` by name, `last` at the end: a crash leaves no folder with `last` and
    without the rest, and an error leaves nothing.

    Raises:
        GalleryError: `target` is not a new or empty folder.
        OSError: The folder cannot be made or written.
    """
    _refuse_taken(target)
    is_new = not target.exists()
    make_private(target)
    draft, moved = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=target)), []
    try:
        draft.chmod(PRIVATE_FOLDER)
        yield draft
        for each in (draft, *(path for path in draft.rglob("*") if path.is_dir())):
            sync(each)
        for name in sorted((path.name for path in draft.iterdir()), key=lambda name: name == last):
            if name == last:
                sync(target)
            os.rename(draft / name, target / name)
            moved.append(target / name)
        draft.rmdir()
        for each in (target, target.parent):
            sync(each)
    except BaseException:
        for path in (draft, *moved):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        if is_new:
            target.rmdir()
        raise


def _refuse_taken(target: Path) -> None:
    """Raise GalleryError unless a folder is new or empty, and say so if a killed process left its
    draft there.
    """
    if target.is_dir() and (left := next(target.glob(f"{_DRAFT}*"), None)) is not None:
        raise GalleryError(
            f"{target}: holds {left.name} of an export that is at work or was cut short; delete that, or name another folder",
            str(target),
        )
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise GalleryError(f"{target}: is there already; name a new or empty folder", str(target))


@contextmanager
def draft_of(path: Path, *, private: bool = False) -> Iterator[Path]:
    """A place to write a file to, which takes `path`'s place, durably, when the block ends; on an
    error nothing stays.

    `private`: its owner alone may read it, whatever the umask. Raises OSError, naming `path` where
    it names no other file, where the disk is full or the folder cannot be written to.
    """
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
            draft = Path(folder) / path.name
            yield draft
            if private:
                draft.chmod(PRIVATE_FILE)
            sync(draft)
            os.replace(draft, path)
        sync_folder(path.parent)
    except (
        OSError
    ) as error:  # a failed write says neither which file nor, in a temporary folder, whose
        if error.filename is not None and f".{path.name}-" not in str(error.filename):
            raise  # another file's, as of a draft within this one
        raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error


def sync_folder(folder: Path) -> None:
    """Flush a folder's list of names to the disk, after a file in it was made, renamed or removed."""
    sync(folder)


def sync(path: Path) -> None:
    """Flush a file, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
