"""The words that people use for the modalities, in names of folders, files and columns."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from trireid.samples.sample import MODALITIES, Modality

#: As one reads them without separators and case. Words of one letter count for folders alone.
_WORDS: Final[dict[str, Modality]] = {
    **dict.fromkeys(
        (
            "rgb", "vis", "visible", "visiblelight", "visual", "color", "colour", "optical",
            "daylight",
        ),
        "rgb",
    ),
    **dict.fromkeys(("nir", "ni", "ir", "infrared", "nearinfrared", "nearir"), "nir"),
    **dict.fromkeys(
        (
            "tir", "ti", "th", "thermal", "thermalinfrared", "thermalir", "thermography",
        ),
        "tir",
    ),
    **dict.fromkeys(("lwir", "longwaveinfrared", "farinfrared", "fir", "flir"), "tir"),
}  # fmt: skip
_LETTERS: Final[dict[str, Modality]] = {"t": "tir"}
#: In names of files only words that mean nothing else.
_IN_FILES: Final = (
    "rgb",
    "vis",
    "visible",
    "nir",
    "ni",
    "ir",
    "infrared",
    "tir",
    "ti",
    "th",
    "thermal",
    "lwir",
)
_UNMISTAKABLE: Final = ("rgb", "nir", "tir", "thermal", "infrared", "lwir")
_FILLERS: Final = frozenset((
    "image", "images", "img", "imgs", "crop", "crops", "frame", "frames", "data", "folder",
    "camera", "bb", "bbox", "jpg", "png", "file", "path", "filename", "modality", "set",
    "light", "name", "paths", "files",
))  # fmt: skip
_SEPARATORS: Final = re.compile(r"[\s_.\-]+|(?<=[a-z])(?=[A-Z][a-z])|(?<=[A-Z])(?=[A-Z][a-z])")


def find_modality(name: str) -> Modality | None:
    """Return the modality that the name of a folder or a column stands for (`RGB`,
    `thermal_crops`), or None.
    """
    words = [word for word in _split(name) if word not in _FILLERS]
    joined = "".join(words)
    return _WORDS.get(joined) or _LETTERS.get(joined) or _common(words)


def modality_of_file(stem: str) -> tuple[Modality, str] | None:
    """Return the modality that a file's name is, begins or ends with, and the name without it; or
    None.
    """
    if stem.lower() in _IN_FILES:
        return _WORDS[stem.lower()], ""
    found = re.fullmatch(r"(?P<rest>.+)[\s_.\-](?P<word>[A-Za-z]+)", stem)
    if found is None or found["word"].lower() not in _IN_FILES:
        found = re.fullmatch(r"(?P<word>[A-Za-z]+)[\s_.\-](?P<rest>.+)", stem)
    if found is None or found["word"].lower() not in _IN_FILES:
        return None
    return _WORDS[found["word"].lower()], found["rest"]


def names_modality_among_others(name: str) -> bool:
    """Return whether a name holds a modality next to words that mean something else
    (`images_thermal_train`).
    """
    return find_modality(name) is None and any(word in _UNMISTAKABLE for word in _split(name))


def _common(words: list[str]) -> Modality | None:
    """Return the one modality that every word stands for."""
    named = {_WORDS.get(word) for word in words}
    return next((each for each in MODALITIES if named == {each}), None)


def _split(name: str) -> list[str]:
    return [word.lower() for word in _SEPARATORS.split(unicodedata.normalize("NFKC", name)) if word]
