"""A folder of crops: `RGB/ NI/ TI/` or `rgb/ nir/ tir/`, the same name in each for the pictures of one sample."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from samples.errors import SourceError
from samples.sample import MODALITIES, Modality, Sample
from samples.source import Source, read_lazily

_LAYOUTS: Final = (("RGB", "NI", "TI"), MODALITIES)
PICTURES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


def read_folder(folder: Path) -> Source:
    """The samples of a folder, by name; one that a modality's folder lacks has that modality missing.

    Nothing but the pictures is known of them: identities and cameras need a manifest. Raises SourceError where the folder has
    none of the modalities' folders.
    """
    layout = next((names for names in _LAYOUTS if any((folder / name).is_dir() for name in names)), None)
    if layout is None:
        raise SourceError(f"{folder}: has no RGB/, NI/, TI/ (or rgb/, nir/, tir/) in it", str(folder))
    folders: dict[Modality, Path] = {modality: folder / name for modality, name in zip(MODALITIES, layout, strict=True)}
    names = sorted({name for place in folders.values() for name in picture_names(place)})

    def read(name: str) -> Sample:
        found = {modality: place / name for modality, place in folders.items() if (place / name).is_file()}
        return Sample(rgb=found.get("rgb"), nir=found.get("nir"), tir=found.get("tir"))

    return read_lazily(str(folder), names, read)


def picture_names(folder: Path) -> list[str]:
    """The names of the pictures in a folder, sorted; none where it is absent."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.suffix.lower() in PICTURES)
