"""A checkpoint as an embedder, in PyTorch: to compare an export with, or to index before exporting. Needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from export.embedder import Cameras, Embedder, Embeddings, Images, Present, Tokens, in_batches
from export.graph import ArtifactGraph
from export.network_card import card_of, fingerprint
from models import ReIdNetwork, load_checkpoint
from samples import ArtifactError

_BATCH = 16


class TorchEmbedder(Embedder):
    """A network of the family in PyTorch; its card and fingerprint are those of its fp32 export.

    `provider`: `cpu` or `cuda`; None takes CUDA where it is there.
    """

    def __init__(self, network: ReIdNetwork, path: str | PathLike[str], provider: str | None = None) -> None:
        card = card_of(network, Path(path).stem, None)
        super().__init__(Path(path), replace(card, fingerprint=fingerprint(network, card)))
        self._device = _device(provider)
        self._graph = ArtifactGraph(network.eval()).eval().to(self._device)

    @property
    def runtime(self) -> str:
        """PyTorch, its version and where it runs."""
        return f"PyTorch {torch.__version__} on {self._device.type.upper()}"

    @property
    def network(self) -> ReIdNetwork:
        """The network itself."""
        return self._graph.network

    def run(self, images: Images, camera: Cameras, present: Present) -> tuple[Embeddings, Tokens]:
        """The graph itself: see `Embedder.run`."""
        return in_batches(self._forward, images, camera, present, _BATCH, padded=False)

    def _forward(self, images: Images, camera: Cameras, present: Present) -> tuple[Embeddings, Tokens]:
        with torch.inference_mode():
            embedding, tokens = self._graph(*(torch.from_numpy(part).to(self._device) for part in (images, camera, present)))
        return embedding.cpu().numpy(), tokens.cpu().numpy()


def load_torch(
    path: str | PathLike[str], config: str | PathLike[str] | Mapping[str, Any] | None, provider: str | None = None
) -> TorchEmbedder:
    """Open a checkpoint as an embedder. Raises as `load_checkpoint`, and ArtifactError without its configuration."""
    if config is None:
        raise ArtifactError(f"{path}: is a checkpoint; give its training configuration, too (--config YML)", "config")
    return TorchEmbedder(load_checkpoint(path, config), path, provider)


def _device(provider: str | None) -> torch.device:
    if provider == "cuda" and not torch.cuda.is_available():
        raise ArtifactError("CUDA was asked for, but this PyTorch finds no GPU; take --provider cpu", "provider")
    return torch.device(provider or ("cuda" if torch.cuda.is_available() else "cpu"))
