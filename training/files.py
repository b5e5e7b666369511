"""The files of a run: written whole or not at all, after a check of the disk space."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

import trireid.models.files
from trireid.models import to_research_yaml
from trireid.models.pretrained import is_torchscript
from trireid.samples.errors import CheckpointWriteError, ConfigError, NoSpaceError
from trireid.training.settings import Settings

#: Weights, Adam's two moments, the best checkpoint, and the temporary file of the largest.
_COPIES = 8
_FLOAT_BYTES = 4


def save(content: Any, path: Path) -> None:
    """`torch.save` through a temporary file, flushed to disk, renamed.

    Raises CheckpointWriteError where the disk is full.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (
        OSError,
        RuntimeError,
    ) as error:  # torch's zip writer turns a full disk into a RuntimeError
        temporary.unlink(missing_ok=True)
        raise CheckpointWriteError(f"{path}: could not be written: {error}", str(path)) from error


def write_text(path: Path, text: str) -> None:
    """Text through a temporary file, flushed to disk, renamed."""
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


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
    """A checkpoint that `load_checkpoint` reads, with its own configuration inside and as YAML
    next to it.
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
