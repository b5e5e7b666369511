"""The rights of a gallery's files: its owner's alone.

An existing one with wider rights is left so, and warned of.
"""

from __future__ import annotations

import logging
import shlex
from pathlib import Path

log = logging.getLogger(__name__)
_warned: set[Path] = set()


def warn_of_wide_rights(folder: Path, file: Path) -> None:
    """Warn once in this process if others may read a gallery's store, with the command that changes
    it.
    """
    if folder in _warned:
        return
    _warned.add(folder)
    if any(each.stat().st_mode & 0o077 for each in (file, folder)):
        log.warning(
            "%s: other users of this machine may read it; to close it: chmod -R go= %s",
            folder,
            shlex.quote(str(folder)),
        )
