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
#: Environment variable: a folder whose gallery folders (`*.gallery`) are served, where `TRIREID_GALLERIES` names none.
GALLERY_ROOT: Final = "TRIREID_GALLERY_ROOT"
#: Environment variable: where the demo galleries are.
DEMO_FOLDER: Final = "TRIREID_DEMO_FOLDER"
#: Files that `bentoml build` puts beside the folder of the rooms.
_BENTO: Final = Path(__file__).resolve().parents[2] / "bento.yaml"


def named_galleries() -> list[Path]:
    """The gallery folders that the environment names; empty where it names none.

    They are absolute: the processes of a server need not have one working directory. Raises ConfigError for a root without any.
    """
    named = [Path(text).absolute() for text in os.environ.get(GALLERIES, "").split(os.pathsep) if text]
    root = os.environ.get(GALLERY_ROOT, "")
    return named or (_below(Path(root).absolute()) if root else [])


def _below(root: Path) -> list[Path]:
    try:
        found = sorted(path for path in root.iterdir() if path.suffix == SUFFIX and path.is_dir())
    except OSError as error:
        raise ConfigError(f"{GALLERY_ROOT}: {root} cannot be read: {error.strerror}", GALLERY_ROOT) from error
    if not found:
        raise ConfigError(
            f"{GALLERY_ROOT}: {root} holds no gallery; fill one with"
            f" `trireid index SOURCE --gallery {root / f'NAME{SUFFIX}'}`, or unset {GALLERY_ROOT} for the demo galleries",
            GALLERY_ROOT,
        )
    return found


def make_absolute(*variables: str) -> None:
    """Make paths in the environment absolute, for the processes that this one starts: they may run in another folder."""
    for variable in variables:
        if os.environ.get(variable):
            os.environ[variable] = os.path.abspath(os.environ[variable])


def demo_folder() -> Path:
    """Where the demo galleries are: what the environment says, or `galleries` below the working directory.

    A bento is not to be written to: there it is a folder of the user's, for what can be made again.
    """
    if named := os.environ.get(DEMO_FOLDER):
        return Path(named).absolute()
    if _BENTO.is_file():
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "trireid" / "galleries"
    return Path("galleries").absolute()


def workers() -> int:
    """How many processes serve: `TRIREID_WORKERS`, 1 where it is not set. Raises ConfigError for what is no such number."""
    text = os.environ.get(WORKERS) or "1"
    if not text.isdecimal() or not 1 <= int(text) <= MAX_WORKERS:
        raise ConfigError(f"{WORKERS}: must be a whole number from 1 to {MAX_WORKERS}, not {text}", WORKERS)
    return int(text)
