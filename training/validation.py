"""Scores of a network on validation identities: each pattern apart, as retrieval across cameras."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from trireid.evaluation import Scores, evaluate
from trireid.models import Features, ReIdNetwork
from trireid.training.image_set import ImageSet, normalize_images

_BATCH = 32


def select_embedding(features: Features, pattern: int) -> torch.Tensor:
    """Select the embedding of a pattern, [B, D]: 1 the global features, 2 the head's (without a
    head the global ones), 3 both.
    """
    if pattern == 1 or features.head is None:
        return features.ori
    return features.head if pattern == 2 else features.both


def validate(network: ReIdNetwork, data: ImageSet, patterns: Iterable[int]) -> dict[int, Scores]:
    """Score each pattern, in eval mode; the network is left in the mode it was in.

    Every sample is a query once; its own camera's images of its identity are dropped.
    """
    groups: list[str | int] = data.cameras.tolist()
    for row in np.flatnonzero(data.cameras < 0).tolist():
        groups[row] = f"sample {row}"
    ids, scores = data.identities, {}
    for pattern, rows in embed_images(network, data, tuple(patterns)).items():
        scores[pattern] = evaluate(rows, rows, ids, ids, groups, groups)
    return scores


def embed_images(
    network: ReIdNetwork, data: ImageSet, patterns: tuple[int, ...]
) -> dict[int, NDArray[np.float32]]:
    """Embed a set -> float32 [M, D] of each pattern."""
    was_training = network.training
    network.eval()
    parts: dict[int, list[NDArray[np.float32]]] = {pattern: [] for pattern in patterns}
    for start in range(0, len(data), _BATCH):
        rows = slice(start, start + _BATCH)
        features = _extract_features(network, data, rows)
        for pattern in patterns:
            parts[pattern].append(select_embedding(features, pattern).cpu().numpy())
    network.train(was_training)
    return {pattern: np.concatenate(part) for pattern, part in parts.items()}


def _extract_features(network: ReIdNetwork, data: ImageSet, rows: slice) -> Features:
    device = next(network.parameters()).device
    images = normalize_images(data.images[rows], network.config).to(device)
    camera, present = (torch.from_numpy(x[rows]).to(device) for x in (data.cameras, data.present))
    with torch.inference_mode():
        return network.features(images, camera, present)


def to_percent(scores: Mapping[int, Scores]) -> dict[str, float]:
    """Convert mAP and Rank-1 of each pattern to percent: `mAP_1`, `rank1_1`, ..."""
    percent = {}
    for pattern, score in scores.items():
        percent[f"mAP_{pattern}"] = round(100 * score.mAP, 3)
        percent[f"rank1_{pattern}"] = round(100 * score.rank1, 3)
    return percent
