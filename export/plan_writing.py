"""Writing a file whole or not at all: what stands at its place is the old file or the new one, never a part."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from samples import ArtifactError


def write_whole(target: Path, parts: Iterable[bytes]) -> None:
    """Write `parts` one after another: to a temporary file beside the target, to the disk, then under the target's name.

    Raises ArtifactError where the folder does not exist, and OSError, naming the target, where the disk is full or the folder
    refuses; nothing half-written stays.
    """
    check_folder(target)
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as folder:
            draft = Path(folder) / target.name
            with draft.open("wb") as file:
                file.writelines(parts)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, target)
        _sync(target.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(target)) from error


def check_folder(target: Path) -> None:
    """Raises ArtifactError where there is no folder to write the target to."""
    if not target.parent.is_dir():
        raise ArtifactError(f"{target}: the folder {target.parent} does not exist", os.fspath(target))


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
