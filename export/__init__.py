"""Exporters and the verifier, which need torch."""

from typing import TYPE_CHECKING, Final

from trireid.lazy import lazy_names

if TYPE_CHECKING:
    from trireid.export.onnx import export_onnx

__all__ = ["export_onnx"]
_MODULES: Final = {"export_onnx": "trireid.export.onnx"}

__getattr__, __dir__ = lazy_names(__name__, _MODULES)
