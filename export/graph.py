"""The network with the interface of an artifact: raw pixels in, a normalised embedding out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from export.card import Segment
from models import Head, NetworkConfig, ReIdNetwork
from models.demo_head import SUBSETS
from models.norm import unit
from samples import MODALITIES

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
        if features.selections is None:
            tokens = torch.arange(self.network.config.patches).expand(images.shape[0], 3, -1)
        else:
            tokens = torch.stack([selection.kept for selection in features.selections], dim=1)
        return unit(features.both), tokens


def segments(config: NetworkConfig) -> tuple[Segment, ...]:
    """The parts of the embedding, in its order: global features per modality, then the head's, per modality or subset."""
    parts: list[tuple[str, str]] = [(name, "global") for name in MODALITIES]
    if config.head is Head.SDTPS:
        parts += [(name, "head") for name in MODALITIES]
    elif config.head is not Head.NONE:
        parts += [("+".join(MODALITIES[index] for index in subset), "head") for subset in SUBSETS.values()]
    width = config.channels
    return tuple(Segment(name, branch, i * width, (i + 1) * width) for i, (name, branch) in enumerate(parts))
