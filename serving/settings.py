"""What is served: galleries from the environment, the demo galleries where none are named."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Final

from trireid.gallery import SUFFIX
from trireid.samples import ConfigError

#: Environment variable: gallery folders, separated as in PATH.
GALLERIES: Final = "TRIREID_GALLERIES"
#: Environment variable: how many processes serve.
WORKERS: Final = "TRIREID_WORKERS"
MAX_WORKERS: Final = 64
#: Environment variable: a folder whose gallery folders (`*.gallery`) are served, where
#: `TRIREID_GALLERIES` names none.
GALLERY_ROOT: Final = "TRIREID_GALLERY_ROOT"
#: Environment variable: the path below which a proxy serves this, where it does not strip it.
ROOT_PATH: Final = "TRIREID_ROOT_PATH"
#: Environment variable of BentoML: the folder where it keeps its own files.
BENTOML_HOME: Final = "BENTOML_HOME"
#: Environment of a server's processes, unless it is set: BentoML reports no usage, and the C
#: library keeps two heaps, not one for each thread, none of which gives back what it once held.
DEFAULT_ENVIRONMENT: Final = {"BENTOML_DO_NOT_TRACK": "true", "MALLOC_ARENA_MAX": "2"}


def named_galleries() -> list[Path]:
    """The gallery folders that the environment names; empty where it names none.

    They are absolute: the processes of a server need not have one working directory. Raises
    ConfigError for a root without any.
    """
    named = [
        Path(text).absolute() for text in os.environ.get(GALLERIES, "").split(os.pathsep) if text
    ]
    root = os.environ.get(GALLERY_ROOT, "")
    return named or (_below(Path(root).absolute()) if root else [])


def _below(root: Path) -> list[Path]:
    try:
        found = sorted(path for path in root.iterdir() if path.suffix == SUFFIX and path.is_dir())
    except OSError as error:
        raise ConfigError(
            f"{GALLERY_ROOT}: {root} cannot be read: {error.strerror}", GALLERY_ROOT
        ) from error
    if not found:
        raise ConfigError(
            f"{GALLERY_ROOT}: {root} holds no gallery; fill one with"
            f" `trireid index SOURCE --gallery {root / f'NAME{SUFFIX}'}`, or unset {GALLERY_ROOT} for the demo galleries",
            GALLERY_ROOT,
        )
    return found


def make_absolute(*variables: str) -> None:
    """Make paths in the environment absolute, for the processes that this one starts: they may run
    in another folder.
    """
    for variable in variables:
        if os.environ.get(variable):
            os.environ[variable] = os.path.abspath(os.environ[variable])


def check_bentoml_home() -> None:
    """Check that BentoML can make its folders, before it is started.

    Raises:
        ConfigError: it cannot; BentoML itself would end in a traceback.
    """
    make_absolute(BENTOML_HOME)
    home = os.environ.get(BENTOML_HOME) or os.path.join(os.path.expanduser("~"), "bentoml")
    try:
        if not os.path.isabs(home):
            raise FileNotFoundError(2, "the user has no home folder", home)
        os.makedirs(home, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home):
            pass
    except OSError as error:
        raise ConfigError(
            f"{BENTOML_HOME}: {home} cannot be written: {error.strerror}; name a folder that can be written in {BENTOML_HOME}",
            BENTOML_HOME,
        ) from error


def workers() -> int:
    """How many processes serve:

    `TRIREID_WORKERS`, 1 where it is not set. Raises ConfigError for what is no such number.
    """
    text = os.environ.get(WORKERS) or "1"
    if not text.isdecimal() or not 1 <= int(text) <= MAX_WORKERS:
        raise ConfigError(
            f"{WORKERS}: must be a whole number from 1 to {MAX_WORKERS}, not {text}", WORKERS
        )
    return int(text)


def root_path() -> str:
    """The path that comes before each request's, without a slash at its end; empty where there is
    none.

    Raises:
        ConfigError: it is not a path.
    """
    path = os.environ.get(ROOT_PATH, "").rstrip("/")
    if path and not re.fullmatch(r"(/[\w.~-]+)+", path, re.ASCII):
        raise ConfigError(f"{ROOT_PATH}: must be a path such as /reid, not {path[:100]}", ROOT_PATH)
    return path


def check_temporary_folder() -> None:
    """Check that there is a folder for temporary files. Raises ConfigError."""
    try:
        tempfile.TemporaryFile().close()
    except OSError as error:
        tried = os.environ.get("TMPDIR", "/tmp")
        raise ConfigError(
            f"TMPDIR: no temporary file can be written ({tried}): name a folder that can be written",
            "TMPDIR",
        ) from error
