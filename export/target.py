"""Where an export writes to."""

from __future__ import annotations

import os
from pathlib import Path

from samples import ArtifactError


def check_folder(target: Path) -> None:
    """Raises ArtifactError where there is no folder to write the target to: better before the work than after."""
    if not target.parent.is_dir():
        raise ArtifactError(f"{target}: the folder {target.parent} does not exist", os.fspath(target))
