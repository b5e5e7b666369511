"""The one face of every runtime: samples in, embeddings out. Needs no torch."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trireid.inference.card import Card
from trireid.inference.embedded import default_name
from trireid.samples import MODALITIES, Sample, to_batch
from trireid.samples.errors import MissingImageError, NoDirectionError

BATCH: Final = 32
#: An embedding is of unit length; one much shorter was of length 0, or too short for its numbers.
_LEAST_LENGTH: Final = 0.5
Embeddings = NDArray[np.float32]
Images = NDArray[np.uint8]
Cameras = NDArray[np.int64]
Present = NDArray[np.bool_]
Tokens = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """Everything a runtime is told when it opens a file: see `load_artifact`."""

    threads: int | None = None
    provider: str | None = None
    config: str | PathLike[str] | Mapping[str, Any] | None = None
    weights: str | None = None


Run = Callable[[Images, Cameras, Present], tuple[Embeddings, Tokens]]


class Embedder(ABC):
    """A network in some runtime.

    `card` says what the network is, `path` which file it came from.
    """

    def __init__(self, path: Path, card: Card) -> None:
        self.path, self.card = path, card

    @property
    def source(self) -> str:
        """The name by which it is opened again: of an embedded default, or the absolute path."""
        return default_name(self.path) or os.path.abspath(self.path)

    @property
    @abstractmethod
    def runtime(self) -> str:
        """The runtime and its device, as in `ONNX Runtime 1.31 on CPU`."""

    @abstractmethod
    def run(self, images: Images, camera: Cameras, present: Present) -> tuple[Embeddings, Tokens]:
        """Run the graph itself.

        Args:
            images: uint8 [B, 3, H, W, 3].
            camera: int64 [B], in the network's range, -1 for an unknown one.
            present: bool [B, 3].

        Returns:
            Embeddings float32 [B, D], L2-normalised, and selected patches int64 [B, 3, K].
        """

    def stages(self, images: Images, camera: Cameras, present: Present) -> dict[str, NDArray[Any]]:
        """Run the graph and return its stages, by the names of `trireid.inference.card.STAGES`;
        those that the runtime does not show are left out.
        """
        embedding, tokens = self.run(images, camera, present)
        return {"selected_patches": tokens, "embedding": embedding}

    def time_decoding(self) -> AbstractContextManager[None]:
        """Enter this around decoding images for the network; a subclass may measure the time."""
        return nullcontext()

    def embed(self, samples: Sequence[Sample]) -> Embeddings:
        """Decode and embed samples.

        Args:
            samples: B samples; a camera outside the network's range embeds as an unknown one.

        Returns:
            float32 [B, D], L2-normalised.

        Raises:
            ImageError: An image cannot be read, or a sample has none that the network sees.
            NoDirectionError: The network gives a sample an embedding without a direction.
        """
        return self.embed_with_tokens(samples)[0]

    def embed_with_tokens(self, samples: Sequence[Sample]) -> tuple[Embeddings, Tokens]:
        """Embed as `embed` does, and return the selected patches, too, int64 [B, 3, K]: all of them
        of a network that selects none, K = 0 of an external one.

        Those of a modality that a sample lacks have no meaning.
        """
        embeddings = np.empty((len(samples), self.card.dimension), dtype=np.float32)
        tokens = np.empty(
            (len(samples), len(MODALITIES), self.card.selected_patches), dtype=np.int64
        )
        for start in range(0, len(samples), BATCH):
            part = slice(start, start + BATCH)
            embeddings[part], tokens[part] = self.run(*pixels(samples[part], self.card))
        check_directions(embeddings, samples)
        return embeddings, tokens


def check_directions(embeddings: Embeddings, samples: Sequence[Sample]) -> None:
    """Check that each sample's embedding is a direction, so that cosines with it say something.

    Raises:
        ImageError: code `no_direction`: the embedding of a sample, which is named, is not finite
            or has length 0.
    """
    for row, reason in find_undirected(embeddings).items():
        sample = samples[row]
        name = f"{sample.id}: " if sample.id else ""
        field = sample.present[0] if sample.present else MODALITIES[0]
        raise NoDirectionError(f"{name}{reason}", field)


def find_undirected(embeddings: Embeddings) -> dict[int, str]:
    """Return the rows of embeddings [B, D] without a direction, each with the reason in words."""
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    rows = np.flatnonzero(~(np.isfinite(lengths) & (lengths > _LEAST_LENGTH)))
    start = "the network gives no direction for it: its embedding "
    return {
        row: start
        + ("has length 0" if np.isfinite(lengths[row]) else "holds numbers that are not finite")
        for row in rows.tolist()
    }


def pixels(samples: Sequence[Sample], card: Card) -> tuple[Images, Cameras, Present]:
    """Decode samples into the inputs of the graph. Raises ImageError for an image that cannot be
    read, and if a sample has none that the network sees.
    """
    for sample in samples:
        # none at all is decoding's to say
        if sample.present and not set(sample.present) & set(card.modalities):
            seen = " and ".join(card.modalities)
            raise MissingImageError(
                f"{card.name} sees {seen} only, and the sample has none of it", card.modalities[0]
            )
    batch = to_batch(samples, card.fitting)
    return batch.images, cameras(samples, card), batch.present


def cameras(samples: Sequence[Sample], card: Card) -> Cameras:
    """The camera of each sample as the network knows it, int64 [B]; -1 where unknown or out of its
    range.
    """
    known = (-1 if sample.camera is None else sample.camera for sample in samples)
    return np.array(
        [camera if 0 <= camera < card.cameras else -1 for camera in known], dtype=np.int64
    )


def run_in_batches(
    run: Run, images: Images, camera: Cameras, present: Present, batch: int, *, padded: bool
) -> tuple[Embeddings, Tokens]:
    """Run samples through a graph in batches of at most `batch`;

    `padded`: of exactly that, the last sample repeated.
    """
    parts = []
    for rows, used in iterate_batches(len(images), batch, padded=padded):
        embedding, tokens = run(images[rows], camera[rows], present[rows])
        parts.append((embedding[:used], tokens[:used]))
    embeddings, kept = zip(*parts, strict=True)
    return np.concatenate(embeddings), np.concatenate(kept)


def iterate_batches(
    count: int, batch: int, *, padded: bool
) -> Iterator[tuple[NDArray[np.intp], int]]:
    """The rows of each batch, and how many of them are not padding."""
    for start in range(0, count, batch):
        used = min(batch, count - start)
        yield start + np.minimum(np.arange(batch if padded else used), used - 1), used
