"""The embedded default networks, trained on drawn images, so that everything works out of the box:
general ones, `person` and `vehicle`, and small ones for tests and slow machines.
"""

from __future__ import annotations

import json
import logging
import os
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any, Final

#: The package whose folder `assets` holds the files: data, of which nothing is imported.
_PACKAGE: Final = "trireid.demo"

#: The file of each embedded default. A name without `-tiny` is also the kind it is for.
_FILES: Final = {
    "person": "person.onnx",
    "vehicle": "vehicle.onnx",
    "person-tiny": "person-tiny.onnx",
    "vehicle-tiny": "vehicle-tiny.onnx",
}
#: Names of the embedded defaults; each card says which kind it is for.
DEFAULTS: Final = tuple(_FILES)
#: The content digests of those whose cards record none, by fingerprint.
_CONTENT: Final = {
    "831c96c4afa8707b5dc23d2732f1d94011089ab80a35ef43ebaa0be5d0cc037c": (
        "baf471041c9c243a0082f971135e2e163a6fa662dbb5ee982ff5d099f8ccc411"
    ),
    "ae9c98d1ee5bd6d11562480878e6f320a499dd0b2dbbc3bc75fbec969d07cb32": (
        "5f7d0fd6462731c99fa909cfff1effb2a8d4a819d26c552240f41c3849be7378"
    ),
}


log = logging.getLogger(__name__)


def default_artifact(name: str) -> Path:
    """The ONNX file of an embedded default. Raises KeyError for an unknown name."""
    if name not in DEFAULTS:
        raise KeyError(f"{name}: the embedded defaults are {', '.join(DEFAULTS)}")
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"{_PACKAGE} is not installed; install trireid again", name=_PACKAGE
        )
    return Path(spec.submodule_search_locations[0]) / "assets" / _FILES[name]


def resolve_artifact(path: str | PathLike[str]) -> Path:
    """Return the file that a path means: also that of an embedded default, by its name, unless a
    file is called so.
    """
    name, file = os.fspath(path), Path(path)
    return default_artifact(name) if name in DEFAULTS and not file.is_file() else file


def default_name(path: Path) -> str | None:
    """The name of the embedded default that this file is, or None."""
    file = path.resolve()
    is_default = file.stem in DEFAULTS and default_artifact(file.stem).resolve() == file
    return file.stem if is_default else None


def find_default(fingerprint: str) -> str | None:
    """The name of the embedded default with this fingerprint, or None."""
    cards = _read_cards().items()
    return next((name for name, card in cards if card.get("fingerprint") == fingerprint), None)


def find_content(fingerprint: str) -> str:
    """The content digest of the embedded default with this fingerprint, or nothing."""
    card = _read_cards().get(find_default(fingerprint) or "", {})
    content: str = card.get("content") or _CONTENT.get(fingerprint, "")
    return content


def warn_of_default(fingerprint: str) -> None:
    """Say, once in this process, that the embedded default with this fingerprint is for
    demonstration, and how to take a better network; nothing of other networks.
    """
    if find_default(fingerprint):
        _warn_once()


@cache
def _warn_once() -> None:
    log.warning(
        "the embedded network is for demonstration: trained on drawn images, of limited accuracy on"
        " your own cameras (docs/default.md); to take a better one: trireid index SOURCE --gallery"
        " DIR --model FILE.onnx, or trireid gallery reembed DIR --model FILE.onnx; trireid export"
        " onnx CHECKPOINT makes FILE.onnx, trireid train CONFIG the checkpoint"
    )


@cache
def _read_cards() -> dict[str, dict[str, Any]]:
    """The card of each embedded default by its name; one whose file is damaged is left out."""
    from trireid.inference.onnx_file import read_card  # the command line's help needs names alone

    cards = {}
    for name in sorted({Path(file).stem for file in _FILES.values()}):
        with suppress(OSError, ValueError):
            cards[name] = json.loads(read_card(default_artifact(name)))
    return cards
