"""The audit: the sender, action and time of each search, enrolment and removal. No images,
no embeddings.

A file of lines of JSON, to which several processes may write. Each line is whole: a write that
fails in its middle is taken back, and a line that a killed process left torn is ended before the
next one. The file is opened for each line: one that was moved or deleted, as by logrotate, is made
again, and no process that is idle keeps the space of a deleted one.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from trireid.samples.atomic_write import sync_folder
from trireid.samples.errors import AuditError, AuditFullError, ConfigError
from trireid.serving.logs import event, log

#: Only the server's own user may read it.
_MODE: Final = 0o600
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Audit:
    """Appends lines to the audit.

    Args:
        path: the file, which is made if it does not exist; None: lines go to the log.

    Raises:
        ConfigError: the file cannot be written.
    """

    def __init__(self, path: Path | None) -> None:
        self._path, self._lock = path, threading.Lock()
        if path is not None:
            try:
                os.close(_open(path))
            except OSError as error:
                raise ConfigError(
                    f"{path}: the audit cannot be written: {error.strerror}", "TRIREID_AUDIT"
                ) from error

    @property
    def has_file(self) -> bool:
        """Whether lines go to a file, so that writing one may take time."""
        return self._path is not None

    def write(self, action: str, *, durable: bool = False, **fields: Any) -> None:
        """Append a line.

        Args:
            action: what is done.
            durable: the line is on the disk on return.
            fields: of the line.

        Raises:
            AuditError: it cannot be written; no part of it stays.
        """
        if self._path is None:
            event(f"audit {action}", **fields)
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = (
            json.dumps({"time": now, "action": action, **fields}, ensure_ascii=False, default=str)
            + "\n"
        )
        try:
            with self._lock, _open_for_block(self._path) as file:
                with _alone(file):
                    _append(file, line.encode("utf-8", "replace"))
                if durable:
                    _sync(file)
        except OSError as error:
            log.error("%s: the audit cannot be written: %s", self._path, error.strerror)
            kind = AuditFullError if error.errno in _FULL else AuditError
            raise kind("the audit cannot be written, so the request was not carried out") from error


@contextmanager
def _open_for_block(path: Path) -> Iterator[int]:
    file = _open(path)
    try:
        yield file
    finally:
        os.close(file)


def _open(path: Path) -> int:
    if path.is_fifo():  # not to wait for a reader, and not to write without one
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    is_new = not path.exists()
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, _MODE)
    if is_new:
        with suppress(OSError):
            sync_folder(path.parent)
    return file


@contextmanager
def _alone(file: int) -> Iterator[None]:
    """Keep other processes from the file while the block runs."""
    if not _is_regular(file):
        yield
        return
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _append(file: int, line: bytes) -> None:
    """Append a whole line or nothing; the caller holds the file's lock."""
    before = os.fstat(file).st_size if _is_regular(file) else 0
    if before and os.pread(file, 1, before - 1) != b"\n":
        line = b"\n" + line
    rest = memoryview(line)
    try:
        while rest:
            written = os.write(file, rest)
            if not written:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            rest = rest[written:]
    except OSError:
        if len(rest) < len(line) and _is_regular(file):
            with suppress(OSError):
                os.ftruncate(file, before)
        raise


def _sync(file: int) -> None:
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a pipe, a terminal
            raise


def _is_regular(file: int) -> bool:
    return stat.S_ISREG(os.fstat(file).st_mode)
