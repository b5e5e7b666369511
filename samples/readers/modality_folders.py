"""Which modality each image of a folder is, by the names of folders or of files, and with which
others it goes.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from trireid.samples.errors import SourceError
from trireid.samples.readers.modality_names import (
    find_modality,
    modality_of_file,
    names_modality_among_others,
)
from trireid.samples.readers.pattern import Pattern
from trireid.samples.readers.tree import Parts, Tree
from trireid.samples.sample import MODALITIES, Modality

_SHOWN: Final = 3
_Folders = dict[
    tuple[Parts, Modality], set[str]
]  #: the names of a modality's folders, by the folders above them


@dataclass(frozen=True)
class ImageFile:
    """An image and its modality. `folders`: those that lead to it but for the modality's.

    Images of one `pair` are one sample.
    """

    parts: Parts
    modality: Modality
    folders: Parts
    pair: Parts


def tell_modalities(tree: Tree, names: Pattern | None) -> tuple[list[ImageFile], list[str]]:
    """Return the images of a tree with their modalities, and notes on how these are told.

    Raises SourceError for a folder that is not understood next to one that is, and for two that
    mean the same modality.
    """
    if names is not None and "modality" in names.fields:
        return [_by_pattern(parts, names) for parts in tree.images], []
    folders = [_modality_folder(tree, parts) for parts in tree.images]
    if any(number is not None for number in folders):
        return _by_folders(tree, folders)
    if names is None:
        _refuse_mixed_names(tree)
    if names is None and (by_name := _by_file_names(tree)) is not None:
        return by_name, ["modalities: by the names of the files"]
    modality = _of_root(tree)
    images = [_image(parts, modality, parts[:-1], find_stem(parts)) for parts in tree.images]
    return images, [f"modality: all images are read as {modality}"]


def find_stem(parts: Parts) -> str:
    """Return a file's name without its extension."""
    return os.path.splitext(parts[-1])[0]


def _image(parts: Parts, modality: Modality, folders: Parts, name: str) -> ImageFile:
    pair = tuple(unicodedata.normalize("NFC", part).casefold() for part in (*folders, name))
    return ImageFile(parts, modality, folders, pair)


def _of_root(tree: Tree) -> Modality:
    name = tree.root.resolve().name
    return (find_modality(name) if len(name) > 1 else None) or "rgb"


def _by_pattern(parts: Parts, names: Pattern) -> ImageFile:
    """An image whose modality the pattern tells; one that does not fit gets its error when its
    entry is read.
    """
    used = parts if names.has_path else parts[-1:]
    found = names.modality("/".join(used), "/".join((*used[:-1], find_stem(parts))))
    if found is None:
        return ImageFile(parts, "rgb", parts[:-1], parts)
    modality, rest = found
    if names.has_path:
        return ImageFile(
            parts, modality, parts[:-1], (unicodedata.normalize("NFC", rest).casefold(),)
        )
    return _image(parts, modality, parts[:-1], rest)


def _modality_folder(tree: Tree, parts: Parts) -> int | None:
    """Which of the folders that lead to an image names a modality."""
    found = [number for number, part in enumerate(parts[:-1]) if find_modality(part) is not None]
    if len({find_modality(parts[number]) for number in found}) > 1:
        raise SourceError(
            f"{tree.root}: {'/'.join(parts[:-1])}/ names two modalities; rename one of the folders",
            str(tree.root),
        )
    return found[-1] if found else None


def _by_folders(tree: Tree, numbers: Sequence[int | None]) -> tuple[list[ImageFile], list[str]]:
    folders: _Folders = {}
    images: list[ImageFile] = []
    strange: list[Parts] = []
    for parts, number in zip(tree.images, numbers, strict=True):
        modality = None if number is None else find_modality(parts[number])
        if number is None or modality is None:
            strange.append(parts)
            continue
        folders.setdefault((parts[:number], modality), set()).add(parts[number])
        others = tuple(part for part in parts[:-1] if find_modality(part) is None)
        images.append(_image(parts, modality, others, _without_modality(parts, modality)))
    _refuse_two_names(tree, folders)
    _refuse_strange(tree, strange, folders)
    return images, [_note(folders), *_list_unpaired(images)]


