"""The demo galleries: drawn persons and vehicles, made on first use in the user's cache folder.

Each network has a folder of its own, `FOLDER/FINGERPRINT/person.gallery`, so that another default
network never needs the place of an earlier one. No gallery is ever deleted; only an interrupted
build of this module is.

python -m trireid.demo.galleries
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Final

from trireid.gallery import SUFFIX, Gallery, index_source, is_gallery
from trireid.gallery.metadata import read_meta, update_settings
from trireid.gallery.store import Store
from trireid.inference import load_artifact
from trireid.inference.embedded import default_artifact
from trireid.samples import KINDS, ConfigError, GalleryError, Kind
from trireid.samples.atomic_write import make_private
from trireid.samples.cache_folder import cache_folder, temporary_folder
from trireid.samples.sources import open_source

log = logging.getLogger("trireid")

#: Environment variable: where the demo galleries are.
DEMO_FOLDER: Final = "TRIREID_DEMO_FOLDER"
IDENTITIES: Final = 50
#: In a gallery's metadata: how far its store was when the demo gallery was finished.
MARK: Final = "demo"
#: In a build's folder: that it is ours, and whose lock says that it is being built.
BUILD_MARK: Final = ".trireid-demo-build"
_BUILD: Final = ".build-"
_FINGERPRINT: Final = 12
_NAMED: Final = 5


def ensure_demo_galleries() -> list[Path]:
    """Return the demo galleries' folders, and make those that are absent.

    A gallery is whole or absent. Galleries of the working directory's folder `galleries`, where
    earlier versions kept them, and demo galleries of other networks that were changed are neither
    served nor touched: a line of the log says how to serve them.

    Raises:
        ConfigError: no folder can be written.
        GalleryError: something else than a gallery has a demo gallery's name.
    """
    folder, lock = _open_folder()
    with lock:  # several server processes may start at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = [_ensure(folder, kind) for kind in KINDS]
        others = (
            _list_galleries(Path("galleries")),
            _list_galleries(folder),
            _find_changed(folder, made),
        )
    for found in others:
        _log_how_to_serve(found)
    return made


def find_demo_folder() -> Path | None:
    """Return the absolute folder for demo galleries that the environment names, or None."""
    named = os.environ.get(DEMO_FOLDER)
    return Path(named).absolute() if named else None


def _open_folder() -> tuple[Path, IO[str]]:
    """The demo galleries' folder and its lock, open."""
    named = find_demo_folder()
    try:
        folder = named or cache_folder() / "galleries"
        return folder, _open_lock(folder)
    except OSError as error:
        if named:
            raise _make_folder_error(error) from error
        first = error
    try:
        folder = temporary_folder() / "galleries"
        lock = _open_lock(folder)
    except OSError as error:
        raise _make_folder_error(error) from error
    log.warning(
        "%s: %s; the demo galleries are in %s, which the system may empty",
        first.filename,
        first.strerror,
        folder,
    )
    return folder, lock


def _open_lock(folder: Path) -> IO[str]:
    make_private(folder)
    return (folder / ".lock").open("a")


def _make_folder_error(error: OSError) -> ConfigError:
    return ConfigError(
        f"the demo galleries cannot be made in {error.filename}: {error.strerror}; name your "
        "galleries in"
        f" TRIREID_GALLERIES, or a folder that can be written in {DEMO_FOLDER}",
        DEMO_FOLDER,
    )


def _ensure(folder: Path, kind: Kind) -> Path:
    embedder = load_artifact(default_artifact(kind))
    own = folder / embedder.card.fingerprint[:_FINGERPRINT]
    target = own / f"{kind}{SUFFIX}"
    if is_gallery(target):
        return target
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise GalleryError(
            f"{target}: exists and is not a gallery; move it away, or set {DEMO_FOLDER}",
            str(target),
        )
    try:
        make_private(own)
        _remove_abandoned(own)
        with _build_folder(own) as build:
            with Gallery.open(build / target.name, embedder) as gallery:
                index_source(open_source(f"synthetic:{kind}:{IDENTITIES}"), gallery)
            _mark_finished(build / target.name)
            os.replace(build / target.name, target)
    except OSError as error:
        raise _make_folder_error(error) from error
    return target


@contextmanager
def _build_folder(own: Path) -> Iterator[Path]:
    """A new folder to build in, held by its lock; gone when the block ends."""
    build = Path(tempfile.mkdtemp(dir=own, prefix=_BUILD))
    try:
        with (build / BUILD_MARK).open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield build
    finally:
        shutil.rmtree(build, ignore_errors=True)


def _remove_abandoned(own: Path) -> None:
    """Remove builds of killed processes: with our mark, and without a process that holds it."""
    for build in own.glob(f"{_BUILD}*"):
        with suppress(OSError), (build / BUILD_MARK).open("r+") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(build, ignore_errors=True)


def _mark_finished(gallery: Path) -> None:
    """Record how far the store of a finished demo gallery is: later, it says whether anything has
    changed.
    """
    update_settings(gallery, {MARK: _read_position(gallery)})


def is_unchanged(gallery: Path) -> bool:
    """Whether this is a demo gallery as it was made: nothing enrolled, removed or moved to another
    network since.
    """
    try:
        return read_meta(gallery).get(MARK) == _read_position(gallery)
    except GalleryError:
        return False


def _read_position(gallery: Path) -> str:
    with closing(Store(gallery)) as store:
        return json.dumps(asdict(store.position()))


def _list_galleries(folder: Path) -> list[Path]:
    """The galleries in a folder; none where it cannot be read."""
    with suppress(OSError):
        return sorted(
            path for path in folder.iterdir() if path.suffix == SUFFIX and is_gallery(path)
        )
    return []


def _find_changed(folder: Path, served: Sequence[Path]) -> list[Path]:
    """Demo galleries of other networks than today's that hold more than what was drawn, or less."""
    found = [path for own in folder.iterdir() if own.is_dir() for path in _list_galleries(own)]
    return sorted(path for path in found if path not in served and not is_unchanged(path))


def _log_how_to_serve(galleries: Iterable[Path]) -> None:
    found = [shlex.quote(str(path)) for path in galleries]
    if found:
        more = f" (and {len(found) - _NAMED} more)" if len(found) > _NAMED else ""
        log.warning(
            "these galleries are not served; to serve them: trireid serve %s%s",
            " ".join(found[:_NAMED]),
            more,
        )


if __name__ == "__main__":
    for made in ensure_demo_galleries():
        print(f"demo gallery {made}", file=sys.stderr)
