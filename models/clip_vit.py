"""CLIP's vision transformer, with a camera embedding on the class token: one set of weights for the
three modalities.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision"
(2021); the camera embedding is TransReID's (He et al., 2021) as CLIP-ReID places it. Module names
are those of published checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from trireid.models.config import NetworkConfig
from trireid.models.layers import attend, look_up_cameras, make_fused_projection
from trireid.models.position import make_position_embedding


class QuickGELU(nn.Module):
    """`x * sigmoid(1.702 x)`, CLIP's activation."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, kept."""
        return x * torch.sigmoid(1.702 * x)


class Attention(nn.Module):
    """Self-attention with CLIP's fused projection; heads of 64 channels, scale 64^-0.5."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_proj_weight, self.in_proj_bias = make_fused_projection(width)
        self.out_proj = nn.Linear(width, width)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, width] -> [B, T, width]."""
        fused = functional.linear(x, self.in_proj_weight, self.in_proj_bias)
        out: Tensor = self.out_proj(attend(*fused.chunk(3, dim=-1)))
        return out


class Mlp(nn.Module):
    """Two layers with QuickGELU, four times as wide within."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.gelu = QuickGELU()
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, width] -> [B, T, width]."""
        out: Tensor = self.c_proj(self.gelu(self.c_fc(x)))
        return out


class Block(nn.Module):
    """One pre-norm transformer block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = Attention(width)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = Mlp(width)
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, width] -> [B, T, width]."""
        x = x + self.attn(self.ln_1(x))
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class Transformer(nn.Module):
    """The stack of blocks."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, width] -> [B, T, width]."""
        for block in self.resblocks:
            x = block(x)
        return x


class ClipVit(nn.Module):
    """CLIP's ViT with `ln_post` and `proj` on every token."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width, spread = config.width, config.width**-0.5
        self.conv1 = nn.Conv2d(3, width, config.patch, config.stride, bias=False)
        self.class_embedding = nn.Parameter(spread * torch.randn(width))
        self.positional_embedding = nn.Parameter(
            torch.cat([torch.zeros(1, width), make_position_embedding(config.grid, width)])
        )
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, config.depth)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(spread * torch.randn(width, config.channels))

    def forward(self, images: Tensor, camera: Tensor | None) -> Tensor:
        """Images [B, 3, H, W] and camera embeddings [B, width] (None: no camera) -> tokens [B, 1 +
        N, C], class first.
        """
        patches = self.conv1(images).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(images.shape[0], 1, -1)
        if camera is not None:
            first = first + camera.unsqueeze(1)
        x = torch.cat([first, patches], dim=1) + self.positional_embedding
        x = self.transformer(self.ln_pre(x))
        out: Tensor = self.ln_post(x) @ self.proj
        return out


class ClipBackbone(nn.Module):
    """The ViT and its table of camera embeddings;

    `SIE_COE * cv_embed[camera]` goes on the class token only.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.base = ClipVit(config)
        self.coefficient = config.sie_coe
        if config.cameras:
            self.cv_embed = nn.Parameter(torch.zeros(config.cameras, 1, config.width))
            nn.init.trunc_normal_(self.cv_embed, std=0.02)

    def forward(self, images: Tensor, camera: Tensor) -> Tensor:
        """Images [B, 3, H, W]; camera int64 [B], -1 = unknown, in range -> tokens [B, 1 + N, C]."""
        tokens: Tensor = self.base(images, self._embed(camera))
        return tokens

    def _embed(self, camera: Tensor) -> Tensor | None:
        return (
            self.coefficient * look_up_cameras(self.cv_embed, camera)
            if hasattr(self, "cv_embed")
            else None
        )
