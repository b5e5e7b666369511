"""The demo galleries: drawn persons and vehicles, made on first use.

python -m serving.demo
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from assets import default_artifact
from export import Embedder, load_artifact
from gallery import SUFFIX, Gallery, fingerprint_of, index, is_gallery
from samples import KINDS, ConfigError, GalleryError, Kind
from samples.sources import open_source
from serving.settings import DEMO_FOLDER, GALLERIES, demo_folder, named_galleries

IDENTITIES: Final = 50


def settle_galleries(given: Sequence[Path] = ()) -> list[Path]:
    """What is served: the galleries that are given, those that the environment names, or the demo galleries.

    Absolute folders, and left so in the environment: the processes that this one starts serve the same, though those of a bento
    run in its own folder. Raises ConfigError or GalleryError for what cannot be named there, or not be made.
    """
    folders = [Path(folder).absolute() for folder in given] or named_galleries() or ensure_demo_galleries()
    for folder in folders:
        if os.pathsep in str(folder):
            raise GalleryError(f"{folder}: a served gallery's path must not hold {os.pathsep!r}; rename a folder", str(folder))
    os.environ[GALLERIES] = os.pathsep.join(map(str, folders))
    return folders


def ensure_demo_galleries() -> list[Path]:
    """The demo galleries' folders, made where absent. Whole or not there: an interrupted build leaves nothing behind.

    Raises ConfigError where nothing can be written.
    """
    where = demo_folder()
    try:
        where.mkdir(parents=True, exist_ok=True)
        lock = (where / ".lock").open("w")
    except OSError as error:
        raise ConfigError(
            f"the demo galleries cannot be made in {where}: {error.strerror}; name your galleries in {GALLERIES}, or a folder"
            f" that can be written in {DEMO_FOLDER}",
            DEMO_FOLDER,
        ) from error
    with lock:  # several server processes may start at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        return [_ensure(where / f"{kind}{SUFFIX}", kind) for kind in KINDS]


def _ensure(folder: Path, kind: Kind) -> Path:
    embedder = load_artifact(default_artifact(kind))
    if not _fits(folder, embedder):
        draft = folder.with_suffix(".building")
        shutil.rmtree(draft, ignore_errors=True)
        with Gallery.open(draft, embedder) as gallery:
            index(open_source(f"synthetic:{kind}:{IDENTITIES}"), gallery)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(draft, folder)
    return folder


def _fits(folder: Path, embedder: Embedder) -> bool:
    """Whether the gallery is there and of this network: an update of trireid may bring another."""
    return is_gallery(folder) and fingerprint_of(folder) == embedder.card.fingerprint


if __name__ == "__main__":
    for made in ensure_demo_galleries():
        print(f"demo gallery {made}", file=sys.stderr)
