"""The galleries that a server serves."""

from __future__ import annotations

import os
from pathlib import Path

from trireid.demo.galleries import ensure_demo_galleries
from trireid.samples import GalleryError
from trireid.serving.settings import ServerSettings, list_galleries, name_variable


def resolve_galleries(settings: ServerSettings) -> list[Path]:
    """Resolve the galleries that are served: those that settings name, or the demo galleries.

    The settings are left in the environment, with these galleries: the processes that this one
    starts serve the same, though those of a bento run in its own folder.

    Raises:
        ConfigError, GalleryError: there is no gallery there, or it cannot be made.
    """
    folders = list_galleries(settings) or ensure_demo_galleries()
    for folder in folders:
        if os.pathsep in str(folder):
            raise GalleryError(
                f"{folder}: a served gallery's path must not hold {os.pathsep!r}; rename a folder",
                str(folder),
            )
    os.environ.update(settings.to_environment())
    os.environ[name_variable("galleries")] = os.pathsep.join(map(str, folders))
    return folders
