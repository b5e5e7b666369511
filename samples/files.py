"""Opening files that others have named: regular files only, as a FIFO or device may block."""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO, Final

from trireid.samples.errors import ImageFormatError, ImageTooLargeError, MissingImageError

#: O_NONBLOCK: a FIFO that takes the file's place after the check does not block either.
_FLAGS: Final = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_CHUNK: Final = 1 << 20
#: Of configurations and cards: files that people write, and that are parsed as a whole.
MAX_TEXT_BYTES: Final = 1 << 20

#: Of an image.
MAX_PIXELS: Final = 50_000_000
#: Of an image's file: uncompressed, with 16 bits in each of four channels.
MAX_IMAGE_BYTES: Final = 8 * MAX_PIXELS


class FileTooLargeError(OSError):
    """A file holds more bytes than its reader takes:

    `size`, or more if it grew while it was read.
    """

    def __init__(self, size: int, path: str | os.PathLike[str]) -> None:
        super().__init__(errno.EFBIG, f"is too large: {size} bytes", os.fspath(path))
        self.size = size


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file, or a symbolic link to one, for reading.

    Raises:
        OSError: The file cannot be opened, or is a directory, FIFO, socket or device.
    """
    _check_regular(path)
    descriptor = os.open(path, _FLAGS)
    try:
        _require_regular(os.fstat(descriptor), path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: str | os.PathLike[str], most: int) -> bytes:
    """Read a whole regular file of at most `most` bytes.

    A file whose size the system gives as 0, as it does for those in `/proc`, is empty.

    Raises:
        FileTooLargeError: The file holds more than `most` bytes, also if it grew after it was
            opened.
        OSError: As `open_regular`.
    """
    size = _check_regular(path).st_size
    if size > most:
        raise FileTooLargeError(size, path)
    if size == 0:
        return b""
    with open_regular(path) as file:
        parts, left = [], most + 1
        while left and (part := file.read(min(_CHUNK, left))):
            parts.append(part)
            left -= len(part)
    if not left:
        raise FileTooLargeError(most + 1, path)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_image_file(image: str | os.PathLike[str] | bytes, field: str | None = None) -> bytes:
    """Read the bytes of an image file, or give those back that it is.

    Args:
        image: A path, or bytes.
        field: Its name in errors.

    Raises:
        ImageError: It cannot be read, or has more than MAX_IMAGE_BYTES.
    """
    start = f"{field}: " if field else ""
    if isinstance(image, bytes):
        return image
    if not isinstance(image, str | os.PathLike):
        kind = type(image).__name__
        raise ImageFormatError(
            f"{start}an image is a path, bytes, a PIL image or an array, not {kind}", field
        )
    try:
        return read_regular(image, MAX_IMAGE_BYTES)
    except FileTooLargeError as error:
        size = f"a file of {error.size // 1_000_000} MB"
        raise ImageTooLargeError(
            f"{start}{size} is too large; {MAX_PIXELS // 1_000_000} megapixels at most", field
        ) from error
    except OSError as error:
        raise MissingImageError(f"{start}cannot be read: {error.strerror}", field) from error


def is_regular(path: str | os.PathLike[str]) -> bool:
    """Whether there is a regular file, or a symbolic link to one;

    False for a path no system takes.
    """
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _check_regular(path: str | os.PathLike[str]) -> os.stat_result:
    """Look at a file without opening it: to open some devices is to act."""
    if "\0" in os.fspath(path):
        raise OSError(errno.EINVAL, "its name holds a NUL", os.fspath(path))
    return _require_regular(os.stat(path), path)


def _require_regular(found: os.stat_result, path: str | os.PathLike[str]) -> os.stat_result:
    if stat.S_ISREG(found.st_mode):
        return found
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
