"""The arms of the comparison: what each changes against the common recipe, and nothing else.

The common recipe is SDTPS with the scores carrying gradient (`full`) and the sound straight-through
estimate (Gumbel on), from one pretrained backbone, at the notes' ratio of learning rates.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

Changes = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Arm:
    """`what` it changes, in words, and `changes` to the common recipe, by section.

    `backbone_lr_share`: the backbone's rate as a share of the head's, where the arm changes it.
    """

    what: str
    changes: Changes
    backbone_lr_share: float | None = None


#: The failing run's mask and precision; float16 is emulated, so that it can be shown on a CPU.
_PUBLISHED: Final = {
    "sdtps": {"attention_gradient": "none", "gumbel": "published"},
    "runtime": {"precision": "emulated-float16"},
}
_NONE: Final = {"sdtps": {"attention_gradient": "none", "gumbel": "on"}}

ARMS: Final[dict[str, Arm]] = {
    "control": Arm("DeMo's own head, HDM + ATMoE", {"network": {"head": "hdm+atm"}}),
    "none": Arm("scores detached", _NONE),
    "self": Arm(
        "only the own score carries gradient",
        {"sdtps": {"attention_gradient": "self", "gumbel": "on"}},
    ),
    "full": Arm("all scores carry gradient", {}),
    "relaxed": Arm(
        "full, ratios 0.7 and 0.5", {"network": {"sparse_ratio": 0.7, "aggregation_ratio": 0.5}}
    ),
    "sdtps delay": Arm(
        "full, the head joins after 5 epochs", {"schedule": {"sdtps_delay_epochs": 5}}
    ),
    "as published": Arm("scores detached, the 1e10 mask, float16 (emulated)", _PUBLISHED),
    "gumbel off": Arm(
        "scores detached, Gumbel off", {"sdtps": {"attention_gradient": "none", "gumbel": "off"}}
    ),
    "full, gumbel off": Arm(
        "all scores carry gradient, Gumbel off",
        {"sdtps": {"attention_gradient": "full", "gumbel": "off"}},
    ),
    "warm-up 10": Arm(
        "scores detached, learning-rate warm-up 10 epochs, not 3",
        {**_NONE, "schedule": {"warmup_epochs": 10}},
    ),
    "faster backbone": Arm(
        "scores detached, the backbone at a tenth of the head's rate, not a 70th",
        _NONE,
        backbone_lr_share=0.1,
    ),
    "batch 2 x 4": Arm(
        "scores detached, batch 2 x 4, not 4 x 4", {**_NONE, "batch": {"identities": 2}}
    ),
    "mask alone": Arm(
        "scores detached, the 1e10 mask, float32",
        {"sdtps": {"attention_gradient": "none", "gumbel": "published"}},
    ),
    "mask, scores attached": Arm(
        "all scores carry gradient, the 1e10 mask, float32",
        {"sdtps": {"attention_gradient": "full", "gumbel": "published"}},
    ),
    "failing run": Arm(
        "as published, warm-up 10, batch 2 x 4",
        {**_PUBLISHED, "schedule": {"warmup_epochs": 10}, "batch": {"identities": 2}},
    ),
    "frozen": Arm(
        "scores detached, the backbone not trained at all", {**_NONE, "optimizer": {"frozen": True}}
    ),
}


def make_arm_settings(common: Mapping[str, Any], arm: str, seed: int) -> dict[str, Any]:
    """The settings of one run, as a mapping. Raises KeyError for an arm that does not exist."""
    changed: dict[str, Any] = {**deepcopy(dict(common)), "seed": seed}
    for section, values in ARMS[arm].changes.items():
        changed[section] = {**changed.get(section, {}), **values}
    if ARMS[arm].backbone_lr_share is not None:
        changed["optimizer"]["backbone_lr"] = (
            ARMS[arm].backbone_lr_share * changed["optimizer"]["lr"]
        )
    if changed["network"]["head"] != "sdtps":
        changed.pop("sdtps")
    return changed
