"""A folder of crops, in whatever layout a person has.

Modalities come from the names of folders at any depth (`RGB/7/a.jpg`, `7/thermal/a.png`), else from
the names of files (`a_nir.jpg`); images of one name in folders that otherwise agree are one sample.
The other folders are the part in a protocol (`query/`), the camera (`cam2/`), the scene
(`scene1/`), or the identity. Other names are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from trireid.samples.errors import SourceError
from trireid.samples.readers.folder_levels import Levels, read_levels
from trireid.samples.readers.modality_folders import ImageFile, find_stem, tell_modalities
from trireid.samples.readers.modality_names import find_modality
from trireid.samples.readers.pattern import Pattern
from trireid.samples.readers.tree import Parts, Tree
from trireid.samples.roles import Split, find_role, is_in, list_left_out
from trireid.samples.sample import MODALITIES, Modality, Sample
from trireid.samples.source import Entry, Source, read_entry


@dataclass
class _Group:
    """The images of one sample; several of a modality if their names differ in case or extension
    alone.
    """

    images: list[ImageFile] = field(default_factory=list)

    @property
    def file(self) -> Parts:
        """The first modality's file, without the modality's folder."""
        first = min(self.images, key=lambda image: MODALITIES.index(image.modality))
        return *first.folders, first.parts[-1]

    @property
    def place(self) -> str:
        return "/".join(self.file)


def read_folder(folder: Path, split: Split = "gallery", pattern: str | None = None) -> Source:
    """Read the samples of a folder, in the order of their names.

    Args:
        folder: In any layout, see above. One without a modality in its names holds RGB images.
        split: The part that is asked for, if folders are called `train`, `query`, `gallery` and the
            like.
        pattern: The meaning of the names, as in `{identity}_c{camera}_{*}`; folders then say the
            modality alone.

    Returns:
        A source, of no entries if there is no image. An image that does not fit the pattern is an
        entry with an error.

    Raises:
        SourceError: A folder is not understood, or can be read in two ways; its message names the
            folder.
    """
    names = None if pattern is None else Pattern(pattern)
    tree = Tree(folder)
    images, notes = tell_modalities(tree, names)
    groups = _pair(images)
    if names is not None:
        return _by_pattern(tree, groups, names, notes)
    levels = read_levels(tree, [group.file[:-1] for group in groups])
    return _by_folders(tree, groups, levels, split, notes)


def _pair(images: Sequence[ImageFile]) -> list[_Group]:
    """The samples: the images of one pair. If all are of one modality, every image is a sample."""
    alone = len({image.modality for image in images}) < 2
    groups: dict[Parts, _Group] = {}
    for image in images:
        groups.setdefault(image.parts if alone else image.pair, _Group()).images.append(image)
    return sorted(groups.values(), key=lambda group: group.place)


def _by_folders(
    tree: Tree, groups: list[_Group], levels: Levels, split: Split, notes: list[str]
) -> Source:
    parts = [levels.part(group.file[:-1]) for group in groups]
    chosen = [
        each
        for each in zip(groups, parts, strict=True)
        if not levels.has_roles or is_in(each[1], split)
    ]
    passed = list_left_out(parts, split, "samples") if levels.has_roles else ()

    def entries() -> Iterator[Entry]:
        for group, part in chosen:
            make = partial(_sample, tree, group, levels.facts(group.file[:-1]))
            yield read_entry(group.place, make, role=find_role(part))

    name = f"{tree.root}@{split}" if levels.has_roles else str(tree.root)
    said = (*notes, *levels.notes) if groups else ()
    return Source(name, len(chosen), entries, (*tree.not_used, *passed), said, levels.tells)


def _by_pattern(tree: Tree, groups: list[_Group], names: Pattern, notes: list[str]) -> Source:
    def read(group: _Group) -> Sample:
        used = group.file if names.has_path else group.file[-1:]
        said = names.match("/".join(used), "/".join((*used[:-1], find_stem(used))))
        if "modality" in said and find_modality(said["modality"]) is None:
            raise SourceError(
                f"{group.place}: {said['modality']} is not a modality; use rgb, nir or tir",
                group.place,
            )
        known: dict[str, Any] = {
            name: value for name, value in said.items() if name not in ("modality", "camera")
        }
        return _sample(
            tree, group, {**known, "camera": int(said["camera"])} if "camera" in said else known
        )

    def entries() -> Iterator[Entry]:
        for group in groups:
            yield read_entry(group.place, partial(read, group))

    said = (*notes, f"{', '.join(sorted(names.fields))}: by --pattern {names.text}")
    return Source(
        str(tree.root), len(groups), entries, tree.not_used, said, names.fields - {"modality"}
    )


def _sample(tree: Tree, group: _Group, known: dict[str, Any]) -> Sample:
    found: dict[Modality, Parts] = {}
    for image in group.images:
        if image.modality in found:
            both = " and ".join("/".join(parts) for parts in (found[image.modality], image.parts))
            raise SourceError(
                f"{both} are both the {image.modality} image of one sample; rename one", group.place
            )
        found[image.modality] = image.parts
    images: dict[str, Any] = {modality: tree.path(parts) for modality, parts in found.items()}
    return Sample(**images, **known)
