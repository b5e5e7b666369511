"""The research code's YAML: which of its keys say what network a checkpoint holds, held against the checkpoint's shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import yaml

from models.config import Backbone, Head, NetworkConfig
from samples import ConfigError
from samples.files import MAX_TEXT_BYTES, read_regular

Settings = Mapping[str, Any]
Shapes = Mapping[str, tuple[int, ...]]
Value = TypeVar("Value")

#: Keys that change the network in a way that this package does not build, and the values that leave it as it is.
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "MODEL.PROMPT": (False, None),
    "MODEL.ADAPTER": (False, None),
    "MODEL.SIE_VIEW": (False, None),
    "MODEL.JPM": (False, None),
    "TEST.NECK_FEAT": ("before",),
}


def read_yaml(config: str | PathLike[str] | Settings) -> Settings:
    """The research code's configuration, from a YAML file or as the mapping it is. Raises ConfigError."""
    if isinstance(config, Mapping):
        return config
    path = Path(config)
    try:
        loaded = yaml.safe_load(read_regular(path, MAX_TEXT_BYTES).decode())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", str(path)) from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: not a YAML file: {str(error).splitlines()[0]}", str(path)) from error
    if not isinstance(loaded, Mapping):
        raise ConfigError(f"{path}: holds no keys; expected the training configuration (MODEL, INPUT, ...)", str(path))
    return loaded


def network_config(settings: Settings, shapes: Shapes) -> NetworkConfig:
    """Join the YAML's switches with the sizes that a checkpoint's shapes give (keys as published).

    Keys that do not change the network are passed over. Raises ConfigError for one that changes it in a way that is not
    supported, for a value that makes no sense, and, with both values, where YAML and shapes disagree.
    """
    for key, harmless in _UNSUPPORTED.items():
        value = _value(settings, key, harmless[0], lambda given: given)
        if value not in harmless:
            raise ConfigError(f"{key}: {value} is not supported; it changes the network", key)
    lora = next((key for key in shapes if "lora" in key.lower()), None)
    if lora:
        raise ConfigError(f"MODEL.FROZEN: LoRA weights are not supported, and the checkpoint holds {lora}", "MODEL.FROZEN")
    backbone = _backbone(settings, shapes)
    sizes = _clip_sizes(shapes) if backbone is Backbone.CLIP else _imagenet_sizes(shapes)
    table = "BACKBONE.cv_embed" if backbone is Backbone.CLIP else "BACKBONE.base.sie_embed"
    sees_cameras = _value(settings, "MODEL.SIE_CAMERA", False, _boolean)
    config = NetworkConfig(
        backbone=backbone,
        **sizes,
        image_size=_value(settings, "INPUT.SIZE_TEST", (256, 128), _pair),
        stride=_value(settings, "MODEL.STRIDE_SIZE", 16, _stride),
        cameras=shapes.get(table, (0,))[0] if sees_cameras else 0,
        sie_coe=_value(settings, "MODEL.SIE_COE", 1.0, float),
        global_local=_value(settings, "MODEL.GLOBAL_LOCAL", False, _boolean),
        head=_head(settings),
        sparse_ratio=_value(settings, "MODEL.SDTPS_SPARSE_RATIO", 0.5, float),
        aggregation_ratio=_value(settings, "MODEL.SDTPS_AGGR_RATIO", 0.4, float),
        beta=_value(settings, "MODEL.SDTPS_BETA", 0.25, float),
        moe_heads=_value(settings, "MODEL.HEAD", 4, int),
        mean=_value(settings, "INPUT.PIXEL_MEAN", (0.5, 0.5, 0.5), _triple),
        std=_value(settings, "INPUT.PIXEL_STD", (0.5, 0.5, 0.5), _triple),
    )
    _agree(config, shapes, sees_cameras and backbone is Backbone.CLIP, table)
    return config


