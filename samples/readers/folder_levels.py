"""The metadata that the folders of an image name, other than its modality: the part in a protocol,
camera, scene, identity.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from trireid.samples.errors import SourceError
from trireid.samples.readers.tree import Parts, Tree
from trireid.samples.roles import Part, find_part
from trireid.samples.sample import Kind

_CAMERA: Final = re.compile(r"(?:cam|camera)[ _-]?(?P<value>\d+|[a-z])", re.IGNORECASE)
_DAY: Final = re.compile(r"\d{4}([-_.])\d{1,2}\1\d{1,2}(?:[ T_-].*)?|\d{1,2}\.\d{1,2}\.\d{4}")
_SCENE: Final = re.compile(r"scene[ _-]?(?P<value>\w+)", re.IGNORECASE)
_KINDS: Final[dict[str, Callable[[str], object]]] = {
    "role": find_part,
    "camera": _CAMERA.fullmatch,
    "scene": _SCENE.fullmatch,
    "kind": lambda name: find_kind(name),
}
#: Classes of detectors, as folders of crops are called after them.
_CLASSES: Final[dict[str, Kind]] = {
    **dict.fromkeys(
        (
            "person", "persons", "people", "pedestrian", "pedestrians", "human",
        ),
        "person",
    ),
    **dict.fromkeys(
        (
            "vehicle", "vehicles", "car", "cars", "truck", "bus", "van", "motorcycle",
        ),
        "vehicle",
    ),
}  # fmt: skip
#: What people call a folder that is around everything and says nothing.
_FILLERS: Final = frozenset((
    "images", "image", "imgs", "img", "crops", "crop", "data", "frames", "photos", "jpg", "png",
    "all", "default", "runs", "detect", "exp", "predict",
))  # fmt: skip


@dataclass(frozen=True)
class Levels:
    """How the folders are read: what those of each level say, outermost first; "" if nothing."""

    kinds: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def tells(self) -> frozenset[str]:
        """The fields of a sample that the folders say."""
        return frozenset(self.kinds) - {"", "role"}

    @property
    def has_roles(self) -> bool:
        """Whether a level of folders says the parts of a protocol."""
        return "role" in self.kinds

    def part(self, folders: Parts) -> Part | None:
        """Return the part that an image's folders say."""
        return find_part(folders[self.kinds.index("role")]) if self.has_roles else None

    def facts(self, folders: Parts) -> dict[str, Any]:
        """Return the fields of a sample that its folders say."""
        return {
            kind: _READ[kind](name)
            for kind, name in zip(self.kinds, folders, strict=True)
            if kind in self.tells
        }


def read_levels(tree: Tree, folders: Sequence[Parts]) -> Levels:
    """Tell what the folders of each level say.

    Raises SourceError, naming it, for a folder that can be read in two ways.
    """
    depths = {len(each): each for each in folders}
    if len(depths) > 1:
        shown = " and ".join("/".join(each) or "." for _, each in sorted(depths.items())[:2])
        raise SourceError(
            f"{tree.root}: images lie at different depths ({shown}), so that folders cannot be"
            " told apart; move them to"
            " one depth, or use --pattern",
            str(tree.root),
        )
    levels = [sorted({each[level] for each in folders}) for level in range(max(depths, default=0))]
    kinds = [_find_level_kind(tree, names) for names in levels]
    identity = _identity_level(tree, levels, kinds)
    if identity is not None:
        kinds[identity] = "identity"
    return Levels(tuple(kinds), tuple(map(_note, levels, kinds)))


def _find_level_kind(tree: Tree, names: Sequence[str]) -> str:
    """Find the field that all folders of one level name; "" if there is no common one."""
    for kind, is_one in _KINDS.items():
        known = [name for name in names if is_one(name) is not None]
        if len(known) == len(names):
            return kind
        if known:
            other = next(name for name in names if not is_one(name))
            raise SourceError(
                f"{tree.root}: folder {other}/ cannot be understood next to {known[0]}/, which says"
                f" the {kind};"
                " rename it, move it away, or use --pattern",
                str(tree.root),
            )
    return ""


def _identity_level(
    tree: Tree, levels: Sequence[Sequence[str]], kinds: Sequence[str]
) -> int | None:
    free = [
        number
        for number, kind in enumerate(kinds)
        if not kind and not _says_nothing(levels[number])
    ]
    while len(free) > 1 and len(levels[free[0]]) == 1:  # a folder around everything
        free.pop(0)
    if len(free) > 1:
        example = "/".join(names[0] for names in levels)
        pattern = "/".join(["{identity}", *["{*}"] * len(levels)])
        raise SourceError(
            f"{tree.root}: {example}/ has {len(free)} folders that may be the identity; say which"
            " by --pattern, as in"
            f" '{pattern}'",
            str(tree.root),
        )
    return free[0] if free else None


def _says_nothing(names: Sequence[str]) -> bool:
    """Whether folders are called after nothing that their images show: one that is around
    everything, or days.
    """
    return (len(names) == 1 and names[0].lower().rstrip("0123456789") in _FILLERS) or all(
        map(_DAY.fullmatch, names)
    )


def find_kind(name: str) -> Kind | None:
    """Return the kind that a detector's class stands for, or None."""
    return _CLASSES.get(name.lower())


def _note(names: Sequence[str], kind: str) -> str:
    if not kind:
        return f"folder {names[0]}/ says nothing of its images"
    return (
        f"{kind}: by folder, {names[0]}/ and so on ({len(names)})"
        if len(names) > 1
        else f"{kind}: by folder, {names[0]}/"
    )


def _camera(name: str) -> int:
    """A camera's number; of a letter its position in the alphabet, from 0."""
    value = _value(_CAMERA, name).lower()
    return int(value) if value.isdecimal() else ord(value) - ord("a")


def _value(pattern: re.Pattern[str], name: str) -> str:
    found = pattern.fullmatch(name)
    return found["value"] if found else name


_READ: Final[dict[str, Callable[[str], Any]]] = {
    "identity": str,
    "kind": find_kind,
    "camera": _camera,
    "scene": lambda name: _value(_SCENE, name),
}
