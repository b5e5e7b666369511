"""A run's network, and its necks and classifiers, before its first step."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch

from trireid.models import (
    Head,
    ReIdNetwork,
    load_checkpoint,
    load_pretrained_weights,
    to_research_yaml,
)
from trireid.models.files import read_weights
from trireid.models.pretrained import copy_weights
from trireid.training.files import read_content
from trireid.training.loss_heads import LossHeads
from trireid.training.optimizer import freeze, freeze_blocks
from trireid.training.settings import Settings

_FAMILY: Final = "BACKBONE."
#: Settings that determine the identities of a run and their order.
_SAME: Final = ("source", "world", "shots", "validation_identities")


def initialize_network(settings: Settings) -> ReIdNetwork:
    """The network with its start weights, its switches set.

    Raises CheckpointError and ConfigError.
    """
    torch.manual_seed(settings.seed)
    network = ReIdNetwork(settings.network)
    if settings.pretrained is not None:
        _load_pretrained(network, Path(settings.pretrained), settings.pretrained_weights)
    if settings.network.head is Head.SDTPS:
        network.sdtps.train_with(
            settings.sdtps.attention_gradient, settings.sdtps.gumbel, settings.sdtps.tau
        )
    if settings.optimizer.frozen:
        freeze(network)
    if settings.optimizer.frozen_blocks:
        freeze_blocks(network, settings.optimizer.frozen_blocks)
    return network


def initialize_loss_heads(loss_heads: LossHeads, settings: Settings) -> None:
    """Fill necks and classifiers from a start checkpoint that was trained on the same identities;
    else they stay new.
    """
    content = {} if settings.pretrained is None else read_content(Path(settings.pretrained))
    data = content.get("training", {}).get("data", {})
    if all(data.get(key) == value for key, value in _describe_identities(settings).items()):
        loss_heads.load_published_state(content["state_dict"])


def _describe_identities(settings: Settings) -> dict[str, Any]:
    return {key: getattr(settings.data, key) for key in _SAME}


def _load_pretrained(network: ReIdNetwork, path: Path, chosen: str | None) -> None:
    """A checkpoint of the family fills what it holds of the network; any other fills the backbone.

    One that carries its own configuration may be of another image size or head
    (`trireid.models.pretrained.copy_weights`); one that does not must be of the same network.
    """
    if (
        path.is_file()
        and path.suffix != ".pt"
        and any(key.startswith(_FAMILY) for key in read_weights(path, chosen))
    ):
        content = read_content(path)
        config = content["config"] if "training" in content else to_research_yaml(network.config)
        copy_weights(network, load_checkpoint(path, config, weights=chosen), path)
    else:
        load_pretrained_weights(network, path, weights=chosen)
