"""A reserve on the disk: a file that takes up space, and lets it go where a removal finds the disk
full.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from trireid.samples.atomic_write import PRIVATE_FILE
from trireid.samples.errors import DiskFullError

RESERVE: Final = "gallery.db.reserve"
#: Bytes that a removal may write before its log is emptied.
SIZE: Final = 8 * 2**20
#: Less space than this, and an error of reading or writing is taken for that of a full disk.
_SCARCE: Final = 2**20
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)

Result = TypeVar("Result")


def keep_reserve(folder: Path, size: int = SIZE) -> bool:
    """Make the reserve whole, or as large as there is space for; returns False where the disk has
    not enough space for it.

    A file system that cannot be written, or knows of no reserving, counts as one with space.
    """
    path = folder / RESERVE
    current = _current_size(path)
    wanted = size
    while wanted > current and wanted >= _SCARCE:
        try:
            _allocate(path, current, wanted)
            return wanted == size
        except OSError as error:
            if error.errno not in _NO_SPACE:
                return True
        wanted //= 2
    return current >= size


def require_reserve(folder: Path, size: int) -> None:
    """Raise GalleryError where the disk has not enough space for the reserve: adding would take
    what removals need.
    """
    if not keep_reserve(folder, max(SIZE, size)):
        raise disk_full(folder)


def with_reserve(folder: Path, work: Callable[[], Result]) -> Result:
    """Do some work on the store; where the disk is full, once more without the reserve.

    Maintenance makes it again.
    """
    try:
        return work()
    except DiskFullError:
        pass
    release_reserve(folder)
    return work()


def release_reserve(folder: Path) -> None:
    """Give the reserve's space back to the file system."""
    with suppress(OSError):  # there is none
        descriptor = _open(folder / RESERVE, os.O_RDWR)
        try:
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)


def disk_full(folder: Path) -> DiskFullError:
    """The error for a disk that has no space for what is to be written."""
    return DiskFullError(
        f"{folder}: the disk is full; remove items and `trireid gallery compact`, or free space on"
        " it",
        str(folder),
    )


def is_out_of_space(folder: Path) -> bool:
    """Whether the file system of a folder has next to no space left."""
    try:
        free = os.statvfs(folder)
    except OSError:
        return False
    return free.f_bavail * free.f_frsize < _SCARCE


def _current_size(path: Path) -> int:
    """Return the reserve's size. A link in its place leads out of the gallery: it is removed."""
    try:
        found = path.lstat()
        if stat.S_ISREG(found.st_mode):
            return found.st_size
        path.unlink()
    except OSError:
        pass  # absent, or of a file system that says so again
    return 0


def _open(path: Path, flags: int) -> int:
    """Open the reserve, never through a link: the folder may be a stranger's. Raises OSError."""
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, PRIVATE_FILE)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a regular file", str(path))


def _allocate(path: Path, current: int, size: int) -> None:
    """Bring the file from its current size to another one, or leave it as it is."""
    descriptor = _open(path, os.O_RDWR | os.O_CREAT)
    try:
        os.fchmod(descriptor, PRIVATE_FILE)
        os.posix_fallocate(descriptor, 0, size)
    except OSError:
        os.ftruncate(descriptor, current)
        raise
    finally:
        os.close(descriptor)
