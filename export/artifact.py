"""Artifacts and the runtime that runs them. Needs no torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from assets import default_name
from export.card import METADATA_KEY, Card
from samples import ArtifactError, Sample, to_batch

BATCH = 32
Embeddings = NDArray[np.float32]


class Embedder(Protocol):
    """Whatever turns samples into embeddings."""

    @property
    def card(self) -> Card:
        """What the network is."""

    @property
    def source(self) -> str:
        """What to open the network by again: the name of an embedded default, or an absolute path."""

    def embed(self, samples: Sequence[Sample]) -> Embeddings:
        """Samples -> float32 [B, D], L2-normalised."""

    def run(
        self, images: NDArray[np.uint8], camera: NDArray[np.int64], present: NDArray[np.bool_]
    ) -> tuple[Embeddings, NDArray[np.int64]]:
        """The graph's interface: see `OnnxEmbedder.run`."""


class OnnxEmbedder:
    """An ONNX artifact in ONNX Runtime.

    `threads`: how many a forward pass may use; None leaves it to the runtime. Raises ArtifactError where the file is no
    artifact of ours.
    """

    def __init__(self, path: str | PathLike[str], threads: int | None = None) -> None:
        self.path = Path(path)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        self._session = _session(self.path, options)
        self.card = _card(self._session, self.path)
        batch = self._session.get_inputs()[0].shape[0]
        self._fixed: int | None = batch if isinstance(batch, int) else None

    @property
    def source(self) -> str:
        """What to open it by again: the name of an embedded default, or the file's absolute path."""
        return default_name(self.path) or os.path.abspath(self.path)

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

    def run(
        self, images: NDArray[np.uint8], camera: NDArray[np.int64], present: NDArray[np.bool_]
    ) -> tuple[Embeddings, NDArray[np.int64]]:
        """The graph itself: images uint8 [B, 3, H, W, 3], camera int64 [B] in range, present bool [B, 3]
        -> embedding float32 [B, D] and the kept patches int64 [B, 3, K].
        """
        if self._fixed is None:
            return self._forward(images, camera, present)
        parts = [
            self._padded(images[part], camera[part], present[part], self._fixed)
            for part in (slice(start, start + self._fixed) for start in range(0, len(images), self._fixed))
        ]
        embeddings, tokens = zip(*parts, strict=True)
        return np.concatenate(embeddings), np.concatenate(tokens)

    def _forward(
        self, images: NDArray[np.uint8], camera: NDArray[np.int64], present: NDArray[np.bool_]
    ) -> tuple[Embeddings, NDArray[np.int64]]:
        embedding, tokens = self._session.run(None, {"images": images, "camera": camera, "present": present})
        return embedding, tokens

    def _padded(
        self, images: NDArray[np.uint8], camera: NDArray[np.int64], present: NDArray[np.bool_], batch: int
    ) -> tuple[Embeddings, NDArray[np.int64]]:
        """Run an artifact of a fixed batch: the last sample is repeated where there are fewer."""
        rows = np.minimum(np.arange(batch), len(images) - 1)
        embedding, tokens = self._forward(images[rows], camera[rows], present[rows])
        return embedding[: len(images)], tokens[: len(images)]


def load_artifact(path: str | PathLike[str], threads: int | None = None) -> OnnxEmbedder:
    """Open an artifact: `.card` says what it is, `.embed(samples)` gives float32 [B, D], L2-normalised."""
    return OnnxEmbedder(path, threads)


def cameras(samples: Sequence[Sample], card: Card) -> NDArray[np.int64]:
    """The camera of each sample as the network knows it, int64 [B]; -1 where unknown or out of its range."""
    known = (-1 if sample.camera is None else sample.camera for sample in samples)
    return np.array([camera if 0 <= camera < card.cameras else -1 for camera in known], dtype=np.int64)


def _session(path: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    name = os.fspath(path)
    if not path.is_file():
        raise ArtifactError(
            f"{name}: {'is a directory' if path.is_dir() else 'does not exist'}; expected an ONNX artifact", name
        )
    try:
        return onnxruntime.InferenceSession(name, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises its own classes, which share no base but Exception
        raise ArtifactError(f"{name}: not an ONNX file that ONNX Runtime can open", name) from error


def _card(session: onnxruntime.InferenceSession, path: Path) -> Card:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise ArtifactError(f"{path}: an ONNX file without a card; export it with `trireid export onnx`", os.fspath(path))
    card = Card.from_json(text, os.fspath(path))
    return card if card.name else replace(card, name=path.stem)
