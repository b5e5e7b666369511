"""The network with the interface of an artifact: raw pixels in, a normalised embedding out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from models import Head, ReIdNetwork

INPUTS = ("images", "camera", "present")
OUTPUTS = ("embedding", "tokens")


class ArtifactGraph(nn.Module):
    """Normalisation, network (pattern 3) and L2 norm, in one graph with static shapes but for the batch."""

    def __init__(self, network: ReIdNetwork) -> None:
        super().__init__()
        self.network = network
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (network.config.mean, network.config.std))
        self.scale = nn.Buffer(1 / (255 * std), persistent=False)
        self.shift = nn.Buffer(-mean / std, persistent=False)

    def forward(self, images: Tensor, camera: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Images uint8 [B, 3, H, W, 3], camera int64 [B], present bool [B, 3] -> embedding [B, D], tokens int64 [B, 3, K].

        A network without SDTPS keeps every patch: its tokens are 0 to N - 1.
        """
        normal = images.permute(0, 1, 4, 2, 3).float() * self.scale + self.shift
        features = self.network.features(normal, camera, present)
        if features.head is None or features.selections is None:
            every = torch.arange(self.network.config.patches).expand(images.shape[0], 3, -1)
            return functional.normalize(features.ori, dim=-1), every
        embedding = torch.cat([features.ori, features.head], dim=-1)
        tokens = torch.stack([selection.kept for selection in features.selections], dim=1)
        return functional.normalize(embedding, dim=-1), tokens


def branches(network: ReIdNetwork) -> tuple[str, ...]:
    """The branches in the order that the embedding holds them."""
    return ("global",) if network.config.head is Head.NONE else ("global", "head")
