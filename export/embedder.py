"""The one face of every runtime: samples in, embeddings out. Needs no torch."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from assets import default_name
from export.card import Card
from samples import Sample, to_batch

BATCH: Final = 32
Embeddings = NDArray[np.float32]
Images = NDArray[np.uint8]
Cameras = NDArray[np.int64]
Present = NDArray[np.bool_]
Tokens = NDArray[np.int64]
Run = Callable[[Images, Cameras, Present], tuple[Embeddings, Tokens]]


class Embedder(ABC):
    """A network in some runtime. `card` says what the network is, `path` which file it came from."""

    def __init__(self, path: Path, card: Card) -> None:
        self.path, self.card = path, card

    @property
    def source(self) -> str:
        """What to open it by again: the name of an embedded default, or the file's absolute path."""
        return default_name(self.path) or os.path.abspath(self.path)

    @property
    @abstractmethod
    def runtime(self) -> str:
        """What it runs in, as in `ONNX Runtime 1.31 on the CPU`."""

    @abstractmethod
    def run(self, images: Images, camera: Cameras, present: Present) -> tuple[Embeddings, Tokens]:
        """The graph itself: images uint8 [B, 3, H, W, 3], camera int64 [B] in range, present bool [B, 3]
        -> embedding float32 [B, D] and the kept patches int64 [B, 3, K].
        """

    def embed(self, samples: Sequence[Sample]) -> Embeddings:
        """Decode and embed -> float32 [B, D], L2-normalised; a camera outside the network's range embeds as -1.

        Raises PictureError for a bad picture.
        """
        embeddings = np.empty((len(samples), self.card.dimension), dtype=np.float32)
        for start in range(0, len(samples), BATCH):
            part = samples[start : start + BATCH]
            batch = to_batch(part, self.card.image_size)
            embeddings[start : start + BATCH], _ = self.run(batch.images, cameras(part, self.card), batch.present)
        return embeddings


def cameras(samples: Sequence[Sample], card: Card) -> Cameras:
    """The camera of each sample as the network knows it, int64 [B]; -1 where unknown or out of its range."""
    known = (-1 if sample.camera is None else sample.camera for sample in samples)
    return np.array([camera if 0 <= camera < card.cameras else -1 for camera in known], dtype=np.int64)


def in_batches(
    run: Run, images: Images, camera: Cameras, present: Present, batch: int, *, padded: bool
) -> tuple[Embeddings, Tokens]:
    """Run samples through a graph in batches of at most `batch`; `padded`: of exactly that, the last sample repeated."""
    parts = []
    for start in range(0, len(images), batch):
        stop = min(start + batch, len(images))
        rows = np.minimum(np.arange(start, start + batch), stop - 1) if padded else np.arange(start, stop)
        embedding, tokens = run(images[rows], camera[rows], present[rows])
        parts.append((embedding[: stop - start], tokens[: stop - start]))
    embeddings, tokens_ = zip(*parts, strict=True)
    return np.concatenate(embeddings), np.concatenate(tokens_)
