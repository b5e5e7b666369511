"""What is served: galleries from the environment, the demo galleries where none are named."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from gallery import SUFFIX

#: Environment variable: gallery folders, separated as in PATH.
GALLERIES: Final = "TRIREID_GALLERIES"
#: Where the demo galleries are, below the working directory.
DEMO_FOLDER: Final = Path("galleries")


def named_galleries() -> list[Path]:
    """The gallery folders that the environment names; empty where it names none."""
    return [Path(text) for text in os.environ.get(GALLERIES, "").split(os.pathsep) if text]


def demo_gallery(name: str) -> Path:
    """The folder of a demo gallery, `person` or `vehicle`."""
    return DEMO_FOLDER / f"{name}{SUFFIX}"
