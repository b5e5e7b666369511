"""Checkpoints of the family: read strictly, written with the published key names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trireid.models.files import read_weights
from trireid.models.network import ReIdNetwork
from trireid.models.recognize import describe_keys
from trireid.models.research_yaml import network_config
from trireid.models.state import is_counter
from trireid.models.yaml_file import read_yaml
from trireid.samples import CheckpointError, ConfigError

#: Parts that only training needs: classifiers and batch-norm necks. Dropped on purpose.
TRAINING_ONLY = ("classifier", "bottleneck")
#: Published prefixes and what they are called here.
_NAMES = (("BACKBONE.", "backbone."), ("generalFusion.", "fusion."))
_LISTED = 6


def load_checkpoint(
    path: str | PathLike[str],
    config: str | PathLike[str] | Mapping[str, Any],
    *,
    weights: str | None = None,
) -> ReIdNetwork:
    """Build the network that a checkpoint holds, in eval mode, float32.

    Width, depth, heads, cameras and so on follow from the shapes. Necks and classifiers are
    dropped; any other key that is missing, unexpected, of a wrong shape or not finite is an error.

    Args:
        path: Weights with the published key names, of `torch.save` or safetensors, in any wrapping
            (docs/checkpoints.md).
        config: The training YAML, as a path or as a mapping.
        weights: Which set of weights, if the file holds several, as in `ema`.

    Raises:
        CheckpointError: the file cannot be read, or its keys do not fit; lists the keys and says
            what the file looks like.
        ConfigError: names the YAML's key, with both values where YAML and checkpoint disagree.
    """
    file = Path(path)
    settings = read_yaml(config)
    state = {_to_published_name(key): value for key, value in read_weights(file, weights).items()}
    state = {key: value for key, value in state.items() if not key.startswith(TRAINING_ONLY)}
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    try:
        built = network_config(settings, shapes)
        with torch.device("meta"):  # nothing is allocated before the shapes fit
            state = _select(
                ReIdNetwork(built), {_to_own_name(key): value for key, value in state.items()}, file
            )
    except ConfigError as error:
        raise ConfigError(
            f"{file}: {error.message}; the file looks like {describe_keys(shapes)}", error.field
        ) from error
    network = ReIdNetwork(built)
    # but for counters all is there
    network.load_state_dict({key: value.float() for key, value in state.items()}, strict=False)
    return network.eval()


def get_published_state(network: ReIdNetwork) -> dict[str, Tensor]:
    """The network's weights under the published key names."""
    return {
        _to_published_name(key): value.detach().cpu() for key, value in network.state_dict().items()
    }


def _select(network: ReIdNetwork, state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return what the network takes of a checkpoint: all of it, but counters that it lacks.

    Raises CheckpointError.
    """
    own = network.state_dict()
    state = {key: value for key, value in state.items() if key in own or not is_counter(key)}
    errors = {
        "missing": {key for key in own.keys() - state.keys() if not is_counter(key)},
        "unexpected": state.keys() - own.keys(),
        "wrong shape": {
            key for key in own.keys() & state.keys() if own[key].shape != state[key].shape
        },
        "not finite": {
            key for key, value in state.items() if not bool(torch.isfinite(value).all())
        },
    }
    listed = [f"{name}: {_list_keys(keys)}" for name, keys in errors.items() if keys]
    if listed:
        what = describe_keys(map(_to_published_name, state))
        raise CheckpointError(
            f"{path}: does not fit its configuration; {'; '.join(listed)}; the file looks like "
            f"{what}",
            os.fspath(path),
        )
    return state


def _list_keys(keys: Iterable[str]) -> str:
    names = sorted(map(_to_published_name, keys))
    return ", ".join(names[:_LISTED]) + (
        f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    )


def _to_own_name(key: str) -> str:
    return _replace_prefix(key, _NAMES)


def _to_published_name(key: str) -> str:
    return _replace_prefix(key, tuple((ours, published) for published, ours in _NAMES))


def _replace_prefix(key: str, names: tuple[tuple[str, str], ...]) -> str:
    return next((new + key.removeprefix(old) for old, new in names if key.startswith(old)), key)
