"""The ImageNet ViT in TransReID's layout: patch convolution with bias and any stride, camera
embedding on every token.

Source: Dosovitskiy et al., "An Image is Worth 16x16 Words" (2021), in the form of He et al.,
"TransReID" (ICCV 2021). Module names are those of published checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trireid.models.config import DINO, NetworkConfig
from trireid.models.layers import attend, look_up_cameras
from trireid.models.position import make_position_embedding


class Attention(nn.Module):
    """Multi-head self-attention with a fused projection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, rotation: nn.Module | None = None) -> Tensor:
        """[B, T, width] -> [B, T, width]; `rotation` turns queries and keys."""
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        if rotation is not None:
            query, key = rotation(query), rotation(key)
        out: Tensor = self.proj(attend(query, key, value))
        return out


class Mlp(nn.Module):
    """Two layers with the exact GELU, four times as wide within."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, width] -> [B, T, width]."""
        out: Tensor = self.fc2(self.act(self.fc1(x)))
        return out


class LayerScale(nn.Module):
    """A factor on each channel of a residual branch.

    Source: Touvron et al., "Going deeper with image transformers" (ICCV 2021), equation 4.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, width] -> [B, T, width]."""
        return x * self.gamma


class Block(nn.Module):
    """One pre-norm transformer block, with layer scale in DINO's layouts."""

    def __init__(self, width: int, epsilon: float, *, layer_scale: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, epsilon)
        self.attn = Attention(width)
        self.ls1 = LayerScale(width) if layer_scale else nn.Identity()
        self.norm2 = nn.LayerNorm(width, epsilon)
        self.mlp = Mlp(width)
        self.ls2 = LayerScale(width) if layer_scale else nn.Identity()

    def forward(self, x: Tensor, rotation: nn.Module | None = None) -> Tensor:
        """[B, T, width] -> [B, T, width]; `rotation` turns queries and keys."""
        x = x + self.ls1(self.attn(self.norm1(x), rotation))
        out: Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return out


class PatchEmbedding(nn.Module):
    """Overlapping patches, where the stride is under the patch."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.width, config.patch, config.stride)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, N, width]."""
        out: Tensor = self.proj(images).flatten(2).transpose(1, 2)
        return out


class ImageNetVit(nn.Module):
    """The ViT; `SIE_COE * sie_embed[camera]` goes on every token, and the final norm, too.

    Registers are DINO's: Darcet et al., "Vision Transformers Need Registers" (ICLR 2024).
    """

    epsilon = 1e-6

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.coefficient = config.sie_coe
        self.patch_embed = PatchEmbedding(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.pos_embed = self._make_positions(config)
        self.rotation = self._make_rotation(config)
        self.sie_embed = (
            nn.Parameter(torch.zeros(config.cameras, 1, config.width)) if config.cameras else None
        )
        if self.sie_embed is not None:
            nn.init.trunc_normal_(self.sie_embed, std=0.02)
        self.register_tokens = (
            nn.Parameter(torch.zeros(1, config.registers, config.width))
            if config.registers
            else None
        )
        self.blocks = nn.ModuleList(self._make_block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, self.epsilon)

    def _make_positions(self, config: NetworkConfig) -> nn.Parameter | None:
        patches = make_position_embedding(config.grid, config.width)
        return nn.Parameter(torch.cat([torch.zeros(1, config.width), patches]).unsqueeze(0))

    def _make_rotation(self, config: NetworkConfig) -> nn.Module | None:
        return None

    def _make_block(self, config: NetworkConfig) -> Block:
        return Block(config.width, self.epsilon, layer_scale=config.backbone in DINO)

    def forward(self, images: Tensor, camera: Tensor) -> Tensor:
        """Images [B, 3, H, W]; camera int64 [B], -1 = unknown, in range -> tokens [B, 1 + N, C],
        class first.
        """
        first = self.cls_token.expand(images.shape[0], -1, -1)
        x = torch.cat([first, self.patch_embed(images)], dim=1)
        if self.pos_embed is not None:
            x = x + self.pos_embed
        if self.sie_embed is not None:
            x = x + self.coefficient * look_up_cameras(self.sie_embed, camera).unsqueeze(1)
        if self.register_tokens is not None:  # after the class token, without position or camera
            registers = self.register_tokens.expand(images.shape[0], -1, -1)
            x = torch.cat([x[:, :1], registers, x[:, 1:]], dim=1)
        for block in self.blocks:
            x = block(x, self.rotation)
        if self.register_tokens is not None:
            x = torch.cat([x[:, :1], x[:, 1 + self.register_tokens.shape[1] :]], dim=1)
        out: Tensor = self.norm(x)
        return out


class ImageNetBackbone(nn.Module):
    """Holds the ViT, as the published names have it."""

    def __init__(self, vit: ImageNetVit) -> None:
        super().__init__()
        self.base = vit

    def forward(self, images: Tensor, camera: Tensor) -> Tensor:
        """Images [B, 3, H, W]; camera int64 [B], -1 = unknown, in range -> tokens [B, 1 + N, C]."""
        tokens: Tensor = self.base(images, camera)
        return tokens
