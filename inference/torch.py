"""A checkpoint as an embedder, in PyTorch: to compare an export with, or to index before exporting.

Needs torch.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trireid.evaluation import normalize
from trireid.inference.card import Card, Segment
from trireid.inference.embedder import (
    Cameras,
    Embedder,
    Embeddings,
    Images,
    LoadOptions,
    Present,
    Tokens,
    run_in_batches,
)
from trireid.models import Features, Head, NetworkConfig, ReIdNetwork, load_checkpoint
from trireid.models.demo_head import SUBSETS
from trireid.samples import MODALITIES, ArtifactError, Kind

_BATCH = 16


class TorchEmbedder(Embedder):
    """A network of the family in PyTorch; its card and fingerprint are those of its fp32 export.

    Exports are compared with it, so it shares nothing with the graph that is exported but the
    network: images are normalised and embeddings brought to unit length here, apart.
    `provider`: `cpu` or `cuda`; None takes CUDA if there is one.
    """

    def __init__(
        self, network: ReIdNetwork, path: str | PathLike[str], provider: str | None = None
    ) -> None:
        card = describe_network(network, Path(path).stem, None)
        super().__init__(Path(path), replace(card, fingerprint=compute_fingerprint(network, card)))
        self._device = _choose_device(provider)
        self.network = network.eval().to(self._device)

    @property
    def runtime(self) -> str:
        """PyTorch, its version and where it runs."""
        return f"PyTorch {torch.__version__} on {self._device.type.upper()}"

    def run(self, images: Images, camera: Cameras, present: Present) -> tuple[Embeddings, Tokens]:
        """Run the network: see `Embedder.run`."""
        return run_in_batches(self._forward, images, camera, present, _BATCH, padded=False)

    def stages(self, images: Images, camera: Cameras, present: Present) -> dict[str, NDArray[Any]]:
        """Return every stage: see `Embedder.stages`."""
        mean, std = (np.array(values, np.float32) for values in (self.card.mean, self.card.std))
        normal = ((images.astype(np.float32) / 255 - mean) / std).transpose(0, 1, 4, 2, 3)
        with torch.inference_mode():
            features = self.network.features(
                *(torch.from_numpy(part).to(self._device) for part in (normal, camera, present))
            )
        return {
            "input": normal,
            "tokens": features.tokens.cpu().numpy(),
            **self._stack_selections(features, len(images)),
            "embedding": normalize(features.both.cpu().numpy()),
        }

    def _stack_selections(self, features: Features, count: int) -> dict[str, NDArray[Any]]:
        if features.selections is None:
            return {"selected_patches": np.tile(np.arange(self.card.patches), (count, 3, 1))}
        patches, scores = (
            [getattr(each, name).cpu().numpy() for each in features.selections]
            for name in ("selected_patches", "scores")
        )
        return {"selected_patches": np.stack(patches, axis=1), "scores": np.stack(scores, axis=1)}

    def _forward(
        self, images: Images, camera: Cameras, present: Present
    ) -> tuple[Embeddings, Tokens]:
        stages = self.stages(images, camera, present)
        return stages["embedding"], stages["selected_patches"]


def load(file: Path, options: LoadOptions) -> TorchEmbedder:
    """Open a checkpoint as an embedder.

    Raises:
        ArtifactError: It has no training configuration.
        TrireidError: As `load_checkpoint`.
    """
    if options.config is None:
        raise ArtifactError(
            f"{file}: is a checkpoint; add its training configuration (--config YML), or export it"
            " once by `trireid export onnx` and give the ONNX file",
            "config",
        )
    network = load_checkpoint(file, options.config, weights=options.weights)
    return TorchEmbedder(network, file, options.provider)


def describe_network(
    network: ReIdNetwork, name: str, kind: Kind | None, precision: str = "fp32"
) -> Card:
    """Return the card of a network, without a fingerprint.

    Args:
        network: A network of the family.
        name: The card's name.
        kind: None takes the image's shape: upright is a person.
        precision: The artifact's: `fp32`, `fp16` or `int8`.
    """
    config = network.config
    height, width = config.image_size
    parts = list_segments(config)
    return Card(
        name=name,
        kind=kind or ("person" if height >= width else "vehicle"),
        image_size=config.image_size,
        grid=config.grid,
        selected_patches=config.selected_patches if config.head is Head.SDTPS else config.patches,
        cameras=config.cameras,
        mean=config.mean,
        std=config.std,
        dimension=parts[-1].stop,
        segments=parts,
        precision=precision,
    )


def compute_fingerprint(network: ReIdNetwork, card: Card) -> str:
    """SHA-256 over the card, the whole configuration and every weight (name, shape, bytes): equal
    for equal networks.
    """
    digest = hashlib.sha256(card.identity().encode())
    config = asdict(network.config)
    if not config["registers"]:  # without them, the fingerprint is that of versions before them
        del config["registers"]
    digest.update(json.dumps(config, sort_keys=True).encode())
    for key, value in sorted(network.state_dict().items()):
        digest.update(f"{key}{list(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def list_segments(config: NetworkConfig) -> tuple[Segment, ...]:
    """The parts of the embedding, in its order: global features per modality, then the head's, per
    modality or subset.
    """
    parts: list[tuple[str, str]] = [(name, "global") for name in MODALITIES]
    if config.head is Head.SDTPS:
        parts += [(name, "head") for name in MODALITIES]
    elif config.head is not Head.NONE:
        parts += [
            ("+".join(MODALITIES[index] for index in subset), "head") for subset in SUBSETS.values()
        ]
    width = config.channels
    return tuple(
        Segment(name, branch, i * width, (i + 1) * width) for i, (name, branch) in enumerate(parts)
    )


def _choose_device(provider: str | None) -> torch.device:
    if provider == "cuda" and not torch.cuda.is_available():
        raise ArtifactError(
            "CUDA was asked for, but this PyTorch finds no GPU; take --provider cpu", "provider"
        )
    return torch.device(provider or ("cuda" if torch.cuda.is_available() else "cpu"))
