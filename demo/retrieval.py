"""Retrieval of drawn test identities by a default network, for its card."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from trireid.demo.baselines import describe_by_histogram, describe_by_pixels
from trireid.demo.synthetic.seeds import Split
from trireid.demo.synthetic.source import synthetic_samples
from trireid.evaluation import Scores, evaluate, normalize
from trireid.inference.retrieval import ALL, SUBSETS, Subset
from trireid.models import ReIdNetwork
from trireid.samples import Kind, Sample
from trireid.training.image_set import ImageSet, normalize_images
from trireid.training.runtime import autocast_to
from trireid.training.settings import Precision

TEST_IDENTITIES: Final = 100
_BATCH: Final = 32
Describe = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def measure(
    network: ReIdNetwork, kind: Kind, precision: Precision = Precision.FLOAT32
) -> dict[str, Any]:
    """Measure a default on 100 test identities across cameras, for its card, in a precision.

    mAP and Rank-1 in percent: each pattern, each subset of the modalities (compared by the segments
    that are there, as a gallery does), and the baselines; percentiles of the cosines
    of same and other identities.
    """
    test = draw_set(kind, TEST_IDENTITIES, network.config.image_size, split="test", shots=2)
    torch.manual_seed(0)
    untrained = ReIdNetwork(network.config).eval()
    shown = {part: _embed_segments(network, test, part, precision) for part in SUBSETS}
    whole = shown[ALL]
    features = {
        "network": whole,
        "network, pattern 1 (global)": whole[:, :1],
        "network, pattern 2 (SDTPS)": whole[:, 1:],
        **{
            f"network, {'+'.join(part)}": _select_modalities(segments, part)
            for part, segments in shown.items()
            if part != ALL
        },
        "untrained network": _embed_segments(untrained, test, ALL, precision),
        "raw pixels": _describe_set(test, describe_by_pixels),
        "striped histogram": _describe_set(test, describe_by_histogram),
    }
    flat = {name: rows.reshape(len(rows), -1) for name, rows in features.items()}
    scores = {name: _to_percent(_evaluate(test, rows)) for name, rows in flat.items()}
    return {**scores, "cosines": _measure_cosines(test, normalize(flat["network"]))}


def draw_set(
    kind: Kind, identities: int, size: tuple[int, int], *, split: Split, shots: int, seed: int = 0
) -> ImageSet:
    """A drawn set: `identities` seen by 4 cameras each, `shots` times."""
    drawn: Iterator[Sample] = synthetic_samples(
        kind, identities, split=split, seed=seed, shots=shots
    )
    return ImageSet.decode(drawn, size, identities * shots * 4, f"drawing {kind} {split}")


def _describe_set(test: ImageSet, describe: Describe) -> NDArray[np.float32]:
    starts = range(0, len(test.images), _BATCH)
    return np.concatenate([describe(test.images[start : start + _BATCH]) for start in starts])


def _measure_cosines(test: ImageSet, features: NDArray[np.float32]) -> dict[str, dict[str, float]]:
    """Percentiles of the cosines between images of different cameras: of one identity, and of
    two.
    """
    cosines, across = features @ features.T, test.cameras[:, None] != test.cameras[None, :]
    same = test.identities[:, None] == test.identities[None, :]
    pairs = {"same identity": cosines[across & same], "other identity": cosines[across & ~same]}
    return {
        whose: {f"{at} %": round(float(np.percentile(values, at)), 3) for at in (5, 50, 95)}
        for whose, values in pairs.items()
    }


def _evaluate(test: ImageSet, features: NDArray[np.float32]) -> Scores:
    """Every sample is a query once; its own camera's images of its identity are dropped."""
    return evaluate(
        features, features, test.identities, test.identities, test.cameras, test.cameras
    )


def _embed_segments(
    network: ReIdNetwork, test: ImageSet, shown: Subset, precision: Precision
) -> NDArray[np.float32]:
    """Embeddings [M, branch, modality, C]; what is not shown is an absent modality."""

    def describe(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        present = torch.tensor([modality in shown for modality in ALL]).expand(len(images), 3)
        pixels = normalize_images(images, network.config)
        with torch.inference_mode(), autocast_to(precision, pixels.device):
            embeddings: NDArray[np.float32] = network(pixels, present=present).float().numpy()
        return embeddings

    return _describe_set(test, describe).reshape(len(test), -1, len(ALL), network.config.channels)


def _select_modalities(segments: NDArray[np.float32], shown: Subset) -> NDArray[np.float32]:
    """The segments of these modalities, which is what a gallery compares when the others are
    absent.
    """
    return segments[:, :, [ALL.index(modality) for modality in shown]]


def _to_percent(scores: Scores) -> dict[str, float]:
    return {"mAP": round(100 * scores.mAP, 1), "rank1": round(100 * scores.rank1, 1)}
