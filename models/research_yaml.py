"""The research code's YAML: its keys that describe the network of a checkpoint, compared with the
checkpoint's shapes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, TypeVar

from trireid.models.config import Backbone, Head, NetworkConfig
from trireid.models.research_keys import check_keys, check_overrides
from trireid.models.yaml_file import (
    OverriddenSettings,
    Settings,
    decode_literal,
    override,
    read_yaml,
)
from trireid.samples import ConfigError

Shapes = Mapping[str, tuple[int, ...]]
Value = TypeVar("Value")

#: Keys that change the network in a way that this package does not build, and the values that leave
#: it as it is.
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    **{f"MODEL.{name}": (False, None) for name in ("PROMPT", "ADAPTER", "SIE_VIEW", "JPM")},
    **{f"MODEL.USE_{name}": (False, None) for name in ("SACR", "MULTIMODAL_SACR", "LIF", "DGAF")},
    "MODEL.SDTPS_CROSS_ATTN_TYPE": ("cosine",),
    "TEST.NECK_FEAT": ("before",),
}
_NORM = "TEST.FEAT_NORM"
_SDTPS, _HDM, _ATM, _LOCAL = "MODEL.USE_SDTPS", "MODEL.HDM", "MODEL.ATM", "MODEL.GLOBAL_LOCAL"
#: Switches that shapes show: the prefix of their keys in a checkpoint.
_SHOWN = {
    _SDTPS: "sdtps.",
    _HDM: "generalFusion.",
    _ATM: "generalFusion.moe.",
    _LOCAL: "rgb_reduce.",
}
_EXPERTS = "generalFusion.moe.experts."
#: The research code's defaults, of keys that are absent and that shapes do not tell.
_SIE_COE, _HEADS, _SIZE, _STRIDE = 3.0, 12, (256, 128), 16
_ABSENT = object()
_POSITIONS = "BACKBONE.base.pos_embed"
_LAYER_SCALE = "BACKBONE.base.blocks.0.ls1.gamma"
#: Keys that tell the backbones apart: the first whose keys are all there is the one.
_LAYOUTS = {
    Backbone.CLIP: {"BACKBONE.base.conv1.weight"},
    Backbone.DINOV2: {_LAYER_SCALE, _POSITIONS},
    Backbone.DINOV3: {_LAYER_SCALE},
    Backbone.IMAGENET: {"BACKBONE.base.patch_embed.proj.weight"},
}


def read_research_yaml(
    config: str | PathLike[str] | Settings, overrides: Sequence[str] = ()
) -> Settings:
    """Return the training configuration with `KEY VALUE` pairs in place of its own values, as on
    the command line.

    Args:
        config: As of `read_yaml`.
        overrides: Pairs, as in `["MODEL.SIE_COE", "1.0"]`.

    Raises:
        ConfigError: the file cannot be read, or an override is not a pair or names a key that does
            not exist.
    """
    settings = read_yaml(config)
    check_overrides(settings, overrides)
    return override(settings, overrides)


def network_config(settings: Settings, shapes: Shapes) -> NetworkConfig:
    """Join the YAML's switches with the sizes that a checkpoint's shapes give (keys as published).

    A key that is absent follows the shapes where they tell it, and else has the research code's
    default. Keys that do not change the network are passed over; those that are not known are named
    in a warning.

    Raises:
        ConfigError: a key changes the network in a way that is not supported, is not known but like
            one that is, or has a value that makes no sense; or, with both values, YAML and shapes
            disagree.
    """
    expanded = _expand_nodes(settings)
    settings = (
        OverriddenSettings(expanded, settings.overridden)
        if isinstance(settings, OverriddenSettings)
        else expanded
    )
    check_keys(settings)
    _check_supported(settings, shapes)
    backbone = _read_backbone(settings, shapes)
    sizes = (
        _infer_clip_sizes(shapes) if backbone is Backbone.CLIP else _infer_imagenet_sizes(shapes)
    )
    table = "BACKBONE.cv_embed" if backbone is Backbone.CLIP else "BACKBONE.base.sie_embed"
    sees_cameras = _read_value(settings, "MODEL.SIE_CAMERA", table in shapes, _parse_bool)
    cameras = shapes.get(table, (0,))[0] if sees_cameras else 0
    head = _read_head(settings, shapes)
    # The fingerprint covers the whole configuration: of a part that the network lacks, a default
    # stays what it was.
    factor = _SIE_COE if cameras else NetworkConfig.sie_coe
    heads = (
        _count_modules(shapes, _EXPERTS) or _HEADS
        if head is Head.HDM_ATM
        else NetworkConfig.moe_heads
    )
    config = NetworkConfig(
        backbone=backbone,
        **sizes,
        image_size=_read_value(settings, "INPUT.SIZE_TEST", _SIZE, _parse_pair),
        stride=_read_value(settings, "MODEL.STRIDE_SIZE", _STRIDE, _parse_stride),
        cameras=cameras,
        sie_coe=_read_value(settings, "MODEL.SIE_COE", factor, _parse_number),
        global_local=_read_switch(settings, shapes, _LOCAL),
        head=head,
        sparse_ratio=_read_value(settings, "MODEL.SDTPS_SPARSE_RATIO", 0.5, _parse_number),
        aggregation_ratio=_read_value(settings, "MODEL.SDTPS_AGGR_RATIO", 0.4, _parse_number),
        beta=_read_value(settings, "MODEL.SDTPS_BETA", 0.25, _parse_number),
        moe_heads=_read_value(settings, "MODEL.HEAD", heads, _parse_int),
        mean=_read_value(settings, "INPUT.PIXEL_MEAN", (0.5, 0.5, 0.5), _parse_triple),
        std=_read_value(settings, "INPUT.PIXEL_STD", (0.5, 0.5, 0.5), _parse_triple),
    )
    _check_agreement(settings, config, shapes, sees_cameras and backbone is Backbone.CLIP, table)
    return config


def to_research_yaml(config: NetworkConfig) -> dict[str, Any]:
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


def _expand_nodes(settings: Settings) -> Settings:
    """Sections as mappings also where the configuration came as yacs nodes."""
    return {
        key: dict(part) if isinstance(part, Mapping) else part for key, part in settings.items()
    }


def _check_supported(settings: Settings, shapes: Shapes) -> None:
    for key, harmless in _UNSUPPORTED.items():
        value = _find_value(settings, key)
        if value is not _ABSENT and _parse_switch(value) not in harmless:
            raise ConfigError(f"{key}: {value} is not supported; it changes the network", key)
    norm = _find_value(settings, _NORM)
    if norm is not _ABSENT and _parse_switch(norm) is not True:
        raise ConfigError(
            f"{_NORM}: {norm!r} compares by distances that are not cosines, and embeddings here "
            "are of unit length; "
            f"take that by {_NORM}: 'yes' (--opts {_NORM} yes)",
            _NORM,
        )
    lora = next((key for key in shapes if "lora" in key.lower()), None)
    if lora:
        raise ConfigError(
            f"MODEL.FROZEN: LoRA weights are not supported, and the checkpoint holds {lora}",
            "MODEL.FROZEN",
        )


def _read_backbone(settings: Settings, shapes: Shapes) -> Backbone:
    key = "MODEL.TRANSFORMER_TYPE"
    held = next((each for each, layout in _LAYOUTS.items() if shapes.keys() >= layout), None)
    name = _read_value(settings, key, (held or Backbone.IMAGENET).value, str)
    if name not in list(Backbone):
        raise ConfigError(f"{key}: {name} is not supported; known: {', '.join(Backbone)}", key)
    if held is not None and held != name:
        raise _describe_disagreement(settings, key, name, held)
    if held is None:
        raise ConfigError(
            f"no {' and '.join(sorted(_LAYOUTS[Backbone(name)]))} in the checkpoint: it holds no "
            "backbone of the family",
            "BACKBONE",
        )
    return Backbone(name)


def _read_head(settings: Settings, shapes: Shapes) -> Head:
    sdtps, hdm, atm = (_read_switch(settings, shapes, key) for key in (_SDTPS, _HDM, _ATM))
    if sdtps and (hdm or atm):
        raise ConfigError(f"{_SDTPS}: cannot be on together with HDM or ATM", _SDTPS)
    if atm and not hdm:
        raise ConfigError(f"{_ATM}: needs HDM to be on", _ATM)
    if sdtps:
        return Head.SDTPS
    return Head.HDM_ATM if atm else Head.HDM if hdm else Head.NONE


def _read_switch(settings: Settings, shapes: Shapes, key: str) -> bool:
    """Read a switch of the YAML, else infer it from the keys that it adds to a checkpoint."""
    return _read_value(
        settings, key, any(name.startswith(_SHOWN[key]) for name in shapes), _parse_bool
    )


def _infer_clip_sizes(shapes: Shapes) -> dict[str, int]:
    width, _, patch, _ = _get_shape(shapes, "BACKBONE.base.conv1.weight", 4)
    _, channels = _get_shape(shapes, "BACKBONE.base.proj", 2)
    return {
        "patch": patch,
        "width": width,
        "channels": channels,
        "depth": _count_modules(shapes, "BACKBONE.base.transformer.resblocks."),
    }


def _infer_imagenet_sizes(shapes: Shapes) -> dict[str, int]:
    width, _, patch, _ = _get_shape(shapes, "BACKBONE.base.patch_embed.proj.weight", 4)
    table = "BACKBONE.base.register_tokens"
    return {
        "patch": patch,
        "width": width,
        "channels": width,
        "depth": _count_modules(shapes, "BACKBONE.base.blocks."),
        "registers": _get_shape(shapes, table, 3)[1] if table in shapes else 0,
    }


def _check_agreement(
    settings: Settings, config: NetworkConfig, shapes: Shapes, needs_cameras: bool, table: str
) -> None:
    """Raise where a switch says one thing and the checkpoint's keys and shapes another."""
    switches = {
        _SDTPS: config.head is Head.SDTPS,
        _HDM: config.head in (Head.HDM, Head.HDM_ATM),
        _ATM: config.head is Head.HDM_ATM,
        _LOCAL: config.global_local,
    }
    for key, wanted in switches.items():
        prefix = _SHOWN[key]
        if wanted != any(name.startswith(prefix) for name in shapes):
            raise _describe_disagreement(
                settings,
                key,
                wanted,
                not wanted,
                f" ({prefix}* is {'absent' if wanted else 'there'})",
            )
    if needs_cameras != (table in shapes) and (needs_cameras or not config.cameras):
        raise _describe_disagreement(
            settings, "MODEL.SIE_CAMERA", needs_cameras, table in shapes, f" ({table})"
        )
    positions = (
        "BACKBONE.base.positional_embedding" if config.backbone is Backbone.CLIP else _POSITIONS
    )
    tokens = shapes.get(positions, (0, 0, 0))[-2]
    if tokens != config.patches + 1 and config.backbone is not Backbone.DINOV3:
        size = "x".join(map(str, config.image_size))
        wanted_patches = f"{config.patches} patches ({size}, stride {config.stride})"
        raise _describe_disagreement(
            settings, "INPUT.SIZE_TEST", wanted_patches, max(0, tokens - 1)
        )
    if config.head is Head.SDTPS:
        aggregated = shapes.get("sdtps.rgb_aggr.weight.3.weight", (config.aggregated,))[0]
        if aggregated != config.aggregated:
            raise _describe_disagreement(
                settings, "MODEL.SDTPS_AGGR_RATIO", f"{config.aggregated} tokens", aggregated
            )
    if config.head is Head.HDM_ATM and _count_modules(shapes, _EXPERTS) != config.moe_heads:
        raise _describe_disagreement(
            settings, "MODEL.HEAD", config.moe_heads, _count_modules(shapes, _EXPERTS)
        )


