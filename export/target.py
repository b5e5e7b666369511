"""Where an export writes to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from trireid.samples import ArtifactError


def check_target(target: Path, suffix: str, others: Sequence[str]) -> None:
    """Check, before the work rather than after it, that an export can be written there and will be
    opened as what it is.

    `suffix`: what such a file is called; `others`: suffixes of files that are opened as something
    else. Raises ArtifactError.
    """
    name = os.fspath(target)
    if not target.parent.is_dir():
        raise ArtifactError(f"{name}: the folder {target.parent} does not exist", name)
    if target.is_dir():
        raise ArtifactError(
            f"{name}: is a directory; name the file to write, as in {target / ('network' + suffix)}",
            name,
        )
    if target.suffix in others:
        raise ArtifactError(
            f"{name}: a file called {target.suffix} is taken for something else; call it {suffix}",
            name,
        )
