"""Exported networks: their card, the runtimes that run them, and the exporters (which alone need torch)."""

from typing import TYPE_CHECKING, Any

from export.artifact import load_artifact
from export.card import Card, Segment
from export.embedder import Embedder

if TYPE_CHECKING:
    from export.onnx import export_onnx

__all__ = ["Card", "Embedder", "Segment", "export_onnx", "load_artifact"]


def __getattr__(name: str) -> Any:
    if name == "export_onnx":  # imported on first use, so that serving never imports torch
        from export.onnx import export_onnx

        return export_onnx
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