def _describe_disagreement(
    settings: Settings, key: str, wanted: object, held: object, note: str = ""
) -> ConfigError:
    says = (
        "the research code's default is"
        if _find_value(settings, key) is _ABSENT
        else "the YAML says"
    )
    if isinstance(settings, OverriddenSettings) and key in settings.overridden:
        says = "--opts says"
    return ConfigError(f"{key}: {says} {wanted}, the checkpoint {held}{note}", key)


def _get_shape(shapes: Shapes, key: str, rank: int) -> tuple[int, ...]:
    if key not in shapes or len(shapes[key]) != rank:
        raise ConfigError(f"{key}: missing from the checkpoint, or not of {rank} dimensions", key)
    return shapes[key]


def _count_modules(shapes: Shapes, prefix: str) -> int:
    """How many numbered modules stand under a prefix."""
    return len({key.removeprefix(prefix).split(".")[0] for key in shapes if key.startswith(prefix)})


def _find_value(settings: Settings, key: str) -> Any:
    """The value of a key, as yacs reads it, or _ABSENT."""
    section, name = key.split(".")
    part = settings.get(section)
    if part is None:
        return _ABSENT
    if not isinstance(part, Mapping):
        raise ConfigError(f"{section}: expected keys below it, not {str(part)[:60]!r}", section)
    return decode_literal(part[name]) if name in part else _ABSENT


