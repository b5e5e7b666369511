"""Exported networks: their card and the runtimes that run them."""

from typing import TYPE_CHECKING, Final

from trireid.lazy import lazy_names

if TYPE_CHECKING:
    from trireid.inference.artifact import load_artifact
    from trireid.inference.card import Card, Segment
    from trireid.inference.embedder import Embedder

__all__ = ["Card", "Embedder", "Segment", "load_artifact"]
_MODULES: Final = {
    "Card": "trireid.inference.card",
    "Embedder": "trireid.inference.embedder",
    "Segment": "trireid.inference.card",
    "load_artifact": "trireid.inference.artifact",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULES)
