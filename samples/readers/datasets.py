"""The field's public data sets, as they lie on disk once unpacked: RGBNT201, RGBNT100, MSVR310.

Identities are the text of the file's name; cameras count from 0. An image that its two others do
not go with is rejected.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from trireid.samples.decoding import decode
from trireid.samples.errors import SourceError
from trireid.samples.readers.tree import Parts, Tree
from trireid.samples.roles import Split
from trireid.samples.sample import MODALITIES, Kind, Modality, Sample
from trireid.samples.source import Source, read_lazily

Reader = Callable[[Path, Split], Source]

_RGBNT201: Final = re.compile(r"(?P<identity>\d+)_cam(?P<camera>\d+)_")
_RGBNT100: Final = re.compile(r"(?P<identity>\d+)_c(?P<camera>\d+)_")
_MSVR310: Final = re.compile(r"(?P<identity>\d+)_s(?P<scene>\d+)_v(?P<view>\d+)_")
_STRIP: Final = (768, 128)
_TELLS: Final = frozenset(("identity", "camera", "kind"))


def read_rgbnt201(folder: Path, split: Split) -> Source:
    """RGBNT201:

    `{train_171,test}/{RGB,NI,TI}/NAME`; query and gallery are both the whole of `test`.
    """
    part = _part(folder / "RGBNT201" / ("train_171" if split == "train" else "test"))
    folders = _modality_folders(part, ("RGB", "NI", "TI"))

    def read(name: str) -> Sample:
        known = _parse(_RGBNT201, name)
        return _trio(
            name, folders, name, "person", known["identity"], camera=int(known["camera"]) - 1
        )

    tree = Tree(part)
    names = sorted({parts[-1] for parts in _within(tree, 2, ("RGB", "NI", "TI"))})
    source = read_lazily(
        f"rgbnt201:{folder}@{'train' if split == 'train' else 'test'}", names, read
    )
    return replace(source, not_used=tree.not_used, tells=_TELLS)


def read_rgbnt100(folder: Path, split: Split) -> Source:
    """RGBNT100:

    `rgbir/{bounding_box_train,query,bounding_box_test}/NAME`, three images side by side in one of
    768 x 128.
    """
    names = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
    part = _part(folder / "RGBNT100" / "rgbir" / names[split])

    def read(name: str) -> Sample:
        known = _parse(_RGBNT100, name)
        strip = decode(part / name, name)
        if strip.size != _STRIP:
            raise SourceError(
                f"{name}: is {strip.width} x {strip.height} pixels, expected {_STRIP[0]} x"
                f" {_STRIP[1]}",
                name,
            )
        rgb, nir, tir = np.split(np.asarray(strip), 3, axis=1)
        identity, camera = known["identity"], int(known["camera"]) - 1
        return Sample(rgb=rgb, nir=nir, tir=tir, identity=identity, camera=camera, kind="vehicle")

    tree = Tree(part)
    places = [parts[-1] for parts in _within(tree, 1)]
    source = read_lazily(f"rgbnt100:{folder}@{split}", places, read)
    return replace(source, not_used=tree.not_used, tells=_TELLS)


def read_msvr310(folder: Path, split: Split) -> Source:
    """MSVR310:

    `{bounding_box_train,query3,bounding_box_test}/ID/{vis,ni,th}/NAME`; the view is used as the
    camera.
    """
    names = {"train": "bounding_box_train", "query": "query3", "gallery": "bounding_box_test"}
    part = _part(folder / "MSVR310" / names[split])
    tree = Tree(part)
    places = sorted({f"{parts[0]}/{parts[-1]}" for parts in _within(tree, 3, ("vis", "ni", "th"))})

    def read(place: str) -> Sample:
        identity, name = place.split("/")
        known = _parse(_MSVR310, name)
        if known["identity"] != identity:
            raise SourceError(f"{place}: the name says identity {known['identity']}", place)
        folders = _modality_folders(part / identity, ("vis", "ni", "th"))
        return _trio(
            place,
            folders,
            name,
            "vehicle",
            identity,
            camera=int(known["view"]),
            scene=known["scene"],
        )

    source = read_lazily(f"msvr310:{folder}@{split}", places, read)
    return replace(source, not_used=tree.not_used, tells=_TELLS | {"scene"})


#: The data sets by the name that a SOURCE gives them.
READERS: Final[dict[str, Reader]] = {
    "rgbnt201": read_rgbnt201,
    "rgbnt100": read_rgbnt100,
    "msvr310": read_msvr310,
}


def _part(folder: Path) -> Path:
    if not folder.is_dir():
        raise SourceError(
            f"{folder}: does not exist; the source's folder is the one that holds the data set's"
            " own",
            str(folder),
        )
    return folder


def _modality_folders(part: Path, names: tuple[str, str, str]) -> dict[Modality, Path]:
    return {modality: part / name for modality, name in zip(MODALITIES, names, strict=True)}


def _within(tree: Tree, depth: int, folders: tuple[str, ...] = ()) -> list[Parts]:
    """The images that lie so deep, in folders of these names; others are counted as not used."""
    found = []
    for parts in tree.images:
        if len(parts) == depth and (not folders or parts[-2] in folders):
            found.append(parts)
        else:
            tree.pass_over(
                "images outside the data set's folders", "the data set has none there", parts
            )
    return found


def _trio(
    place: str,
    folders: dict[Modality, Path],
    name: str,
    kind: Kind,
    identity: str,
    *,
    camera: int,
    scene: str | None = None,
) -> Sample:
    """The sample whose images have this name in the three folders.

    Raises SourceError, naming the one that is missing.
    """
    for folder in folders.values():
        if not (folder / name).is_file():
            raise SourceError(f"{place}: {folder.name}/{name} is missing", place)
    rgb, nir, tir = (folder / name for folder in folders.values())
    return Sample(
        rgb=rgb, nir=nir, tir=tir, identity=identity, camera=camera, scene=scene, kind=kind
    )


def _parse(pattern: re.Pattern[str], name: str) -> dict[str, str]:
    found = pattern.match(name)
    if found is None:
        raise SourceError(
            f"{name}: its name does not say identity and camera as the data set's names do", name
        )
    return found.groupdict()
