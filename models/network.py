"""The whole network: three images in, one embedding out."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from trireid.models.clip_vit import ClipBackbone, QuickGELU
from trireid.models.config import Backbone, Head, NetworkConfig
from trireid.models.demo_head import DemoHead
from trireid.models.dinov3_vit import Dinov3Vit
from trireid.models.imagenet_vit import ImageNetBackbone, ImageNetVit
from trireid.models.sdtps import NAMES, Sdtps, Selection

PATTERNS = {1: "global", 2: "head", 3: "both"}


class Features(NamedTuple):
    """The features of one pass: `ori` [B, 3C], `head` [B, 3C or 7C] (None without one), SDTPS's
    selections, all tokens.
    """

    ori: Tensor
    head: Tensor | None
    selections: tuple[Selection, Selection, Selection] | None
    tokens: Tensor

    @property
    def both(self) -> Tensor:
        """Pattern 3: `ori` and `head` side by side, `ori` alone without a head."""
        return self.ori if self.head is None else torch.cat([self.ori, self.head], dim=-1)


class ReIdNetwork(nn.Module):
    """Backbone, global-local reduction and head, as the published checkpoints lay them out."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = _make_backbone(config)
        if config.global_local:
            for name in NAMES:
                self.add_module(f"{name}_reduce", _make_reduction(config.channels))
        if config.head is Head.SDTPS:
            self.sdtps = Sdtps(config)
        elif config.head is not Head.NONE:
            self.fusion = DemoHead(config)

    def features(self, images: Tensor, camera: Tensor, present: Tensor | None = None) -> Features:
        """Every branch's features; arguments as in `forward`, `camera` given and in range."""
        tokens = self._extract_tokens(images, camera, present)
        patches = tokens[:, :, 1:]
        global_features = self._pool_global(tokens)
        ori = global_features.flatten(1)
        if self.config.head is Head.NONE:
            return Features(ori, None, None, tokens)
        if self.config.head is Head.SDTPS:
            selections = self.sdtps(patches, global_features)
            return Features(
                ori, torch.cat([s.feature for s in selections], dim=-1), selections, tokens
            )
        return Features(
            ori,
            self.fusion(torch.cat([global_features.unsqueeze(2), patches], dim=2)),
            None,
            tokens,
        )

    def _extract_tokens(self, images: Tensor, camera: Tensor, present: Tensor | None) -> Tensor:
        """Extract the backbone's tokens [B, 3, 1 + N, C]; an absent image counts as zeros."""
        if present is not None:
            images = images * present[:, :, None, None, None].to(images.dtype)
            if self.training and not self.config.cameras and not bool(present.all()):
                return self._extract_once(images.flatten(0, 1), present.flatten())
        tokens = self.backbone(images.flatten(0, 1), camera.repeat_interleave(3))
        triplets: Tensor = tokens.unflatten(0, (-1, 3))
        return triplets

    def _extract_once(self, images: Tensor, present: Tensor) -> Tensor:
        """Do the same for images [3B, 3, H, W], with one pass for all absent ones, whose tokens
        are equal without camera embeddings: training drops modalities often.
        """
        first_absent = (~present).nonzero()[:1, 0]
        rows = torch.cat([first_absent, present.nonzero()[:, 0]])
        index = torch.zeros_like(present, dtype=torch.int64)
        index[present] = torch.arange(1, len(rows), device=rows.device)
        unknown = torch.full((len(rows),), -1, dtype=torch.int64, device=rows.device)
        triplets: Tensor = self.backbone(images[rows], unknown)[index].unflatten(0, (-1, 3))
        return triplets

    def forward(
        self,
        images: Tensor,
        camera: Tensor | None = None,
        present: Tensor | None = None,
        pattern: int = 3,
    ) -> Tensor:
        """Embed a batch.

        images: float32 [B, 3, 3, H, W], modality (rgb, nir, tir) then channel, normalised. camera:
        int64 [B], 0-based, -1 = unknown; None = all unknown. present: bool [B, 3]; None = all; an
        absent modality counts as zeros. pattern: 1 = global, 2 = head, 3 = both -> float32 [B, D],
        not normalised. A network without a head gives pattern 1 for all three. Raises ValueError
        for a camera out of range, a shape that does not fit, or another pattern.
        """
        expected = (3, 3, *self.config.image_size)
        if tuple(images.shape[1:]) != expected:
            raise ValueError(
                f"images: expected [B, {', '.join(map(str, expected))}], got {list(images.shape)}"
            )
        if pattern not in PATTERNS:
            raise ValueError(f"pattern: 1 = global, 2 = head, 3 = both; got {pattern}")
        features = self.features(images, self._check_camera(camera, images), present)
        if features.head is None or pattern == 1:
            return features.ori
        return features.head if pattern == 2 else features.both

    def _pool_global(self, tokens: Tensor) -> Tensor:
        """The global features [B, 3, C]: the class token, joined with the mean patch where
        GLOBAL_LOCAL is on.
        """
        first, patches = tokens[:, :, 0], tokens[:, :, 1:]
        if not self.config.global_local:
            return first
        both = torch.cat([first, patches.mean(dim=2)], dim=-1)
        return torch.stack(
            [self.get_submodule(f"{name}_reduce")(both[:, i]) for i, name in enumerate(NAMES)],
            dim=1,
        )

    def _check_camera(self, camera: Tensor | None, images: Tensor) -> Tensor:
        if camera is None:
            return torch.full((images.shape[0],), -1, dtype=torch.int64, device=images.device)
        cameras = self.config.cameras
        if cameras and bool(((camera < -1) | (camera >= cameras)).any()):
            raise ValueError(
                f"camera: this network knows 0 to {cameras - 1}, and -1 for unknown; got "
                f"{camera.tolist()}"
            )
        return camera


def _make_backbone(config: NetworkConfig) -> ClipBackbone | ImageNetBackbone:
    if config.backbone is Backbone.CLIP:
        return ClipBackbone(config)
    vit = Dinov3Vit if config.backbone is Backbone.DINOV3 else ImageNetVit
    return ImageNetBackbone(vit(config))


def _make_reduction(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(2 * channels), nn.Linear(2 * channels, channels), QuickGELU())