def _read_value(
    settings: Settings, key: str, default: Value, convert: Callable[[Any], Value]
) -> Value:
    given = _find_value(settings, key)
    if given is _ABSENT:
        return default
    try:
        return convert(given)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"{key}: {repr(given)[:60]} makes no sense there", key) from error


def _parse_switch(value: Any) -> Any:
    """yes and no in each of their forms as booleans; anything else as it is."""
    words = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}
    if isinstance(value, str):
        return words.get(value.lower(), value)
    return bool(value) if type(value) is int and value in (0, 1) else value


def _parse_bool(value: Any) -> bool:
    switch = _parse_switch(value)
    if not isinstance(switch, bool):
        raise ValueError(value)
    return switch


def _parse_number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(value)
    return float(value)


def _parse_int(value: Any) -> int:
    number = _parse_number(value)
    if not number.is_integer():
        raise ValueError(value)
    return int(number)


def _parse_pair(values: Any) -> tuple[int, int]:
    height, width = (values, values) if isinstance(values, int | float) else values
    return _parse_int(height), _parse_int(width)


def _parse_stride(values: Any) -> int:
    height, width = _parse_pair(
        values[0] if isinstance(values, list | tuple) and len(values) == 1 else values
    )
    if height != width:
        raise ValueError(values)
    return height


def _parse_triple(values: Any) -> tuple[float, float, float]:
    first, second, third = (values,) * 3 if isinstance(values, int | float) else values
    return _parse_number(first), _parse_number(second), _parse_number(third)
