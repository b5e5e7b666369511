"""What a network of the family is: its sizes and switches, read from the research code's YAML and checkpoint shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from os import PathLike
from pathlib import Path
from typing import Any

import yaml

from samples.errors import ConfigError

HEAD_WIDTH = 64  # channels of one attention head, in every ViT of the family

#: Keys that change the network in a way that this package does not build, with the values that leave it unchanged.
_UNSUPPORTED = {"PROMPT": (False,), "ADAPTER": (False,), "HDM": (False,), "ATM": (False,)}
_BACKBONES = ("ViT-B-16",)


class Head(StrEnum):
    """What stands on the backbone and makes pattern 2."""

    NONE = "none"
    SDTPS = "sdtps"


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Sizes and switches of one network; checks itself on creation.

    `image_size` and `patch` in pixels (height, width); `width`: channels of the ViT's blocks; `channels`: C, of the tokens
    it puts out; `cameras`: number of camera embeddings, 0 for none; `sie_coe`: factor on the camera embedding;
    `sparse_ratio`, `aggregation_ratio`, `beta`: SDTPS (see `models.sdtps`); `mean`, `std`: of pixels in [0, 1].
    """

    image_size: tuple[int, int] = (256, 128)
    patch: int = 16
    width: int = 768
    depth: int = 12
    channels: int = 512
    cameras: int = 0
    sie_coe: float = 1.0
    global_local: bool = True
    head: Head = Head.SDTPS
    sparse_ratio: float = 0.5
    aggregation_ratio: float = 0.4
    beta: float = 0.25
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        object.__setattr__(self, "head", Head(self.head))
        if any(side % self.patch for side in self.image_size):
            raise ConfigError(f"image size {self.image_size} is not a multiple of the patch, {self.patch} pixels", "SIZE_TEST")
        if self.width % HEAD_WIDTH:
            raise ConfigError(f"width {self.width} is not a multiple of {HEAD_WIDTH}, the width of an attention head", "width")
        for name in ("sparse_ratio", "aggregation_ratio"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"{name} must be over 0 and at most 1, not {getattr(self, name)}", name)
        if self.head is Head.SDTPS and self.aggregated < 1:
            raise ConfigError(f"{self.patches} patches leave no token after aggregation: raise the ratios", "SDTPS_AGGR_RATIO")

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.image_size[0] // self.patch, self.image_size[1] // self.patch

    @property
    def patches(self) -> int:
        """N, the number of patches."""
        return self.grid[0] * self.grid[1]

    @property
    def kept(self) -> int:
        """K, the number of patches that SDTPS keeps."""
        return max(1, ceil(self.patches * self.sparse_ratio))

    @property
    def aggregated(self) -> int:
        """N_c, the number of tokens that SDTPS makes of the kept patches."""
        return int(self.patches * self.aggregation_ratio * self.sparse_ratio)


def read_yaml(config: str | PathLike[str] | Mapping[str, Any]) -> Mapping[str, Any]:
    """The research code's configuration, from a YAML file or as the mapping it is. Raises ConfigError."""
    if isinstance(config, Mapping):
        return config
    path = Path(config)
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: not a readable YAML file: {str(error).splitlines()[0]}", str(path)) from error
    if not isinstance(loaded, Mapping):
        raise ConfigError(f"{path}: holds no keys; expected the training configuration (MODEL, INPUT, ...)", str(path))
    return loaded


def network_config(settings: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> NetworkConfig:
    """Join the YAML's switches with the sizes that a checkpoint's shapes give (keys as published).

    Raises ConfigError for a switch that changes the network in a way that is not supported.
    """
    model, picture = settings.get("MODEL", {}), settings.get("INPUT", {})
    for key, harmless in _UNSUPPORTED.items():
        if model.get(key, harmless[0]) not in harmless:
            raise ConfigError(f"MODEL.{key}: {model[key]} is not supported", f"MODEL.{key}")
    backbone = model.get("TRANSFORMER_TYPE", "ViT-B-16")
    if backbone not in _BACKBONES:
        raise ConfigError(f"MODEL.TRANSFORMER_TYPE: {backbone} is not supported; known: {', '.join(_BACKBONES)}",
                          "MODEL.TRANSFORMER_TYPE")  # fmt: skip
    try:
        conv, proj = shapes["BACKBONE.base.conv1.weight"], shapes["BACKBONE.base.proj"]
    except KeyError as missing:
        raise ConfigError(f"no {missing} in the checkpoint: not a network of the family on CLIP's ViT", str(missing)) from None
    blocks = {key.split(".")[4] for key in shapes if key.startswith("BACKBONE.base.transformer.resblocks.")}
    has_cameras = bool(model.get("SIE_CAMERA", False))
    return NetworkConfig(
        image_size=_pair(picture.get("SIZE_TEST", (256, 128))),
        patch=conv[2],
        width=conv[0],
        depth=len(blocks),
        channels=proj[1],
        cameras=shapes.get("BACKBONE.cv_embed", (0,))[0] if has_cameras else 0,
        sie_coe=float(model.get("SIE_COE", 1.0)),
        global_local=bool(model.get("GLOBAL_LOCAL", False)),
        head=Head.SDTPS if model.get("USE_SDTPS", False) else Head.NONE,
        sparse_ratio=float(model.get("SDTPS_SPARSE_RATIO", 0.5)),
        aggregation_ratio=float(model.get("SDTPS_AGGR_RATIO", 0.4)),
        beta=float(model.get("SDTPS_BETA", 0.25)),
        mean=_triple(picture.get("PIXEL_MEAN", (0.5, 0.5, 0.5))),
        std=_triple(picture.get("PIXEL_STD", (0.5, 0.5, 0.5))),
    )


def yaml_of(config: NetworkConfig) -> dict[str, Any]:
    """The research code's YAML, as a mapping, for a network: what `network_config` reads back."""
    return {
        "MODEL": {
            "TRANSFORMER_TYPE": "ViT-B-16",
            "STRIDE_SIZE": [config.patch, config.patch],
            "SIE_CAMERA": config.cameras > 0,
            "SIE_COE": config.sie_coe,
            "GLOBAL_LOCAL": config.global_local,
            "USE_SDTPS": config.head is Head.SDTPS,
            "SDTPS_SPARSE_RATIO": config.sparse_ratio,
            "SDTPS_AGGR_RATIO": config.aggregation_ratio,
            "SDTPS_BETA": config.beta,
        },
        "INPUT": {
            "SIZE_TEST": list(config.image_size),
            "PIXEL_MEAN": list(config.mean),
            "PIXEL_STD": list(config.std),
        },
        "TEST": {"NECK_FEAT": "before", "FEAT_NORM": "yes"},
    }


def _pair(values: Any) -> tuple[int, int]:
    height, width = (int(v) for v in values)
    return height, width


def _triple(values: Any) -> tuple[float, float, float]:
    first, second, third = (float(v) for v in values)
    return first, second, third
