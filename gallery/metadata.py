"""A gallery's place: the folder, what is recorded of it, and which network it belongs to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Final

from trireid.gallery.index import Quantization
from trireid.gallery.store import FILE, Store
from trireid.inference import Embedder
from trireid.inference.embedded import DEFAULTS, default_artifact, find_default
from trireid.samples import KINDS, GalleryError, Kind
from trireid.samples.depth import Depth
from trireid.samples.files import is_regular

SUFFIX: Final = ".gallery"


@dataclass(frozen=True)
class Settings:
    """How a gallery's index is held: `quantization` of its vectors, `recall` of the ten nearest
    that search keeps to above the size up to which it compares every item; and `thermal`, how its
    16-bit images are read.
    """

    quantization: str = "float32"
    recall: float = 0.99
    thermal: Depth = field(default_factory=Depth)

    def __post_init__(self) -> None:
        if self.quantization not in tuple(Quantization):
            raise GalleryError(
                f"quantization: {self.quantization!r} is not one of {', '.join(Quantization)}",
                "quantization",
            )
        if not 0 < self.recall <= 1:
            raise GalleryError(f"recall must be over 0 and at most 1, not {self.recall}", "recall")


def gallery_name(folder: str | PathLike[str]) -> str:
    """Return a gallery's name: the folder's without `.gallery`."""
    return Path(os.path.abspath(folder)).name.removesuffix(SUFFIX)


def is_gallery(path: str | PathLike[str]) -> bool:
    """Whether the folder holds a gallery."""
    return (Path(path) / FILE).is_file()


def read_artifact_path(path: str | PathLike[str]) -> Path:
    """The artifact file that a gallery was filled with.

    Raises GalleryError where the folder holds no gallery.
    """
    return artifact_path(read_meta(Path(path)))


def read_fingerprint(path: str | PathLike[str]) -> str:
    """The fingerprint of the network that a gallery was filled with.

    Raises GalleryError where it holds no gallery.
    """
    return read_meta(Path(path))["fingerprint"]


def describe_network(embedder: Embedder) -> dict[str, str]:
    """Describe a network as a gallery records it."""
    card = embedder.card
    return {
        "artifact": embedder.source,
        "fingerprint": card.fingerprint,
        "model": card.name,
        "dimension": str(card.dimension),
        "kind": card.kind or "",
    }


def get_recorded_kind(meta: Mapping[str, str]) -> Kind | None:
    """Return the kind of a gallery's network, and of its items without a kind of their own;

    None if that is not recorded.
    """
    # older galleries record the name of an embedded default alone
    recorded = meta.get("kind", meta["artifact"])
    return next((kind for kind in KINDS if kind == recorded), None)


def read_meta(folder: Path) -> dict[str, str]:
    """Load the record of a gallery. Raises GalleryError if the folder holds none."""
    if not is_gallery(folder):
        raise make_no_gallery_error(folder)
    store = Store(folder)
    try:
        return store.meta()
    finally:
        store.close()


def update_settings(folder: Path, given: Mapping[str, str | None]) -> dict[str, str]:
    """Load the record of a gallery, with the settings that are given now."""
    store = Store(folder)
    try:
        meta = store.meta()
        changed = {
            name: value
            for name, value in given.items()
            if value is not None and meta.get(name) != value
        }
        parse_settings({**meta, **changed})
        if "thermal" in changed and store.run("SELECT 1 FROM items LIMIT 1"):
            raise GalleryError(
                f"{folder}: thermal: its items were read by {meta.get('thermal', 'auto')}, so that"
                " they and queries would not"
                f" be alike by {changed['thermal']}; index into a new gallery",
                "thermal",
            )
        if changed:
            with store.transaction():
                for name, value in changed.items():
                    store.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", [name, value])
        return {**meta, **changed}
    finally:
        store.close()


def parse_settings(meta: Mapping[str, str]) -> Settings:
    """The settings that are recorded of a gallery."""
    thermal = Depth.parse(meta.get("thermal", "auto"))
    return Settings(meta.get("memory", "float32"), float(meta.get("recall", "0.99")), thermal)


def check_network(folder: Path, meta: Mapping[str, str], embedder: Embedder) -> None:
    """Raises GalleryError, with both names, where a gallery was filled by another network."""
    card = embedder.card
    if meta["fingerprint"] != card.fingerprint:
        default = find_default(meta["fingerprint"])
        own = "" if default is None else f" (--model {default})"
        raise GalleryError(
            f"{folder}: was filled by network {meta['model']} ({meta['fingerprint'][:12]}), not by"
            f" {card.name} ({card.fingerprint[:12]}); open it with its own{own}, or move it to the"
            f" other one: trireid gallery reembed {folder} --model {embedder.source}",
            str(folder),
        )


def refuse_other_folder(folder: Path) -> None:
    """A gallery is only ever made in a new or empty folder: no folder of the user's is littered by
    a slip.

    Files that another process leaves there while it makes the same gallery do not count.
    """
    if folder.exists() and (
        not folder.is_dir() or any(not path.name.startswith(FILE) for path in folder.iterdir())
    ):
        raise GalleryError(
            f"{folder}: is there, and is not a gallery; name a new or empty folder", str(folder)
        )


def make_no_gallery_error(folder: Path) -> GalleryError:
    """The error for a folder that holds no gallery."""
    return GalleryError(
        f"{folder}: no gallery there; fill one with `trireid index SOURCE --gallery {folder}`",
        str(folder),
    )


def get_artifact(meta: Mapping[str, str]) -> str:
    """Return the recorded artifact: the name of an embedded default, or an absolute path.

    An embedded default is known by its fingerprint: its name, or the path of its file, may be
    another one's by now.
    """
    recorded, default = meta["artifact"], find_default(meta["fingerprint"])
    # a plan or a checkpoint of the same network is opened as it is
    return default if default and Path(recorded).suffix in ("", ".onnx") else recorded


def artifact_path(meta: Mapping[str, str]) -> Path:
    """The file of the recorded artifact."""
    artifact = get_artifact(meta)
    if artifact in DEFAULTS:
        return default_artifact(artifact)
    if os.path.lexists(artifact) and not is_regular(artifact):
        raise GalleryError(f"{artifact}: the gallery's artifact is not a regular file", artifact)
    return Path(artifact)
