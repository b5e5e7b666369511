"""The user's cache folder: what can be made again is kept there, and never in the working
directory.
"""

from __future__ import annotations

import os
import pwd
import tempfile
from pathlib import Path
from typing import Final

from trireid.samples.atomic_write import PRIVATE_FOLDER

_NAME: Final = "trireid"


def cache_folder() -> Path:
    """Return the folder for what trireid can make again: `XDG_CACHE_HOME/trireid`, or
    `~/.cache/trireid`.

    Returns:
        An absolute path, which need not exist.

    Raises:
        OSError: HOME is unset and the user has no entry in the password database.
    """
    named = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(named):  # the XDG specification: a relative path is to be ignored
        return Path(named) / _NAME
    return _home().absolute() / ".cache" / _NAME


def temporary_folder() -> Path:
    """Make and return a folder of this user alone below the system's temporary folder.

    Raises:
        OSError: it cannot be made, or another user has made one of its name.
    """
    folder = Path(tempfile.gettempdir()).absolute() / f"{_NAME}-{os.getuid()}"
    folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    held = folder.lstat()
    if folder.is_symlink() or held.st_uid != os.getuid() or held.st_mode & 0o022:
        raise PermissionError(1, "exists, and other users can write to it", str(folder))
    return folder


def _home() -> Path:
    if home := os.environ.get("HOME"):
        return Path(home)
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError as error:
        raise FileNotFoundError(
            2, "HOME is not set, and the user has no home folder", "HOME"
        ) from error
