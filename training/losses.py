"""The field's two losses: identity (cross-entropy with label smoothing) and batch-hard triplet."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

LABEL_SMOOTHING = 0.1


def identity_loss(logits: Tensor, labels: Tensor, label_smoothing: float = LABEL_SMOOTHING) -> Tensor:
    """Cross-entropy with label smoothing. Logits [B, identities], labels int64 [B] -> scalar."""
    return functional.cross_entropy(logits, labels, label_smoothing=label_smoothing)


def batch_hard_triplet(features: Tensor, labels: Tensor, margin: float | None = None) -> Tensor:
    """Triplet loss over the hardest positive and negative of each anchor; `margin` None: the soft one.

    Features [B, D] (not normalised, Euclidean distance), labels int64 [B] -> scalar. Source: Hermans et al., "In Defense of
    the Triplet Loss for Person Re-Identification" (2017), eq. 5. Every label needs a second sample and another label in the
    batch.
    """
    distance = torch.cdist(features, features)
    same = labels[:, None] == labels[None, :]
    hardest_positive = distance.masked_fill(~same, -torch.inf).amax(dim=1)
    hardest_negative = distance.masked_fill(same, torch.inf).amin(dim=1)
    difference = hardest_positive - hardest_negative
    return (functional.softplus(difference) if margin is None else functional.relu(difference + margin)).mean()
