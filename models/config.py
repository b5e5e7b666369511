"""The configuration of a network of the family: its sizes and switches."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from typing import Any, Final

from trireid.samples import ConfigError

HEAD_WIDTH = 64  # channels of one attention head, in every ViT of the family


class Backbone(StrEnum):
    """The backbones: two under the research code's names (`MODEL.TRANSFORMER_TYPE`), DINOv2's and
    its successors under timm's.
    """

    CLIP = "ViT-B-16"
    IMAGENET = "vit_base_patch16_224"
    DINOV2 = "vit_small_patch14_dinov2"
    DINOV3 = "vit_small_patch16_dinov3"


#: The backbones with DINO's layer scale; they may have register tokens.
DINO: Final = (Backbone.DINOV2, Backbone.DINOV3)


class Head(StrEnum):
    """The head on the backbone, which makes pattern 2."""

    NONE = "none"
    SDTPS = "sdtps"
    HDM = "hdm"
    HDM_ATM = "hdm+atm"


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Sizes and switches of one network; checks itself on creation and raises ConfigError.

    `image_size` in pixels (height, width), `patch` and `stride` in pixels; `width`: channels of the
    ViT's blocks; `channels`: C, of the tokens it puts out; `registers`: number of DINO's register
    tokens, which take part in attention and are not put out; `cameras`: number of camera
    embeddings, 0 for none; `sie_coe`: factor on them; `sparse_ratio`, `aggregation_ratio`, `beta`:
    see `trireid.models.sdtps`; `moe_heads`: see `trireid.models.demo_head`; `mean`, `std`: of
    pixels in [0, 1].
    """

    backbone: Backbone = Backbone.CLIP
    image_size: tuple[int, int] = (256, 128)
    patch: int = 16
    stride: int = 16
    width: int = 768
    depth: int = 12
    channels: int = 512
    registers: int = 0
    cameras: int = 0
    sie_coe: float = 1.0
    global_local: bool = True
    head: Head = Head.SDTPS
    sparse_ratio: float = 0.5
    aggregation_ratio: float = 0.4
    beta: float = 0.25
    moe_heads: int = 4
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        object.__setattr__(self, "head", Head(self.head))
        object.__setattr__(self, "backbone", Backbone(self.backbone))
        self._check_sizes()
        for name in ("sparse_ratio", "aggregation_ratio"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(
                    f"{name} must be over 0 and at most 1, not {getattr(self, name)}", name
                )
        if self.head is Head.SDTPS and self.aggregated < 1:
            raise ConfigError(
                f"{self.patches} patches leave no token after aggregation: raise the ratios",
                "SDTPS_AGGR_RATIO",
            )
        if self.head is Head.HDM_ATM and (self.moe_heads < 1 or self.channels % self.moe_heads):
            raise ConfigError(
                f"HEAD: {self.moe_heads} does not divide the {self.channels} channels", "HEAD"
            )

    def _check_sizes(self) -> None:
        if self.patch < 1 or self.stride < 1 or min(self.image_size) < self.patch:
            raise ConfigError(
                f"image size {self.image_size} holds no patch of {self.patch} at stride "
                f"{self.stride}",
                "SIZE_TEST",
            )
        if self.width % HEAD_WIDTH:
            raise ConfigError(
                f"width {self.width} is not a multiple of {HEAD_WIDTH}, the width of an attention "
                "head",
                "width",
            )
        if self.head in (Head.HDM, Head.HDM_ATM) and self.channels % HEAD_WIDTH:
            raise ConfigError(
                f"{self.channels} channels are not a multiple of {HEAD_WIDTH}, the width of a "
                "head of HDM",
                "HDM",
            )
        if self.backbone is not Backbone.CLIP and self.channels != self.width:
            raise ConfigError(
                f"{self.backbone} puts out its width, {self.width} channels, not {self.channels}",
                "channels",
            )
        if self.registers < 0 or (self.registers and self.backbone not in DINO):
            raise ConfigError(
                f"registers: {self.registers}, but {self.backbone} has none, and DINO's backbones "
                "have 0 or more",
                "registers",
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches; more than fit side by side where the stride makes them
        overlap.
        """
        height, width = ((side - self.patch) // self.stride + 1 for side in self.image_size)
        return height, width

    @property
    def patches(self) -> int:
        """N, the number of patches."""
        return self.grid[0] * self.grid[1]

    @property
    def selected_patches(self) -> int:
        """K, the number of patches that SDTPS selects."""
        return max(1, ceil(self.patches * self.sparse_ratio))

    @property
    def aggregated(self) -> int:
        """N_c, the number of tokens that SDTPS makes of the selected patches; the research code
        counts it by the stride alone.
        """
        by_stride = (self.image_size[0] // self.stride) * (self.image_size[1] // self.stride)
        return int(by_stride * self.aggregation_ratio * self.sparse_ratio)

    @property
    def head_channels(self) -> int:
        """How wide pattern 2 is: 3C of SDTPS, 7C of DeMo's head, 0 without a head."""
        return {Head.NONE: 0, Head.SDTPS: 3, Head.HDM: 7, Head.HDM_ATM: 7}[
            self.head
        ] * self.channels


#: Sizes in which the ViT-S of DINO differ.
_VIT_SMALL: Final[dict[Backbone, dict[str, Any]]] = {
    Backbone.DINOV2: {"patch": 14, "stride": 14},
    Backbone.DINOV3: {"patch": 16, "stride": 16, "registers": 4},
}


def make_vit_small(
    backbone: Backbone, image_size: tuple[int, int], **changes: Any
) -> NetworkConfig:
    """Make the configuration of a network on the ViT-S that DINO published.

    Args:
        backbone: DINO's version.
        image_size: In pixels, multiples of the patch: (224, 112) for DINOv2, (256, 128) for DINOv3,
            or the same upright the other way round.
        changes: Other fields of `NetworkConfig`, as in `depth=8`.

    Raises:
        ConfigError: the sizes do not fit each other.
    """
    sizes = {"width": 384, "channels": 384, "image_size": image_size, **_VIT_SMALL[backbone]}
    pixels = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    return NetworkConfig(**{"backbone": backbone, **sizes, **pixels, **changes})
