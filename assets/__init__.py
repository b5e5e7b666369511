"""The embedded default networks: small ones, trained on drawn pictures, so that everything works out of the box."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent

#: Names of the embedded defaults; each is also the kind it is for.
DEFAULTS: Final = ("person", "vehicle")
#: The content digests of embedded defaults whose cards record none, by fingerprint: `export.content`.
DEFAULT_CONTENT: Final = {
    "831c96c4afa8707b5dc23d2732f1d94011089ab80a35ef43ebaa0be5d0cc037c": (
        "baf471041c9c243a0082f971135e2e163a6fa662dbb5ee982ff5d099f8ccc411"
    ),
    "ae9c98d1ee5bd6d11562480878e6f320a499dd0b2dbbc3bc75fbec969d07cb32": (
        "5f7d0fd6462731c99fa909cfff1effb2a8d4a819d26c552240f41c3849be7378"
    ),
}


def default_artifact(name: str) -> Path:
    """The ONNX file of an embedded default. Raises KeyError for an unknown name."""
    if name not in DEFAULTS:
        raise KeyError(f"{name}: the embedded defaults are {', '.join(DEFAULTS)}")
    return _FOLDER / f"{name}.onnx"


def default_name(path: Path) -> str | None:
    """The name of the embedded default that this file is, or None."""
    absolute = path.resolve()
    return next((name for name in DEFAULTS if default_artifact(name).resolve() == absolute), None)
