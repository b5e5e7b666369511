"""The demo galleries: drawn persons and vehicles, made on first use.

python -m serving.demo
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from pathlib import Path
from typing import Final

from assets import default_artifact
from export import Embedder, load_artifact
from gallery import Gallery, fingerprint_of, index, is_gallery
from samples import KINDS, Kind
from samples.sources import open_source
from serving.settings import DEMO_FOLDER, demo_gallery

IDENTITIES: Final = 50


def ensure_demo_galleries() -> list[Path]:
    """The demo galleries' folders, made where absent. Whole or not there: an interrupted build leaves nothing behind."""
    DEMO_FOLDER.mkdir(exist_ok=True)
    with (DEMO_FOLDER / ".lock").open("w") as lock:  # several server processes may start at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        return [_ensure(kind) for kind in KINDS]


def _ensure(kind: Kind) -> Path:
    folder = demo_gallery(kind)
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
