"""The field's two losses, identity (cross-entropy with label smoothing) and batch-hard triplet, and
what spreads cosines.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

LABEL_SMOOTHING = 0.1


def identity_loss(
    logits: Tensor, labels: Tensor, label_smoothing: float = LABEL_SMOOTHING
) -> Tensor:
    """Cross-entropy with label smoothing. Logits [B, identities], labels int64 [B] -> scalar."""
    return functional.cross_entropy(logits, labels, label_smoothing=label_smoothing)


def batch_hard_triplet(features: Tensor, labels: Tensor, margin: float | None = None) -> Tensor:
    """Triplet loss over the hardest positive and negative of each anchor; `margin` None: the soft
    one.

    Features [B, D] (not normalize_images, Euclidean distance), labels int64 [B] -> scalar. Source:
    Hermans et al., "In Defense of the Triplet Loss for Person Re-Identification" (2017), eq. 5.
    Every label needs a second sample and another label in the batch.
    """
    distance = torch.cdist(features, features)
    same = labels[:, None] == labels[None, :]
    hardest_positive = distance.masked_fill(~same, -torch.inf).amax(dim=1)
    hardest_negative = distance.masked_fill(same, torch.inf).amin(dim=1)
    difference = hardest_positive - hardest_negative
    return (
        functional.softplus(difference) if margin is None else functional.relu(difference + margin)
    ).mean()


def segment_triplet(
    features: Tensor, labels: Tensor, channels: int, margin: float | None = None
) -> Tensor:
    """`batch_hard_triplet` of each segment of `channels` apart, the mean of them. Features [B, n
    channels] -> scalar.

    On the whole features, the modality that tells most apart does the work, and the others need not
    learn to stand alone.
    """
    segments = features.unflatten(1, (-1, channels)).unbind(1)
    return torch.stack([batch_hard_triplet(segment, labels, margin) for segment in segments]).mean()


def center_share(features: Tensor) -> Tensor:
    """How much of the features is common to all of the batch: squared norm of their mean over their
    mean squared norm.

    Features [B, D] -> scalar in [0, 1]: 0 where they balance around the origin, 1 where all are the
    same. Neither loss minds a common part, since a distance does not see it; but cosines bunch near
    1 because of it.
    """
    squares = features.square().sum(dim=1).mean()
    return features.mean(dim=0).square().sum() / squares.clamp_min(torch.finfo(features.dtype).tiny)
