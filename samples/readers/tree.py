"""The files below a folder: which are images, and how many of which kind are passed over."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from trireid.samples.errors import SourceError
from trireid.samples.source import NotUsed

IMAGES: Final = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff")
MAX_FILES: Final = 5_000_000
MAX_DEPTH: Final = 16
_SYSTEM: Final = frozenset(
    ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "lost+found")
)
_UNREAD: Final = frozenset((
    ".heic", ".heif", ".avif", ".gif", ".jp2", ".j2k", ".jpx", ".jxl", ".raw", ".dng", ".cr2",
    ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".psd", ".svg", ".ico", ".pgm", ".ppm",
    ".pbm", ".pnm", ".pfm", ".exr", ".hdr", ".tga", ".npy", ".npz", ".seq", ".fff", ".rjpg",
))  # fmt: skip
_VIDEOS: Final = frozenset((
    ".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv",
))  # fmt: skip
_TABLES: Final = frozenset((
    ".csv", ".tsv", ".parquet", ".xlsx", ".xls",
))  # fmt: skip

#: An image by the names of the folders below the tree's root that lead to it, its own name last.
Parts = tuple[str, ...]
Kind = tuple[str, str]  #: what is passed over, and why


class Tree:
    """The images below `root`, in the order of their names, and what else lies there and is passed
    over.
    """

    def __init__(self, root: Path) -> None:
        """Look at every file below `root`.

        Raises SourceError where a folder cannot be read, or there are too many.
        """
        self.root = root
        self.images: list[Parts] = []
        self._seen = 0
        self._passed: Counter[Kind] = Counter()
        self._examples: dict[Kind, str] = {}
        try:
            self._walk(root, (), (_identity(root),))
        except OSError as error:
            raise SourceError(f"{error.filename or root}: {error.strerror}", str(root)) from error

    def path(self, parts: Parts) -> Path:
        """Return where an image is."""
        return self.root.joinpath(*parts)

    def pass_over(self, what: str, why: str, parts: Parts) -> None:
        """Count something as not used."""
        self._passed[what, why] += 1
        self._examples.setdefault(
            (what, why), "/".join(parts).encode("utf-8", "backslashreplace").decode()
        )

    @property
    def not_used(self) -> tuple[NotUsed, ...]:
        """The entries that are passed over, by kind."""
        return tuple(
            NotUsed(what, count, why, self._examples[what, why])
            for (what, why), count in self._passed.items()
        )

    def _walk(self, folder: Path, parts: Parts, above: tuple[tuple[int, int], ...]) -> None:
        for entry in self._sort_entries(folder):
            here = (*parts, entry.name)
            kind = _reject_by_name(entry.name)
            if kind is not None:
                self.pass_over(*kind, here)
            elif entry.is_dir():
                self._enter(entry, here, above)
            elif not entry.is_file():
                self.pass_over("broken links and devices", "not a regular file", here)
            elif _extension(entry.name) in IMAGES:
                self.images.append(here)
            else:
                self.pass_over(*_reject_by_extension(_extension(entry.name)), here)

    def _sort_entries(self, folder: Path) -> list[os.DirEntry[str]]:
        with os.scandir(folder) as entries:
            return sorted(self._count_entries(entries), key=lambda entry: entry.name)

    def _count_entries(self, entries: Iterator[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
        for entry in entries:
            self._seen += 1
            if self._seen > MAX_FILES:
                raise SourceError(
                    f"{self.root}: holds over {MAX_FILES:,} files; index parts of it",
                    str(self.root),
                )
            yield entry

    def _enter(
        self, entry: os.DirEntry[str], here: Parts, above: tuple[tuple[int, int], ...]
    ) -> None:
        inside = _identity(Path(entry.path))
        if _extension(entry.name) in IMAGES:
            self.pass_over("folders named like images", "a folder is not an image", here)
        elif inside in above:
            self.pass_over("links to a folder above", "they would never end", here)
        elif len(here) > MAX_DEPTH:
            raise SourceError(
                f"{entry.path}: over {MAX_DEPTH} folders deep; index a folder below", entry.path
            )
        else:
            self._walk(Path(entry.path), here, (*above, inside))


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _reject_by_name(name: str) -> Kind | None:
    if name.startswith("."):
        return "hidden files and folders", "names that begin with a dot are passed over"
    if name.lower() in _SYSTEM:
        return "system files and folders", "made by the operating system"
    if any("\ud800" <= character <= "\udfff" for character in name):
        return "names that are not UTF-8", "rename them"
    return None


def _reject_by_extension(extension: str) -> Kind:
    what = f"{extension} files" if extension else "files without an extension"
    if extension in _UNREAD:
        return what, "this image format is not read; convert them to JPEG or PNG"
    if extension in _VIDEOS:
        return what, "videos are not read; extract their frames"
    if extension in _TABLES:
        return (
            what,
            "a table is a SOURCE of its own; give it instead of the folder to use its columns",
        )
    return what, "not images"
