"""Pretrained weights for fine-tuning: OpenAI's CLIP and timm's ImageNet ViT, fitted to a network's
image size.
"""

from __future__ import annotations

import os
import warnings
import zipfile
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from trireid.models.config import Backbone
from trireid.models.files import read_weights
from trireid.models.network import ReIdNetwork
from trireid.models.position import resize_position_embedding
from trireid.models.recognize import describe_keys
from trireid.models.state import is_counter
from trireid.samples import CheckpointError

_CLIP_PREFIX = "visual."
_POSITIONS = {
    Backbone.CLIP: "positional_embedding",
    Backbone.IMAGENET: "pos_embed",
    Backbone.DINOV2: "pos_embed",
}
_HEADS = ("sdtps.", "fusion.")
#: Parts of pretrained files that the network lacks.
_DROPPED = ("head.", "fc_norm.", "pre_logits.", "fc.")


def load_pretrained_weights(
    network: ReIdNetwork, path: str | PathLike[str], *, weights: str | None = None
) -> None:
    """Fill a network's backbone with pretrained weights, in place; head, reductions and camera
    table stay as they are.

    `path`: OpenAI's `ViT-B-16.pt` (the JIT archive it comes as, or its state_dict) for CLIP's ViT,
    a timm ViT-B/16 file for the ImageNet one. Position embeddings are resized to the network's
    grid, bilinear, as in the research code. Raises CheckpointError, naming the keys, where file and
    backbone do not fit.
    """
    file = Path(path)
    state = _read_backbone_state(file, network.config.backbone, weights)
    base = network.backbone.base
    own = {key: value for key, value in base.state_dict().items() if key != "sie_embed"}
    missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or unexpected:
        raise CheckpointError(
            f"{file}: does not fit {network.config.backbone}; missing: "
            f"{', '.join(missing[:6]) or 'none'};"
            f" unexpected: {', '.join(unexpected[:6]) or 'none'}; the file looks like "
            f"{describe_keys(state)}",
            os.fspath(file),
        )
    name = _POSITIONS[network.config.backbone]
    state[name] = _fit_positions(state[name].float(), own[name], network.config.grid, file)
    wrong = sorted(key for key in own if own[key].shape != state[key].shape)
    if wrong:
        key = wrong[0]
        raise CheckpointError(
            f"{file}: {key} has the shape {list(state[key].shape)}, the network "
            f"{list(own[key].shape)}",
            os.fspath(file),
        )
    base.load_state_dict(state, strict=False)


def copy_weights(network: ReIdNetwork, donor: ReIdNetwork, path: str | PathLike[str]) -> None:
    """Fill a network from one of the same family that saw images of another size or has another
    head, in place.

    Backbone (position embeddings resized), camera table and reductions must fit; of the head,
    tensors of the same name and shape are taken, and the rest stays as it is. `path`: the donor's
    file. Raises CheckpointError, naming the first key that does not fit.
    """
    own, state = network.state_dict(), donor.state_dict()
    name = f"backbone.base.{_POSITIONS[network.config.backbone]}"
    if name in state:
        state[name] = _fit_positions(state[name], own[name], network.config.grid, Path(path))
    fits = {key for key in own if key in state and state[key].shape == own[key].shape}
    wrong = sorted(key for key in own.keys() - fits if not key.startswith(_HEADS))
    if wrong:
        has = list(state[wrong[0]].shape) if wrong[0] in state else "none"
        raise CheckpointError(
            f"{path}: {wrong[0]} has the shape {list(own[wrong[0]].shape)} in the network, and "
            f"{has} there",
            os.fspath(path),
        )
    network.load_state_dict({key: state[key] for key in fits}, strict=False)


def _read_backbone_state(path: Path, backbone: Backbone, weights: str | None) -> dict[str, Tensor]:
    state = _read_archive(path) if is_torchscript(path) else read_weights(path, weights)
    if backbone is Backbone.CLIP and any(key.startswith(_CLIP_PREFIX) for key in state):
        state = {
            key.removeprefix(_CLIP_PREFIX): value
            for key, value in state.items()
            if key.startswith(_CLIP_PREFIX)
        }
    return {
        key: value.float()
        for key, value in state.items()
        if not key.startswith(_DROPPED) and not is_counter(key)
    }


def is_torchscript(path: Path) -> bool:
    """Whether the file is a TorchScript archive: a zip with code in it."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def _read_archive(path: Path) -> dict[str, Tensor]:
    """The weights of a TorchScript archive.

    Its code is loaded, in TorchScript's own interpreter, but never run.
    """
    try:
        with warnings.catch_warnings():
            # TorchScript is deprecated, but OpenAI's file is a TorchScript archive
            warnings.simplefilter("ignore")
            return dict(torch.jit.load(path, map_location="cpu").state_dict())
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: a TorchScript archive that torch cannot read", os.fspath(path)
        ) from error


def _fit_positions(given: Tensor, own: Tensor, grid: tuple[int, int], path: Path) -> Tensor:
    """Position embeddings of the file in the shape of the network's own."""
    flat = given.reshape(-1, given.shape[-1])
    if flat.shape[0] != own.reshape(-1, own.shape[-1]).shape[0]:
        try:
            flat = resize_position_embedding(flat, grid)
        except ValueError as error:
            raise CheckpointError(
                f"{path}: {error}, so they cannot be resize_position_embedding to {grid}",
                os.fspath(path),
            ) from error
    return flat.reshape(*own.shape[:-1], flat.shape[-1])
