"""Loss heads of the branches: batch-norm neck, classifier and losses, for training alone."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trireid.models import Features, Head, NetworkConfig
from trireid.training.losses import (
    average_segments,
    batch_hard_triplet,
    center_share,
    contrastive_loss,
    identity_loss,
)
from trireid.training.settings import LossSettings


class LossOutput(NamedTuple):
    """A branch's loss, and the share of the batch that its classifier recognizes."""

    loss: Tensor
    accuracy: Tensor


class LossHead(nn.Module):
    """A branch's batch-norm neck and classifier."""

    def __init__(self, width: int, identities: int, settings: LossSettings, channels: int) -> None:
        super().__init__()
        self.settings, self.channels = settings, channels
        self.bottleneck = nn.BatchNorm1d(width)
        self.bottleneck.bias.requires_grad_(False)
        self.classifier = nn.Linear(width, identities, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    def forward(self, features: Tensor, labels: Tensor) -> LossOutput:
        """Features [B, D], labels int64 [B]."""
        weight = self.settings
        logits = self.classifier(self.bottleneck(features)).float()
        total = weight.identity * identity_loss(logits, labels, weight.label_smoothing)
        features = features.float()
        metric = partial(self._compute_metric_loss, labels=labels)
        total = total + metric(features)
        if weight.center:
            total = total + weight.center * center_share(features)
        if weight.segments:
            segments = average_segments(features, self.channels, metric)
            total = total + weight.segments * segments
        return LossOutput(total, (logits.argmax(dim=1) == labels).float().mean())

    def _compute_metric_loss(self, features: Tensor, labels: Tensor) -> Tensor:
        weight = self.settings
        total = features.new_zeros(())
        if weight.triplet:
            total = total + weight.triplet * batch_hard_triplet(features, labels, weight.margin)
        if weight.contrastive:
            total = total + weight.contrastive * contrastive_loss(
                features, labels, weight.temperature
            )
        return total


class LossHeads(nn.ModuleDict):
    """`ori`, and `head` where the network has one."""

    def __init__(self, config: NetworkConfig, identities: int, settings: LossSettings) -> None:
        widths = {"ori": 3 * config.channels}
        if config.head is not Head.NONE:
            widths["head"] = config.head_channels
        super().__init__()
        for name, width in widths.items():
            self[name] = LossHead(width, identities, settings, config.channels)

    def compute_losses(
        self, features: Features, labels: Tensor, *, head: bool = True
    ) -> dict[str, LossOutput]:
        """Compute each branch's losses on its own features; `head` False leaves the head's out."""
        given = {"ori": features.ori, "head": features.head}
        names = [name for name in self if name == "ori" or head]
        return {name: self[name](given[name], labels) for name in names}

    def get_published_state(self) -> dict[str, Tensor]:
        """Get the weights under the names that `load_checkpoint` drops: `classifier_ori.weight`,
        ...
        """
        state = self.state_dict()
        return {_to_published_name(key): state[key].detach().cpu() for key in state}

    def load_published_state(self, state: dict[str, Tensor]) -> None:
        """Load weights of `get_published_state`; those missing or of another shape stay as they
        are.
        """
        own = self.state_dict()
        given = {key: state.get(_to_published_name(key)) for key in own}
        fits = {key: x for key, x in given.items() if x is not None and x.shape == own[key].shape}
        self.load_state_dict(fits, strict=False)


def sum_losses(outputs: dict[str, LossOutput]) -> Tensor:
    """Sum the branches' losses."""
    return torch.stack([output.loss for output in outputs.values()]).sum()


def _to_published_name(key: str) -> str:
    branch, part, name = key.split(".", 2)
    return f"{part}_{branch}.{name}"
