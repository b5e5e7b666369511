"""The files of a run: written whole or not at all, after a check of the disk space."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

import trireid.models.files
from trireid.models import to_research_yaml
from trireid.models.pretrained import is_torchscript
from trireid.samples.atomic_write import replace_file, write_atomic
from trireid.samples.errors import CheckpointWriteError, ConfigError, NoSpaceError
from trireid.training.settings import Settings

#: Weights, Adam's two moments, the best checkpoint, and the temporary file of the largest.
_COPIES = 8
_FLOAT_BYTES = 4


def save(content: Any, path: Path) -> None:
    """Write a file of `torch.save` atomically.

    Raises CheckpointWriteError where the disk is full.
    """
    try:
        with replace_file(path) as temporary:
            torch.save(content, temporary)
    except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError
        raise CheckpointWriteError(f"{path}: could not be written: {error}", str(path)) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_atomic(path, text.encode())


def check_disk_space(folder: Path, parameters: int) -> None:
    """Raise NoSpaceError where the folder's disk is too small for a run's checkpoints."""
    need = _COPIES * _FLOAT_BYTES * parameters
    free = shutil.disk_usage(folder).free
    if free < need:
        raise NoSpaceError(
            f"{folder}: {free / 1e6:.0f} MB are free, and the run's checkpoints need "
            f"{need / 1e6:.0f} MB",
            str(folder),
        )


def save_checkpoint(
    path: Path, settings: Settings, state: Mapping[str, torch.Tensor], measured: Mapping[str, Any]
) -> None:
    """Write a checkpoint for `load_checkpoint`, with its configuration inside and as YAML next to
    it.
    """
    config = to_research_yaml(settings.network)
    save(
        {
            "state_dict": dict(state),
            "config": config,
            "training": settings.to_mapping(),
            "measured": dict(measured),
        },
        path,
    )
    write_text(path.with_suffix(".yml"), yaml.safe_dump(config))


def read_own(path: Path) -> dict[str, Any]:
    """Read a checkpoint of `save_checkpoint`.

    Raises ConfigError for a checkpoint that carries no training settings.
    """
    content = read_content(path)
    if "training" not in content:
        raise ConfigError(
            f"{path}: carries no training settings; give its configuration, with "
            f"`pretrained: {path}` in it",
            str(path),
        )
    return content


def read_content(path: Path) -> dict[str, Any]:
    """All that a file of `torch.save` holds; nothing of another, which `save_checkpoint` cannot
    have written.
    """
    if path.suffix == ".safetensors" or is_torchscript(path):
        return {}
    content = trireid.models.files.read_content(path)
    return content if isinstance(content, dict) else {}
