"""A run's network before its first step."""

from __future__ import annotations

from pathlib import Path

import torch

from models import Head, ReIdNetwork, load_checkpoint, load_start_weights, yaml_of
from models.files import read_weights
from training.optimiser import freeze
from training.settings import Settings

_FAMILY = "BACKBONE."


def start_network(settings: Settings) -> ReIdNetwork:
    """The network with its start weights, its switches set. Raises CheckpointError and ConfigError."""
    torch.manual_seed(settings.seed)
    network = ReIdNetwork(settings.network)
    if settings.start is not None:
        _fill(network, Path(settings.start))
    if settings.network.head is Head.SDTPS:
        network.sdtps.train_with(settings.sdtps.attention_gradient, settings.sdtps.gumbel, settings.sdtps.tau)
    if settings.optimiser.frozen:
        freeze(network)
    return network


def _fill(network: ReIdNetwork, path: Path) -> None:
    """A checkpoint of the family fills the whole network, and must be of the same one; any other fills the backbone."""
    if path.is_file() and path.suffix != ".pt" and any(key.startswith(_FAMILY) for key in read_weights(path)):
        network.load_state_dict(load_checkpoint(path, yaml_of(network.config)).state_dict())
    else:
        load_start_weights(network, path)