def yaml_of(config: NetworkConfig) -> dict[str, Any]:
    """The research code's YAML, as a mapping, for a network: what `network_config` reads back."""
    return {
        "MODEL": {
            "TRANSFORMER_TYPE": config.backbone.value,
            "STRIDE_SIZE": [config.stride, config.stride],
            "SIE_CAMERA": config.cameras > 0,
            "SIE_COE": config.sie_coe,
            "GLOBAL_LOCAL": config.global_local,
            "HDM": config.head in (Head.HDM, Head.HDM_ATM),
            "ATM": config.head is Head.HDM_ATM,
            "HEAD": config.moe_heads,
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


def _backbone(settings: Settings, shapes: Shapes) -> Backbone:
    name = _value(settings, "MODEL.TRANSFORMER_TYPE", Backbone.CLIP.value, str)
    if name not in list(Backbone):
        raise ConfigError(
            f"MODEL.TRANSFORMER_TYPE: {name} is not supported; known: {', '.join(Backbone)}", "MODEL.TRANSFORMER_TYPE"
        )
    layouts = {Backbone.CLIP: "BACKBONE.base.conv1.weight", Backbone.IMAGENET: "BACKBONE.base.patch_embed.proj.weight"}
    held = next((backbone for backbone, key in layouts.items() if key in shapes), None)
    if held is not None and held != name:
        raise _disagreement("MODEL.TRANSFORMER_TYPE", name, held)
    if held is None:
        raise ConfigError(f"no {layouts[Backbone(name)]} in the checkpoint: it holds no backbone of the family", "BACKBONE")
    return Backbone(name)


def _head(settings: Settings) -> Head:
    sdtps, hdm, atm = (_value(settings, f"MODEL.{key}", False, _boolean) for key in ("USE_SDTPS", "HDM", "ATM"))
    if sdtps and (hdm or atm):
        raise ConfigError("MODEL.USE_SDTPS: cannot be on together with HDM or ATM", "MODEL.USE_SDTPS")
    if atm and not hdm:
        raise ConfigError("MODEL.ATM: needs HDM to be on", "MODEL.ATM")
    if sdtps:
        return Head.SDTPS
    return Head.HDM_ATM if atm else Head.HDM if hdm else Head.NONE


def _clip_sizes(shapes: Shapes) -> dict[str, int]:
    width, _, patch, _ = _shape(shapes, "BACKBONE.base.conv1.weight", 4)
    _, channels = _shape(shapes, "BACKBONE.base.proj", 2)
    return {
        "patch": patch,
        "width": width,
        "channels": channels,
        "depth": _count(shapes, "BACKBONE.base.transformer.resblocks."),
    }


def _imagenet_sizes(shapes: Shapes) -> dict[str, int]:
    width, _, patch, _ = _shape(shapes, "BACKBONE.base.patch_embed.proj.weight", 4)
    return {"patch": patch, "width": width, "channels": width, "depth": _count(shapes, "BACKBONE.base.blocks.")}


def _agree(config: NetworkConfig, shapes: Shapes, needs_cameras: bool, table: str) -> None:
    """Raise where a switch says one thing and the checkpoint's keys and shapes another."""
    present = {
        "MODEL.USE_SDTPS": (config.head is Head.SDTPS, "sdtps."),
        "MODEL.HDM": (config.head in (Head.HDM, Head.HDM_ATM), "generalFusion."),
        "MODEL.ATM": (config.head is Head.HDM_ATM, "generalFusion.moe."),
        "MODEL.GLOBAL_LOCAL": (config.global_local, "rgb_reduce."),
    }
    for key, (wanted, prefix) in present.items():
        if wanted != any(name.startswith(prefix) for name in shapes):
            raise _disagreement(key, wanted, not wanted, f" ({prefix}* is {'absent' if wanted else 'there'})")
    if needs_cameras != (table in shapes) and (needs_cameras or not config.cameras):
        raise _disagreement("MODEL.SIE_CAMERA", needs_cameras, table in shapes, f" ({table})")
    position = {Backbone.CLIP: "BACKBONE.base.positional_embedding", Backbone.IMAGENET: "BACKBONE.base.pos_embed"}
    tokens = shapes.get(position[config.backbone], (0, 0, 0))[-2]
    if tokens != config.patches + 1:
        size = "x".join(map(str, config.image_size))
        raise _disagreement("INPUT.SIZE_TEST", f"{config.patches} patches ({size}, stride {config.stride})", max(0, tokens - 1))
    if config.head is Head.SDTPS:
        aggregated = shapes.get("sdtps.rgb_aggr.weight.3.weight", (config.aggregated,))[0]
        if aggregated != config.aggregated:
            raise _disagreement("MODEL.SDTPS_AGGR_RATIO", f"{config.aggregated} tokens", aggregated)
    if config.head is Head.HDM_ATM and _count(shapes, "generalFusion.moe.experts.") != config.moe_heads:
        raise _disagreement("MODEL.HEAD", config.moe_heads, _count(shapes, "generalFusion.moe.experts."))


def _disagreement(key: str, wanted: object, held: object, note: str = "") -> ConfigError:
    return ConfigError(f"{key}: the YAML says {wanted}, the checkpoint {held}{note}", key)


def _shape(shapes: Shapes, key: str, rank: int) -> tuple[int, ...]:
    if key not in shapes or len(shapes[key]) != rank:
        raise ConfigError(f"{key}: missing from the checkpoint, or not of {rank} dimensions", key)
    return shapes[key]


def _count(shapes: Shapes, prefix: str) -> int:
    """How many numbered modules stand under a prefix."""
    return len({key.removeprefix(prefix).split(".")[0] for key in shapes if key.startswith(prefix)})


def _value(settings: Settings, key: str, default: Value, convert: Callable[[Any], Value]) -> Value:
    section, name = key.split(".")
    part = settings.get(section, {})
    if not isinstance(part, Mapping):
        raise ConfigError(f"{section}: expected keys below it, not {part!r}", section)
    if name not in part:
        return default
    try:
        return convert(part[name])
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key}: {part[name]!r} makes no sense there", key) from error


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(value)
    return value


def _pair(values: Any) -> tuple[int, int]:
    height, width = (int(v) for v in values)
    return height, width


def _stride(values: Any) -> int:
    height, width = _pair(values)
    if height != width:
        raise ValueError(values)
    return height


def _triple(values: Any) -> tuple[float, float, float]:
    first, second, third = (float(v) for v in values)
    return first, second, third
