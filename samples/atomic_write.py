"""Atomic writes: a file or folder is written next to its target, flushed to the disk, and then
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
_TEMPORARY: Final = ".draft-"


def write_atomic(path: Path, *parts: bytes) -> None:
    """Write a file of these parts in one step: after a crash or on a full disk there is the old
    one, or none.

    Raises OSError, naming the path.
    """
    with replace_file(path) as temporary, temporary.open("wb") as file:
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
def fill_folder(target: Path, last: str) -> Iterator[Path]:
    """Yield a temporary folder whose content is in a new or empty folder, flushed to the disk, when
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
    temporary, moved = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=target)), []
    try:
        temporary.chmod(PRIVATE_FOLDER)
        yield temporary
        for each in (temporary, *(path for path in temporary.rglob("*") if path.is_dir())):
            sync(each)
        for name in sorted(
            (path.name for path in temporary.iterdir()), key=lambda name: name == last
        ):
            if name == last:
                sync(target)
            os.rename(temporary / name, target / name)
            moved.append(target / name)
        temporary.rmdir()
        for each in (target, target.parent):
            sync(each)
    except BaseException:
        for path in (temporary, *moved):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        if is_new:
            target.rmdir()
        raise


def _refuse_taken(target: Path) -> None:
    """Raise GalleryError unless a folder is new or empty; name what a killed process left there."""
    if target.is_dir() and (left := next(target.glob(f"{_TEMPORARY}*"), None)) is not None:
        raise GalleryError(
            f"{target}: holds {left.name} of an export that runs or was interrupted; delete it, or"
            " name another folder",
            str(target),
        )
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise GalleryError(f"{target}: is there already; name a new or empty folder", str(target))


@contextmanager
def replace_file(path: Path, *, private: bool = False) -> Iterator[Path]:
    """Yield a temporary path whose file replaces `path`, flushed to the disk, when the block ends.

    On an error the old file stays, and nothing of the new one.

    Args:
        path: The file to write.
        private: Its owner alone may read it, whatever the umask.

    Raises:
        OSError: The disk is full, or the folder cannot be written to. It names `path`, unless it
            names another file.
    """
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
            temporary = Path(folder) / path.name
            yield temporary
            if private:
                temporary.chmod(PRIVATE_FILE)
            sync(temporary)
            os.replace(temporary, path)
        sync_folder(path.parent)
    except (
        OSError
    ) as error:  # a failed write says neither which file nor, in a temporary folder, whose
        if error.filename is not None and f".{path.name}-" not in str(error.filename):
            raise  # another file's, as in a block within this one
        raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, after one was made, renamed or removed."""
    sync(folder)


def sync(path: Path) -> None:
    """Flush a file, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
