"""Inference and serving for multi-modal re-identification (ReID).

Nothing heavy is imported before it is used: `import trireid` takes milliseconds.
"""

from typing import TYPE_CHECKING, Any, Final

from trireid.lazy import lazy_names
from trireid.samples import errors
from trireid.samples.errors import *  # noqa: F403
from trireid.samples.errors import PictureError as PictureError

if TYPE_CHECKING:
    __version__: str
    from trireid.evaluation import Scores, evaluate
    from trireid.export import export_onnx
    from trireid.gallery import Gallery, Hit, SearchParams
    from trireid.inference import Card, Embedder, load_artifact
    from trireid.models import load_checkpoint
    from trireid.samples import Sample
    from trireid.serving.client import AsyncClient, Client

__all__ = [
    "AsyncClient",
    "Card",
    "Client",
    "Embedder",
    "Gallery",
    "Hit",
    "Sample",
    "Scores",
    "SearchParams",
    "__version__",
    "evaluate",
    "export_onnx",
    "load_artifact",
    "load_checkpoint",
]
__all__ += errors.__all__
_MODULES: Final = {
    "AsyncClient": "trireid.serving.client",
    "Card": "trireid.inference",
    "Client": "trireid.serving.client",
    "Embedder": "trireid.inference",
    "Gallery": "trireid.gallery",
    "Hit": "trireid.gallery",
    "Sample": "trireid.samples",
    "Scores": "trireid.evaluation",
    "SearchParams": "trireid.gallery.search_params",
    "evaluate": "trireid.evaluation",
    "export_onnx": "trireid.export",
    "load_artifact": "trireid.inference",
    "load_checkpoint": "trireid.models",
}

_load, __dir__ = lazy_names(__name__, _MODULES)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _read_version()
    return _load(name)


def _read_version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # 20 ms

    try:
        return version("trireid")
    except PackageNotFoundError:
        return "0"
