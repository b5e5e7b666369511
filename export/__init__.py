"""Exported networks: their card, the runtimes that run them, and the exporters (which alone need torch)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from export.artifact import load_artifact
    from export.card import Card, Segment
    from export.embedder import Embedder
    from export.onnx import export_onnx

__all__ = ["Card", "Embedder", "Segment", "export_onnx", "load_artifact"]
_MODULES: Final = {
    "Card": "export.card",
    "Embedder": "export.embedder",
    "Segment": "export.card",
    "export_onnx": "export.onnx",
    "load_artifact": "export.artifact",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: help, the client and a server's checks need no runtime and no index.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
