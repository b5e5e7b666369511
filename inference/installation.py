"""Packages that are installed twice or not at all: alternatives overwrite each other's files, and
break quietly.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from typing import Final

#: Builds of one library, of which only one may be installed.
ALTERNATIVES: Final = (
    ("onnxruntime", "onnxruntime-gpu"),
    ("faiss-cpu", "faiss-gpu", "faiss-gpu-cuvs"),
)


#: The extra that brings what a module is imported from; `cpu` stands for its alternative `gpu`,
#: too.
_EXTRAS: Final = {
    "onnxruntime": "cpu",
    "faiss": "cpu",
    "tensorrt": "gpu",
    "tensorrt_rtx": "rtx",
    "cuda": "gpu",
    "torch": "torch",
    "onnx": "torch",
    "onnxscript": "torch",
    "yaml": "torch",
    "safetensors": "torch",
    "matplotlib": "plot",
}


def find_extra(module: str | None) -> str:
    """The extra of this distribution with which a module is installed."""
    return _EXTRAS.get((module or "").split(".")[0], "cpu")


def find_conflicts() -> list[str]:
    """Return a line for each library of which several builds are installed, with the way out."""
    lines = []
    for builds in ALTERNATIVES:
        found = [name for name in builds if _is_installed(name)]
        if len(found) > 1:
            both = " and ".join(found)
            lines.append(
                f"{both} are installed together and overwrite each other: uninstall all of them,"
                " then install one"
            )
    return lines


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
