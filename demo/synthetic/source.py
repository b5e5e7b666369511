"""The synthetic world as a source of samples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from trireid.demo.synthetic.palette import Bytes
from trireid.demo.synthetic.photographs import load_textures
from trireid.demo.synthetic.seeds import Split
from trireid.demo.synthetic.variety import Variety, make_variety
from trireid.demo.synthetic.world import World
from trireid.samples import SourceError, roles
from trireid.samples.sample import KINDS, Kind, Sample
from trireid.samples.source import Entry, Source


def open_synthetic(
    name: str,
    split: roles.Split,
    *,
    world: int = 0,
    shots: int = 2,
    varied: bool | tuple[str, ...] = False,
) -> Source:
    """Open `synthetic:KIND:IDENTITIES`: the entry point `synthetic` of the group `trireid.sources`.

    Args:
        name: The whole name of the source.
        split: `train` draws the world's training identities, all others its test identities.
        world: The world's seed.
        shots: Images that a camera takes of each identity.
        varied: The wider world, which is more like real images; or the names of its switches
            (`trireid.demo.synthetic.variety.Variety`) that are on.

    Raises:
        SourceError: The name does not have that form, a switch does not exist, or the photographs
            of varied backdrops are not installed.
    """
    _, *parts = name.split(":")
    kind = next((known for known in KINDS if parts and parts[0] == known), None)
    if kind is None or len(parts) != 2 or not parts[1].isdecimal() or int(parts[1]) < 1:
        raise SourceError(
            f"{name}: expected synthetic:KIND:IDENTITIES, as in synthetic:person:50", name
        )
    identities = int(parts[1])
    try:
        if make_variety(varied).background:
            load_textures()
    except (ValueError, ModuleNotFoundError) as error:
        raise SourceError(f"{name}: {error}", name) from error
    part: Split = "train" if split == "train" else "test"

    def entries() -> Iterator[Entry]:
        drawn = synthetic_samples(
            kind, identities, split=part, seed=world, shots=shots, varied=varied
        )
        for sample in drawn:
            yield Entry(str(sample.id), sample)

    return Source(name, identities * len(World(kind=kind).assign_cameras(0)) * shots, entries)


def synthetic_samples(
    kind: Kind,
    identities: int,
    *,
    split: Split = "test",
    seed: int = 0,
    shots: int = 2,
    size: tuple[int, int] | None = None,
    varied: bool | tuple[str, ...] | Variety = False,
) -> Iterator[Sample]:
    """Every shot of the first `identities` of a world: four cameras each, `shots` per camera, drawn
    as they are taken.

    `size` (height, width) resizes the images; `varied`: of `World`. Raises ValueError, when
    called, for what World or a count forbids.
    """
    if identities < 0 or shots < 0:
        raise ValueError(f"identities and shots must not be negative, not {identities} and {shots}")
    world = World(kind=kind, split=split, seed=seed, varied=varied)
    return (
        _sample(world, identity, camera, shot, size)
        for identity in range(identities)
        for camera in world.assign_cameras(identity)
        for shot in range(shots)
    )


def _sample(
    world: World, identity: int, camera: int, shot: int, size: tuple[int, int] | None
) -> Sample:
    rgb, nir, tir = (_resize(image, size) for image in world.render(identity, camera, shot))
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


def _resize(image: Bytes, size: tuple[int, int] | None) -> Bytes:
    if size is None or image.shape[:2] == size:
        return image
    height, width = size
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
