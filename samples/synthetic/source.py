"""The synthetic world as a source of samples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from samples.sample import Kind, Sample
from samples.synthetic.palette import Bytes
from samples.synthetic.seeds import Split
from samples.synthetic.world import World


def synthetic_samples(
    kind: Kind,
    identities: int,
    *,
    split: Split = "test",
    seed: int = 0,
    shots: int = 2,
    size: tuple[int, int] | None = None,
) -> Iterator[Sample]:
    """Every shot of the first `identities` of a world: four cameras each, `shots` per camera, drawn as they are taken.

    `size` (height, width) resizes the pictures. Raises ValueError, when called, for what World or a count forbids.
    """
    if identities < 0 or shots < 0:
        raise ValueError(f"identities and shots must not be negative, not {identities} and {shots}")
    world = World(kind=kind, split=split, seed=seed)
    return (
        _sample(world, identity, camera, shot, size)
        for identity in range(identities)
        for camera in world.cameras_of(identity)
        for shot in range(shots)
    )


def _sample(world: World, identity: int, camera: int, shot: int, size: tuple[int, int] | None) -> Sample:
    rgb, nir, tir = (_resized(picture, size) for picture in world.render(identity, camera, shot))
    name = f"{identity:04d}"
    return Sample(
        id=f"{world.kind}-{name}-c{camera}-s{shot}",
        rgb=rgb,
        nir=nir,
        tir=tir,
        identity=name,
        camera=camera,
        kind=world.kind,
    )


def _resized(picture: Bytes, size: tuple[int, int] | None) -> Bytes:
    if size is None or picture.shape[:2] == size:
        return picture
    height, width = size
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))
