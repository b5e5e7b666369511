"""Exported networks: their card, the runtime that runs them, and the exporter (which alone needs torch)."""

from typing import TYPE_CHECKING, Any

from export.artifact import Embedder, OnnxEmbedder, load_artifact
from export.card import Card, Segment

if TYPE_CHECKING:
    from export.onnx import export_onnx

__all__ = ["Card", "Embedder", "OnnxEmbedder", "Segment", "export_onnx", "load_artifact"]


def __getattr__(name: str) -> Any:
    if name == "export_onnx":  # imported on first use, so that serving never imports torch
        from export.onnx import export_onnx

        return export_onnx
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
