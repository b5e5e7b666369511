"""Inference and serving for multi-modal re-identification (ReID).

Nothing heavy is imported before it is used: `import trireid` takes milliseconds.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

from trireid.lazy import lazy_names

if TYPE_CHECKING:
    __version__: str
    from trireid.evaluation import Scores, evaluate
    from trireid.export import export_onnx
    from trireid.gallery import Gallery, Hit
    from trireid.inference import Card, Embedder, load_artifact
    from trireid.models import load_checkpoint
    from trireid.samples import Sample
    from trireid.samples.errors import (
        ArtifactError,
        CheckpointError,
        ConfigError,
        DeadlineError,
        GalleryError,
        PictureError,
        ServiceError,
        SourceError,
        TrireidError,
        VerificationError,
    )
    from trireid.serving.client import AsyncClient, Client

__all__ = [
    "ArtifactError",
    "AsyncClient",
    "Card",
    "CheckpointError",
    "Client",
    "ConfigError",
    "DeadlineError",
    "Embedder",
    "Gallery",
    "GalleryError",
    "Hit",
    "PictureError",
    "Sample",
    "Scores",
    "ServiceError",
    "SourceError",
    "TrireidError",
    "VerificationError",
    "__version__",
    "evaluate",
    "export_onnx",
    "load_artifact",
    "load_checkpoint",
]
_MODULES: Final = {
    "ArtifactError": "trireid.samples.errors",
    "AsyncClient": "trireid.serving.client",
    "Card": "trireid.inference",
    "CheckpointError": "trireid.samples.errors",
    "Client": "trireid.serving.client",
    "ConfigError": "trireid.samples.errors",
    "DeadlineError": "trireid.samples.errors",
    "Embedder": "trireid.inference",
    "Gallery": "trireid.gallery",
    "GalleryError": "trireid.samples.errors",
    "Hit": "trireid.gallery",
    "PictureError": "trireid.samples.errors",
    "Sample": "trireid.samples",
    "Scores": "trireid.evaluation",
    "ServiceError": "trireid.samples.errors",
    "SourceError": "trireid.samples.errors",
    "TrireidError": "trireid.samples.errors",
    "VerificationError": "trireid.samples.errors",
    "evaluate": "trireid.evaluation",
    "export_onnx": "trireid.export",
    "load_artifact": "trireid.inference",
    "load_checkpoint": "trireid.models",
}

_load: Final = lazy_names(__name__, _MODULES)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _installed_version()
    return _load(name)


def _installed_version() -> str:
    try:
        return version("trireid")
    except PackageNotFoundError:
        return "0"


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
