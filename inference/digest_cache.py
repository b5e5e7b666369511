"""Digests of large files, remembered in the user's cache folder, so that opening a large network
twice reads it once.

A file counts as the same while its path, device, inode, size and both times are. The times include
that of the last change of the inode, which no program can set. The cache is believed only if this
user alone can write it: who can forge an entry can then also replace the network, or trireid
itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from trireid.samples.atomic_write import make_private, replace_file
from trireid.samples.cache_folder import cache_folder

#: Smaller files are read each time.
LARGE: Final = 32 << 20
#: Seconds for which a file must have been left alone: a change within one tick of the clock leaves
#: its times as they are.
SETTLED: Final = 2.0
_ENTRIES: Final = 256
_MOST_BYTES: Final = 1 << 16
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def remember_digest(purpose: str, files: Sequence[Path], compute: Callable[[], str]) -> str:
    """Return the digest that `compute` gives for these files, from the cache if they are large and
    have not changed.

    Args:
        purpose: Tells apart different digests of the same files.
        files: All that `compute` reads.
        compute: Reads the files and returns 64 hexadecimal digits.

    Raises:
        OSError: A file cannot be read. A cache that cannot be read or written is not an error.
    """
    before = [_describe(file) for file in files]
    if sum(size for _, _, _, size, *_ in before) < LARGE:
        return compute()
    key = hashlib.sha256(json.dumps([purpose, before]).encode()).hexdigest()
    known = _read()
    if key in known:
        return known[key]
    digest = compute()
    newest = max(max(times) for *_, times in before) / 1e9
    if before == [_describe(file) for file in files] and time.time() - newest >= SETTLED:
        _write({**known, key: digest})
    return digest


def _describe(file: Path) -> tuple[str, int, int, int, tuple[int, int]]:
    held = file.stat()
    return (
        os.path.realpath(file),
        held.st_dev,
        held.st_ino,
        held.st_size,
        (held.st_mtime_ns, held.st_ctime_ns),
    )


def _path() -> Path:
    return cache_folder() / "digests.json"


def _read() -> dict[str, str]:
    """The remembered digests; none of a cache that is damaged, or that others can write."""
    with suppress(OSError, ValueError, RecursionError):
        descriptor = os.open(_path(), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            held = os.fstat(descriptor)
            if (
                stat.S_ISREG(held.st_mode)
                and held.st_uid == os.geteuid()
                and not held.st_mode & 0o022
            ):
                known = json.loads(file.read(_MOST_BYTES))
                if isinstance(known, dict):
                    return {
                        key: value for key, value in known.items() if _DIGEST.fullmatch(str(value))
                    }
    return {}


def _write(known: dict[str, str]) -> None:
    newest = dict(list(known.items())[-_ENTRIES:])
    with suppress(OSError):
        make_private(_path().parent)
        with replace_file(_path(), private=True) as temporary, temporary.open("w") as file:
            json.dump(newest, file)
