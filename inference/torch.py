"""A checkpoint as an embedder, in PyTorch: to compare an export with, or to index before exporting.

Needs torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trireid.evaluation import normalise
from trireid.inference.embedder import (
    Cameras,
    Embedder,
    Embeddings,
    Images,
    Present,
    Tokens,
    in_batches,
)
from trireid.inference.network_card import card_of, fingerprint
from trireid.models import Features, ReIdNetwork, load_checkpoint
from trireid.samples import ArtifactError

_BATCH = 16


class TorchEmbedder(Embedder):
    """A network of the family in PyTorch; its card and fingerprint are those of its fp32 export.

    It is what exports are held against, so it shares nothing with the graph that is exported but
    the network: pictures are normalised and embeddings brought to unit length here, apart.
    `provider`: `cpu` or `cuda`; None takes CUDA where it is.
    """

    def __init__(
        self, network: ReIdNetwork, path: str | PathLike[str], provider: str | None = None
    ) -> None:
        card = card_of(network, Path(path).stem, None)
        super().__init__(Path(path), replace(card, fingerprint=fingerprint(network, card)))
        self._device = _device(provider)
        self.network = network.eval().to(self._device)

    @property
    def runtime(self) -> str:
        """PyTorch, its version and where it runs."""
        return f"PyTorch {torch.__version__} on {self._device.type.upper()}"

    def run(self, images: Images, camera: Cameras, present: Present) -> tuple[Embeddings, Tokens]:
        """As of every embedder: see `Embedder.run`."""
        return in_batches(self._forward, images, camera, present, _BATCH, padded=False)

    def stages(self, images: Images, camera: Cameras, present: Present) -> dict[str, NDArray[Any]]:
        """Every stage: see `Embedder.stages`."""
        mean, std = (np.array(values, np.float32) for values in (self.card.mean, self.card.std))
        normal = ((images.astype(np.float32) / 255 - mean) / std).transpose(0, 1, 4, 2, 3)
        with torch.inference_mode():
            features = self.network.features(
                *(torch.from_numpy(part).to(self._device) for part in (normal, camera, present))
            )
        return {
            "input": normal,
            "tokens": features.tokens.cpu().numpy(),
            **self._selected(features, len(images)),
            "embedding": normalise(features.both.cpu().numpy()),
        }

    def _selected(self, features: Features, count: int) -> dict[str, NDArray[Any]]:
        if features.selections is None:
            return {"kept": np.tile(np.arange(self.card.patches), (count, 3, 1))}
        kept, scores = (
            [getattr(each, name).cpu().numpy() for each in features.selections]
            for name in ("kept", "scores")
        )
        return {"kept": np.stack(kept, axis=1), "scores": np.stack(scores, axis=1)}

    def _forward(
        self, images: Images, camera: Cameras, present: Present
    ) -> tuple[Embeddings, Tokens]:
        stages = self.stages(images, camera, present)
        return stages["embedding"], stages["kept"]


def load_torch(
    path: str | PathLike[str],
    config: str | PathLike[str] | Mapping[str, Any],
    provider: str | None = None,
    weights: str | None = None,
) -> TorchEmbedder:
    """Open a checkpoint as an embedder. Raises as `load_checkpoint`."""
    return TorchEmbedder(load_checkpoint(path, config, weights=weights), path, provider)


def _device(provider: str | None) -> torch.device:
    if provider == "cuda" and not torch.cuda.is_available():
        raise ArtifactError(
            "CUDA was asked for, but this PyTorch finds no GPU; take --provider cpu", "provider"
        )
    return torch.device(provider or ("cuda" if torch.cuda.is_available() else "cpu"))
