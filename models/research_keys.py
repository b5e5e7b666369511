"""The keys of the research code's YAML: which of them are read, and which only training uses."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from trireid.models.yaml_file import Settings
from trireid.samples import ConfigError

#: Sections that say something about the network, and their keys that are read.
READ: Final[Mapping[str, tuple[str, ...]]] = {
    "MODEL": (
        *(
            "TRANSFORMER_TYPE",
            "STRIDE_SIZE",
            "SIE_CAMERA",
            "SIE_COE",
            "GLOBAL_LOCAL",
            "HDM",
            "ATM",
            "HEAD",
            "USE_SDTPS",
        ),
        *(
            "SDTPS_SPARSE_RATIO",
            "SDTPS_AGGR_RATIO",
            "SDTPS_BETA",
            "SDTPS_CROSS_ATTN_TYPE",
            "PROMPT",
            "ADAPTER",
            "SIE_VIEW",
        ),
        *("JPM", "USE_SACR", "USE_MULTIMODAL_SACR", "USE_LIF", "USE_DGAF"),
    ),
    "INPUT": ("SIZE_TEST", "PIXEL_MEAN", "PIXEL_STD"),
    "TEST": ("NECK_FEAT", "FEAT_NORM"),
}
#: Keys of those sections that only training and the research code's own evaluation use.
TRAINING: Final[Mapping[str, tuple[str, ...]]] = {
    "MODEL": (
        *(
            "DEVICE",
            "DEVICE_ID",
            "NAME",
            "LAST_STRIDE",
            "NECK",
            "FROZEN",
            "DIRECT",
            "DIST_TRAIN",
            "NO_MARGIN",
            "COS_LAYER",
        ),
        *(
            "PRETRAIN_PATH",
            "PRETRAIN_PATH_T",
            "PRETRAIN_CHOICE",
            "IF_WITH_CENTER",
            "IF_LABELSMOOTH",
            "METRIC_LOSS_TYPE",
        ),
        *(
            "ID_LOSS_TYPE",
            "ID_LOSS_WEIGHT",
            "TRIPLET_LOSS_WEIGHT",
            "SDTPS_LOSS_WEIGHT",
            "LIF_LOSS_WEIGHT",
        ),
        *(
            "DROP_PATH",
            "DROP_OUT",
            "ATT_DROP_RATE",
            "SDTPS_USE_GUMBEL",
            "SDTPS_GUMBEL_TAU",
            "SDTPS_CROSS_ATTN_HEADS",
        ),
        *(
            "SACR_DILATION_RATES",
            "MULTIMODAL_SACR_VERSION",
            "LIF_BETA",
            "LIF_LAYER",
            "DGAF_VERSION",
            "DGAF_TAU",
        ),
        *(
            "DGAF_INIT_ALPHA",
            "DGAF_NUM_HEADS",
            "SHIFT_NUM",
            "SHUFFLE_GROUP",
            "DEVIDE_LENGTH",
            "RE_ARRANGE",
        ),
    ),
    "INPUT": ("SIZE_TRAIN", "PROB", "RE_PROB", "PADDING"),
    "TEST": ("IMS_PER_BATCH", "RE_RANKING", "WEIGHT", "DIST_MAT", "EVAL", "MISS"),
}
_TRAINING_SECTIONS: Final = ("SOLVER", "DATASETS", "DATALOADER", "OUTPUT_DIR")
_LIKE: Final = 0.85
_LISTED: Final = 8

log = logging.getLogger(__name__)


def check_keys(settings: Settings) -> None:
    """Check that no key is one that is read, misspelt; warn of those that are not known.

    Raises:
        ConfigError: a key is like one that is read, or no section is one of the research code's.
    """
    unknown = [key for key in settings if key not in READ and key not in _TRAINING_SECTIONS]
    for key in unknown:
        _raise_if_like(key, tuple(READ), key)
    if not READ.keys() & settings.keys():
        raise ConfigError(
            "the configuration holds none of MODEL, INPUT and TEST; expected the YAML that the "
            "network was trained with",
            "config",
        )
    for section in READ.keys() & settings.keys():
        unknown += _unknown_names(section, settings[section])
    if unknown:
        more = f" and {len(unknown) - _LISTED} more" if len(unknown) > _LISTED else ""
        log.warning(
            "keys of the configuration that are not known are passed over: %s%s",
            ", ".join(unknown[:_LISTED]),
            more,
        )


def check_overrides(settings: Settings, pairs: Sequence[str]) -> None:
    """Check that overrides name keys of the research code, or of the YAML. Raises ConfigError."""
    for key in pairs[::2]:
        section, _, name = key.partition(".")
        known = (*READ.get(section, ()), *TRAINING.get(section, ()))
        part = settings.get(section)
        if (
            name in known
            or section in _TRAINING_SECTIONS
            or (isinstance(part, Mapping) and name.split(".")[0] in part)
        ):
            continue
        near = difflib.get_close_matches(
            key, [f"{part}.{each}" for part in READ for each in READ[part]], 1
        )
        hint = f"; is {near[0]} meant?" if near else f"; sections are {', '.join(READ)}"
        raise ConfigError(f"--opts: {key} is not a key of the research code{hint}", key)


def _unknown_names(section: str, part: Any) -> list[str]:
    if not isinstance(part, Mapping):
        return []
    names = [
        str(name) for name in part if name not in READ[section] and name not in TRAINING[section]
    ]
    for name in names:
        _raise_if_like(name, READ[section], f"{section}.{name}")
    return [f"{section}.{name}" for name in names]


def _raise_if_like(name: str, known: Sequence[str], key: str) -> None:
    near = difflib.get_close_matches(name.upper(), known, 1, _LIKE)
    if near:
        raise ConfigError(f"{key}: not a key of the research code; is {near[0]} meant?", key)
