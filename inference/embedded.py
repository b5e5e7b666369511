"""The embedded default networks: small ones, trained on drawn images, so that everything works out
of the box.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

#: The package whose folder `assets` holds the files: data, of which nothing is imported.
_PACKAGE: Final = "trireid.demo"

#: Names of the embedded defaults; each is also the kind it is for.
DEFAULTS: Final = ("person", "vehicle")
#: The content digests of embedded defaults whose cards record none, by fingerprint:
#: `trireid.inference.content`.
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
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"{_PACKAGE} is not installed; install trireid again", name=_PACKAGE
        )
    return Path(spec.submodule_search_locations[0]) / "assets" / f"{name}.onnx"


def default_name(path: Path) -> str | None:
    """The name of the embedded default that this file is, or None."""
    absolute = path.resolve()
    return next((name for name in DEFAULTS if default_artifact(name).resolve() == absolute), None)
