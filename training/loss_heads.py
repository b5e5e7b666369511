"""Loss heads of the branches: batch-norm neck, classifier and losses, for training alone."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from trireid.models import Features, Head, NetworkConfig
from trireid.training.losses import batch_hard_triplet, center_share, identity_loss, segment_triplet
from trireid.training.settings import LossSettings


class LossOutput(NamedTuple):
    """A branch's loss, and the share of the batch that its classifier names rightly."""

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
        total = total + weight.triplet * batch_hard_triplet(features.float(), labels, weight.margin)
        if weight.center:
            total = total + weight.center * center_share(features.float())
        if weight.segments:
            total = total + weight.segments * segment_triplet(
                features.float(), labels, self.channels, weight.margin
            )
        return LossOutput(total, (logits.argmax(dim=1) == labels).float().mean())


class LossHeads(nn.ModuleDict):
    """`ori`, and `head` where the network has one."""

    def __init__(self, config: NetworkConfig, identities: int, settings: LossSettings) -> None:
        widths = {"ori": 3 * config.channels}
        if config.head is not Head.NONE:
            widths["head"] = config.head_channels
        super().__init__(
            {
                name: LossHead(width, identities, settings, config.channels)
                for name, width in widths.items()
            }
        )

    def compute_losses(
        self, features: Features, labels: Tensor, *, head: bool = True
    ) -> dict[str, LossOutput]:
        """Each branch's outcome on its own features; `head` False leaves the head's out."""
        given = {"ori": features.ori, "head": features.head}
        return {
            name: branch(given[name], labels)
            for name, branch in self.items()
            if name == "ori" or head
        }

    def get_published_state(self) -> dict[str, Tensor]:
        """Weights under the names that `load_checkpoint` knows as training's own:

        `classifier_ori.weight`, ...
        """
        return {
            _to_published_name(key): value.detach().cpu()
            for key, value in self.state_dict().items()
        }

    def load_published_state(self, state: dict[str, Tensor]) -> None:
        """Load weights of `get_published_state`; those missing or of another shape stay as they
        are.
        """
        own = self.state_dict()
        held = {
            key: state[name]
            for key in own
            if (name := _to_published_name(key)) in state and state[name].shape == own[key].shape
        }
        self.load_state_dict(held, strict=False)


def sum_losses(outputs: dict[str, LossOutput]) -> Tensor:
    """The branches' losses, summed."""
    return torch.stack([outcome.loss for outcome in outputs.values()]).sum()


def _to_published_name(key: str) -> str:
    branch, part, name = key.split(".", 2)
    return f"{part}_{branch}.{name}"
