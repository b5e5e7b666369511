"""The embedded default networks: small ones, trained on drawn pictures, so that everything works out of the box."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent

#: Names of the embedded defaults; each is also the kind it is for.
DEFAULTS: Final = ("person", "vehicle")


def default_artifact(name: str) -> Path:
    """The ONNX file of an embedded default. Raises KeyError for an unknown name."""
    if name not in DEFAULTS:
        raise KeyError(f"{name}: the embedded defaults are {', '.join(DEFAULTS)}")
    return _FOLDER / f"{name}.onnx"


def default_name(path: Path) -> str | None:
    """The name of the embedded default that this file is, or None."""
    absolute = path.resolve()
    return next((name for name in DEFAULTS if default_artifact(name).resolve() == absolute), None)
