"""The field's two losses, identity (cross-entropy with label smoothing) and batch-hard triplet, and
what spreads cosines.
"""

from __future__ import annotations

from collections.abc import Callable

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


def contrastive_loss(features: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Supervised contrastive loss: every sample of the anchor's label against all others of the
    batch, by their cosines.

    Unlike the hardest negatives' triplet loss it does not start by making all features alike, which
    pretrained ones lose everything by. Features [B, D], labels int64 [B] -> scalar. Source: Khosla
    et al., "Supervised contrastive learning" (NeurIPS 2020), L_out. Every label needs a second
    sample in the batch.
    """
    unit = functional.normalize(features, dim=-1)
    own = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    logits = (unit @ unit.T / temperature).masked_fill(own, -torch.inf)
    shares = logits.log_softmax(dim=1).masked_fill(own, 0)
    same = (labels[:, None] == labels[None, :]) & ~own
    return -((shares * same).sum(dim=1) / same.sum(dim=1)).mean()


def average_segments(features: Tensor, channels: int, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """Average a loss over the segments of `channels` apart. Features [B, n channels] -> scalar.

    On the whole features, the modality that tells most apart does the work, and the others need not
    learn to stand alone.
    """
    segments = features.unflatten(1, (-1, channels)).unbind(1)
    return torch.stack([loss(segment) for segment in segments]).mean()


def center_share(features: Tensor) -> Tensor:
    """How much of the features is common to all of the batch: squared norm of their mean over their
    mean squared norm.

    Features [B, D] -> scalar in [0, 1]: 0 where they balance around the origin, 1 where all are the
    same. Neither loss minds a common part, since a distance does not see it; but cosines bunch near
    1 because of it.
    """
    squares = features.square().sum(dim=1).mean()
    return features.mean(dim=0).square().sum() / squares.clamp_min(torch.finfo(features.dtype).tiny)
