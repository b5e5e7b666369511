"""The field's RGB data sets, as they lie on disk once unpacked: Market-1501, CUHK03-NP, MSMT17,
VeRi-776, GRID, VIPeR.

Each follows its protocol: junk is left out, distractors are in the gallery without an identity.
Cameras count from 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from trireid.samples.errors import SourceError
from trireid.samples.files import is_regular
from trireid.samples.readers.tree import Parts, Tree
from trireid.samples.roles import Part, Split, find_role, list_left_out
from trireid.samples.sample import Kind, Sample
from trireid.samples.source import Entry, Source, read_entry, read_lazily

_TELLS: Final = frozenset(("identity", "camera", "kind"))


@dataclass(frozen=True)
class Layout:
    """One data set: the names of its own folder, the folder of each split, and what the names of
    images say.
    """

    scheme: str
    homes: tuple[str, ...]
    folders: dict[Split, str]
    names: re.Pattern[str]
    kind: Kind = "person"
    cameras: tuple[
        Split, ...
    ] = ()  #: the splits in the order of their cameras, if names do not say these

    def __call__(self, folder: Path, split: Split) -> Source:
        """Read a split of the data set below a folder, or in it."""
        if split not in self.folders:
            raise SourceError(
                f"{self.scheme}:{folder}: has no {split}; there are {', '.join(self.folders)}",
                split,
            )
        tree = Tree(self._find(folder, self.folders[split]))
        parts = {location: self._part(location, split) for location in tree.images}
        used = [location for location, part in parts.items() if part != "junk"]
        passed = list_left_out(parts.values(), split, "images")

        def entries() -> Iterator[Entry]:
            for location in used:
                yield read_entry(
                    "/".join(location),
                    partial(self._read, tree, location, split),
                    role=find_role(parts[location]),
                )

        return Source(
            f"{self.scheme}:{folder}@{split}",
            len(used),
            entries,
            (*tree.not_used, *passed),
            tells=_TELLS,
        )

    def _find(self, folder: Path, part: str) -> Path:
        found = [
            home / part
            for home in (folder, *(folder / name for name in self.homes))
            if (home / part).is_dir()
        ]
        if len(found) == 1:
            return found[0]
        if found:
            raise SourceError(
                f"{folder}: holds {_list_folders(found)}; name the folder of one of them",
                str(folder),
            )
        raise SourceError(
            f"{folder}: has no {part}/, also not in {', '.join(f'{name}/' for name in self.homes)};"
            f" give the folder that holds the data set's own, as in {self.scheme}:DIR",
            str(folder),
        )

    def _part(self, location: Parts, split: Split) -> Part | None:
        said = self.names.match(location[-1])
        if split == "train" or said is None:
            return None
        special: dict[str, Part] = {"-1": "junk", "0000": "distractor"}
        return special.get(said["identity"])

    def _read(self, tree: Tree, location: Parts, split: Split) -> Sample:
        name = "/".join(location)
        said = self.names.match(location[-1])
        if said is None:
            raise SourceError(
                f"{name}: its name does not say identity and camera as the data set's names do",
                name,
            )
        identity = None if self._part(location, "gallery") == "distractor" else said["identity"]
        camera = self.cameras.index(split) if self.cameras else int(said["camera"]) - 1
        return Sample(rgb=tree.path(location), identity=identity, camera=camera, kind=self.kind)


def _list_folders(folders: Sequence[Path]) -> str:
    return " and ".join(str(folder.parent) for folder in folders)


_BOXES: Final[dict[Split, str]] = {
    "train": "bounding_box_train",
    "query": "query",
    "gallery": "bounding_box_test",
}
_IMAGES: Final[dict[Split, str]] = {
    "train": "image_train",
    "query": "image_query",
    "gallery": "image_test",
}
_NAMED: Final = re.compile(r"(?P<identity>-1|\d+)_c(?P<camera>\d+)")
_LAYOUTS: Final = (
    Layout(
        "market1501",
        ("Market-1501-v15.09.15", "Market-1501", "market1501", "Market1501"),
        _BOXES,
        _NAMED,
    ),
    Layout(
        "cuhk03", ("cuhk03-np/detected", "cuhk03-np/labeled", "detected", "labeled"), _BOXES, _NAMED
    ),
    Layout("veri776", ("VeRi", "VeRi-776", "veri"), _IMAGES, _NAMED, kind="vehicle"),
    Layout(
        "grid",
        ("GRID", "grid", "underground_reid"),
        {"query": "probe", "gallery": "gallery"},
        re.compile(r"(?P<identity>\d+)_(?P<camera>\d+)_"),
    ),
    Layout(
        "viper",
        ("VIPeR", "VIPeR.v1.0", "viper"),
        {"query": "cam_a", "gallery": "cam_b"},
        re.compile(r"(?P<identity>\d+)_\d+"),
        cameras=("query", "gallery"),
    ),
)
_MSMT17_HOMES: Final = (".", "MSMT17_V1", "MSMT17", "MSMT17_V2")
_MSMT17_LISTS: Final[dict[Split, tuple[str, ...]]] = {
    "train": ("list_train.txt", "list_val.txt"),
    "query": ("list_query.txt",),
    "gallery": ("list_gallery.txt",),
}
_MSMT17_NAMES: Final = re.compile(r"(?P<identity>\d+)_\d+_(?P<camera>\d+)_")


def read_msmt17(folder: Path, split: Split) -> Source:
    """Read MSMT17:

    `{train,test}/ID/NAME` as its lists name them; the training images are those of both its lists.
    """
    home = next(
        (
            folder / name
            for name in _MSMT17_HOMES
            if (folder / name / _MSMT17_LISTS[split][0]).is_file()
        ),
        None,
    )
    if home is None:
        raise SourceError(
            f"{folder}: has no {_MSMT17_LISTS[split][0]}, also not in MSMT17_V1/ or MSMT17_V2/",
            str(folder),
        )
    part = "train" if split == "train" else "test"
    below = next(
        (home / name for name in (part, f"mask_{part}_v2") if (home / name).is_dir()), home / part
    )
    lines = [line for name in _MSMT17_LISTS[split] for line in _lines(home / name)]

    def read(line: str) -> Sample:
        name = line.split()[0]
        said = _MSMT17_NAMES.match(name.rpartition("/")[2])
        if said is None or ".." in name.split("/"):
            raise SourceError(
                f"{name}: its name does not say identity and camera as the data set's names do",
                name,
            )
        if not is_regular(below / name):
            raise SourceError(f"{name}: {below / name} does not exist", name)
        return Sample(
            rgb=below / name,
            identity=said["identity"],
            camera=int(said["camera"]) - 1,
            kind="person",
        )

    return replace(read_lazily(f"msmt17:{folder}@{split}", lines, read), tells=_TELLS)


def _lines(path: Path) -> list[str]:
    try:
        return [
            line.split()[0]
            for line in path.read_text(encoding="utf-8").splitlines()
            if line.strip()
        ]
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot be read: {error}", str(path)) from error


#: The data sets by the name that a SOURCE gives them.
RGB_READERS: Final[dict[str, Callable[[Path, Split], Source]]] = {
    **{layout.scheme: layout for layout in _LAYOUTS},
    "msmt17": read_msmt17,
}
