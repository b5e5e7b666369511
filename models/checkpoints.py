"""Checkpoints of the family: read strictly and safely, written with the published key names."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.config import network_config, read_yaml
from models.network import ReIdNetwork
from samples.errors import CheckpointError

#: Parts that only training needs: classifiers and batch-norm necks. Dropped on purpose.
TRAINING_ONLY = ("classifier", "bottleneck")
_PUBLISHED, _OURS = "BACKBONE.", "backbone."
_LISTED = 6


def load_checkpoint(path: str | PathLike[str], config: str | PathLike[str] | Mapping[str, Any]) -> ReIdNetwork:
    """The network that a checkpoint holds, in eval mode, float32.

    `path`: a `state_dict` as `torch.save` writes it, with published key names; `config`: the training YAML, as a path or as a
    mapping. Width, depth, cameras and so on follow from the shapes. Raises CheckpointError or ConfigError, naming the keys.
    """
    state = _read(Path(path))
    settings = read_yaml(config)
    network = ReIdNetwork(network_config(settings, {key: tuple(value.shape) for key, value in state.items()}))
    wanted = {key: value.float() for key, value in state.items() if not key.startswith(TRAINING_ONLY)}
    _fill(network, {_renamed(key, _PUBLISHED, _OURS): value for key, value in wanted.items()}, Path(path))
    return network.eval()


def published_state(network: ReIdNetwork) -> dict[str, Tensor]:
    """The network's weights under the published key names."""
    return {_renamed(key, _OURS, _PUBLISHED): value.detach().cpu() for key, value in network.state_dict().items()}


def _renamed(key: str, old: str, new: str) -> str:
    return new + key.removeprefix(old) if key.startswith(old) else key


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        what = "is a directory" if path.is_dir() else "does not exist"
        raise CheckpointError(f"{path}: {what}; expected a checkpoint file", os.fspath(path))
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not a checkpoint that torch can read safely (weights only)", os.fspath(path)) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: holds no state_dict (a mapping of names to tensors)", os.fspath(path))
    return dict(state)


def _fill(network: ReIdNetwork, state: dict[str, Tensor], path: Path) -> None:
    own = network.state_dict()
    faults = {
        "missing": sorted(own.keys() - state.keys()),
        "unexpected": sorted(state.keys() - own.keys()),
        "wrong shape": sorted(k for k in own.keys() & state.keys() if own[k].shape != state[k].shape),
        "not finite": sorted(k for k, value in state.items() if not bool(torch.isfinite(value).all())),
    }
    listed = [f"{name}: {_listing(keys)}" for name, keys in faults.items() if keys]
    if listed:
        raise CheckpointError(f"{path}: does not fit its configuration; {'; '.join(listed)}", os.fspath(path))
    network.load_state_dict(state)


def _listing(keys: list[str]) -> str:
    shown = [_renamed(key, _OURS, _PUBLISHED) for key in keys[:_LISTED]]
    return ", ".join(shown) + (f" and {len(keys) - _LISTED} more" if len(keys) > _LISTED else "")
