"""The network with the interface of an artifact: raw pixels in, a normalised embedding out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trireid.models import ReIdNetwork
from trireid.models.layers import normalize


class ArtifactGraph(nn.Module):
    """Normalisation, network (pattern 3) and L2 norm, in one graph with static shapes but for the
    batch.
    """

    def __init__(self, network: ReIdNetwork) -> None:
        super().__init__()
        self.network = network
        mean, std = (torch.tensor(values) for values in (network.config.mean, network.config.std))
        self.scale = nn.Buffer(1 / (255 * std), persistent=False)
        self.shift = nn.Buffer(-mean / std, persistent=False)

    def forward(self, images: Tensor, camera: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Images uint8 [B, 3, H, W, 3], camera int64 [B], present bool [B, 3] -> embedding [B, D],
        tokens int64 [B, 3, K].

        A network without SDTPS keeps every patch: its tokens are 0 to N - 1.
        """
        stages = self.stages(images, camera, present)
        return stages["embedding"], stages["selected_patches"]

    def stages(self, images: Tensor, camera: Tensor, present: Tensor) -> dict[str, Tensor]:
        """Every stage of the way by name, as `trireid.inference.card.STAGES` says; a network
        without SDTPS has no scores.
        """
        # The cast comes first: TensorRT can do nothing else with bytes.
        normal = (images.float() * self.scale + self.shift).permute(0, 1, 4, 2, 3)
        features = self.network.features(normal, camera, present)
        if features.selections is None:
            tokens = torch.arange(self.network.config.patches).expand(images.shape[0], 3, -1)
        else:
            tokens = torch.stack(
                [selection.selected_patches for selection in features.selections], dim=1
            )
        scores = (
            {"scores": torch.stack([s.scores for s in features.selections], dim=1)}
            if features.selections
            else {}
        )
        return {
            "input": normal,
            "tokens": features.tokens,
            **scores,
            "selected_patches": tokens,
            "embedding": normalize(features.both),
        }