def _note(folders: _Folders) -> str:
    names = {
        (MODALITIES.index(modality), name)
        for (_, modality), found in folders.items()
        for name in found
    }
    return "modalities: " + ", ".join(
        f"{name}/ is {MODALITIES[number]}" for number, name in sorted(names)
    )


def _refuse_two_names(tree: Tree, folders: _Folders) -> None:
    for (above, modality), names in folders.items():
        if len(names) > 1:
            both = " and ".join(f"{name}/" for name in sorted(names))
            raise SourceError(
                f"{tree.path(above)}: {both} are both read as {modality}; rename them to rgb, nir"
                " and tir, or move one away",
                str(tree.root),
            )


def _refuse_strange(tree: Tree, strange: Sequence[Parts], folders: _Folders) -> None:
    """Count the images next to the modalities' folders; refuse folders of images there."""
    around = {above for above, _ in folders}
    unknown: dict[Parts, int] = {}
    for parts in strange:
        if parts[:-1] in around:
            tree.pass_over(
                "images next to the modalities' folders", "they are in none of these", parts
            )
        else:
            unknown[parts[:-1]] = unknown.get(parts[:-1], 0) + 1
    if not unknown:
        return
    shown = ", ".join(
        f"{'/'.join(folder) or '.'}/ ({count} images)"
        for folder, count in list(unknown.items())[:_SHOWN]
    )
    more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
    known = ", ".join(
        f"{name}/" for name in sorted({name for names in folders.values() for name in names})
    )
    raise SourceError(
        f"{tree.root}: {shown}{more} cannot be understood next to {known}; name such a folder rgb,"
        " nir or tir, or move it away",
        str(tree.root),
    )


def _list_unpaired(images: Sequence[ImageFile]) -> list[str]:
    found: dict[Parts, set[Modality]] = {}
    for image in images:
        found.setdefault(image.pair, set()).add(image.modality)
    several = len({image.modality for image in images}) > 1
    if several and all(len(modalities) == 1 for modalities in found.values()):
        return [
            "no image of one modality has the name of one of another: each is a sample of its own"
        ]
    return []


def _by_file_names(tree: Tree) -> list[ImageFile] | None:
    """The images by the modality that their names begin or end with;

    None if names do not say it.
    """
    images, plain = [], []
    for parts in tree.images:
        found = modality_of_file(find_stem(parts))
        if found is None:
            plain.append(parts)
        else:
            images.append(_image(parts, found[0], parts[:-1], found[1]))
    if not plain:
        return images or None
    pairs = {_image(parts, "rgb", parts[:-1], find_stem(parts)).pair for parts in plain}
    if len({image.modality for image in images}) < 2 and not any(
        image.pair in pairs for image in images
    ):
        return None
    raise SourceError(
        f"{tree.root}: {'/'.join(images[0].parts)} names a modality and {'/'.join(plain[0])} does"
        " not; move them to"
        " folders rgb/, nir/ and tir/, or use --pattern with {modality}",
        str(tree.root),
    )


def _refuse_mixed_names(tree: Tree) -> None:
    folders = dict.fromkeys(
        parts[:number] for parts in tree.images for number in range(1, len(parts))
    )
    mixed = next((folder for folder in folders if names_modality_among_others(folder[-1])), None)
    if mixed is not None:
        raise SourceError(
            f"{tree.root}: {'/'.join(mixed)}/ names a modality next to other words; name it rgb,"
            " nir or tir alone (with"
            " train/ or the like as a folder of its own), or use --pattern",
            str(tree.root),
        )


def _without_modality(parts: Parts, modality: Modality) -> str:
    """A file's name for pairing: without the extension, and without the modality if it says its
    folder's.
    """
    stem = find_stem(parts)
    found = modality_of_file(stem)
    return found[1] if found is not None and found[0] == modality else stem
