"""Pretrained weights for fine-tuning: OpenAI's CLIP, timm's ImageNet ViT and DINO's, fitted to a
network's image size.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
import zipfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from trireid.models.config import DINO, Backbone, NetworkConfig
from trireid.models.dino_keys import State, rename_dino_key, rename_dino_keys
from trireid.models.files import read_weights
from trireid.models.network import ReIdNetwork
from trireid.models.position import resize_position_embedding
from trireid.models.recognize import describe_keys, list_keys
from trireid.models.state import is_counter
from trireid.samples import CheckpointError

_CLIP_PREFIX = "visual."
_POSITIONS = {
    Backbone.CLIP: "positional_embedding",
    Backbone.IMAGENET: "pos_embed",
    Backbone.DINOV2: "pos_embed",
}
_HEADS = ("sdtps.", "fusion.")
_BLOCK = re.compile(r"(?:transformer\.res)?blocks\.(\d+)\.")
#: Parts of pretrained files that the network lacks.
_DROPPED = ("head.", "fc_norm.", "pre_logits.", "fc.", "classifier.")

log = logging.getLogger(__name__)


def load_pretrained_weights(
    network: ReIdNetwork, path: str | PathLike[str], *, weights: str | None = None
) -> None:
    """Fill a network's backbone with pretrained weights, in place; head, reductions and camera
    table stay as they are.

    Args:
        network: The lowest of the file's blocks fill it, if the file has more.
        path: OpenAI's `ViT-B-16.pt` (the JIT archive it comes as, or its state_dict) for CLIP's
            ViT, a timm ViT-B/16 file for the ImageNet one, DINO's as Meta, timm or transformers
            name its weights. Position embeddings are resized to the network's grid.
        weights: Which set of weights, if the file holds several, as in `ema`.

    Raises:
        CheckpointError: file and backbone do not fit; names each key.
        ConfigError: the file is of a variant that the family does not have.
    """
    file = Path(path)
    state = _read_archive(file) if is_torchscript(file) else read_weights(file, weights)
    fill_backbone(network, state, file)


def fill_backbone(network: ReIdNetwork, given: Mapping[str, Tensor], file: Path) -> None:
    """Fill a network's backbone with weights, as `load_pretrained_weights` those of `file`."""
    config, base = network.config, network.backbone.base
    own = {key: value for key, value in base.state_dict().items() if key != "sie_embed"}
    state = _take_lowest_blocks(_select_backbone(given, config.backbone, file), config, file)
    missing, unexpected = own.keys() - state.keys(), state.keys() - own.keys()
    if missing or unexpected:
        names = {rename_dino_key(key): key for key in given} if config.backbone in DINO else {}
        raise CheckpointError(
            f"{file}: does not fit {config.backbone}; missing: {list_keys(missing)}; unexpected: "
            f"{list_keys(names.get(key, key) for key in unexpected)}; the file looks like "
            f"{describe_keys(given)}",
            os.fspath(file),
        )
    name = _POSITIONS.get(config.backbone)
    if name is not None:
        state[name] = _fit_positions(state[name], own[name], config, file)
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
    name = f"backbone.base.{_POSITIONS.get(network.config.backbone)}"
    if name in state:
        state[name] = _fit_positions(state[name], own[name], network.config, Path(path))
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


def _select_backbone(given: Mapping[str, Tensor], backbone: Backbone, file: Path) -> State:
    """The weights that are a backbone's, under its own names."""
    state = dict(given)
    if backbone is Backbone.CLIP and any(key.startswith(_CLIP_PREFIX) for key in state):
        state = {
            key.removeprefix(_CLIP_PREFIX): value
            for key, value in state.items()
            if key.startswith(_CLIP_PREFIX)
        }
    if backbone in DINO:
        state = rename_dino_keys(state, backbone, file)
    return {
        key: value.float()
        for key, value in state.items()
        if not key.startswith(_DROPPED) and not is_counter(key)
    }


def _take_lowest_blocks(state: State, config: NetworkConfig, file: Path) -> State:
    """Leave out the blocks above the network's highest, and say so."""
    blocks = {key: int(match[1]) for key in state if (match := _BLOCK.match(key))}
    held = 1 + max(blocks.values(), default=-1)
    if held > config.depth:
        log.warning("%s: the lowest %d of its %d blocks are taken", file, config.depth, held)
    return {key: value for key, value in state.items() if blocks.get(key, -1) < config.depth}


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


def _fit_positions(given: Tensor, own: Tensor, config: NetworkConfig, file: Path) -> Tensor:
    """Position embeddings of the file in the shape of the network's own.

    Bilinear as in the research code; DINOv2's as it resizes its own: bicubic, and since it has
    registers, antialiased. On its 37 x 37 for 16 x 8, class tokens of real crops then have a cosine
    of at least 0.9992 with the original's; bilinear, 0.9979 (antialiased, 0.9740).
    """
    flat = given.reshape(-1, given.shape[-1])
    if flat.shape[0] != own.reshape(-1, own.shape[-1]).shape[0]:
        mode = "bicubic" if config.backbone in DINO else "bilinear"
        try:
            flat = resize_position_embedding(
                flat, config.grid, mode=mode, antialias=config.registers > 0
            )
        except ValueError as error:
            raise CheckpointError(
                f"{file}: {error}, so they cannot be resized to {config.grid}", os.fspath(file)
            ) from error
    return flat.reshape(*own.shape[:-1], flat.shape[-1])
