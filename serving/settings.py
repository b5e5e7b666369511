"""What is served: galleries from the environment, the demo galleries where none are named."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from gallery import SUFFIX
from samples import ConfigError

#: Environment variable: gallery folders, separated as in PATH.
GALLERIES: Final = "TRIREID_GALLERIES"
#: Environment variable: how many processes serve.
WORKERS: Final = "TRIREID_WORKERS"
MAX_WORKERS: Final = 64
#: Where the demo galleries are, below the working directory.
DEMO_FOLDER: Final = Path("galleries")


def named_galleries() -> list[Path]:
    """The gallery folders that the environment names; empty where it names none."""
    return [Path(text) for text in os.environ.get(GALLERIES, "").split(os.pathsep) if text]


def demo_gallery(name: str) -> Path:
    """The folder of a demo gallery, `person` or `vehicle`."""
    return DEMO_FOLDER / f"{name}{SUFFIX}"


def workers() -> int:
    """How many processes serve: `TRIREID_WORKERS`, 1 where it is not set. Raises ConfigError for what is no such number."""
    text = os.environ.get(WORKERS) or "1"
    if not text.isdecimal() or not 1 <= int(text) <= MAX_WORKERS:
        raise ConfigError(f"{WORKERS}: must be a whole number from 1 to {MAX_WORKERS}, not {text}", WORKERS)
    return int(text)
