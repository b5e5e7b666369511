"""Weights in files: read safely, whatever wraps them."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from samples import CheckpointError

_WRAPPERS = ("state_dict", "model")
_PARALLEL = "module."


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name: a bare `state_dict`, one under `state_dict` or `model`, or a safetensors file.

    Nothing in the file is ever run (`weights_only`). A `module.` prefix on every key, as parallel training leaves it, is taken
    off. Raises CheckpointError.
    """
    if not path.is_file():
        what = "is a directory" if path.is_dir() else "does not exist"
        raise CheckpointError(f"{path}: {what}; expected a checkpoint file", os.fspath(path))
    content = _safetensors(path) if path.suffix == ".safetensors" else _torch(path)
    state = _unwrapped(content)
    if not state or not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()):
        raise CheckpointError(f"{path}: holds no state_dict (a mapping of names to tensors)", os.fspath(path))
    if all(key.startswith(_PARALLEL) for key in state):
        return {key.removeprefix(_PARALLEL): value for key, value in state.items()}
    return dict(state)


def _safetensors(path: Path) -> Mapping[str, Any]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not a safetensors file, or a damaged one", os.fspath(path)) from error


def _torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: not a checkpoint that torch can read safely (weights only)", os.fspath(path)) from error


def _unwrapped(content: Any) -> Mapping[str, Any]:
    if isinstance(content, Mapping):
        for wrapper in _WRAPPERS:
            if isinstance(content.get(wrapper), Mapping):
                return _unwrapped(content[wrapper])
        return content
    return {}
