"""Which galleries a server serves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from trireid.demo.galleries import ensure_demo_galleries
from trireid.samples import GalleryError
from trireid.serving.settings import GALLERIES, named_galleries


def resolve_galleries(given: Sequence[Path] = ()) -> list[Path]:
    """Resolve what is served: the galleries that are given, those that the environment names, or
    the demo galleries.

    The folders are absolute, and left so in the environment: the processes that this one starts
    serve the same, though those of a bento run in its own folder.

    Raises:
        ConfigError, GalleryError: a gallery cannot be named there, or not be made.
    """
    folders = (
        [Path(folder).absolute() for folder in given]
        or named_galleries()
        or ensure_demo_galleries()
    )
    for folder in folders:
        if os.pathsep in str(folder):
            raise GalleryError(
                f"{folder}: a served gallery's path must not hold {os.pathsep!r}; rename a folder",
                str(folder),
            )
    os.environ[GALLERIES] = os.pathsep.join(map(str, folders))
    return folders
