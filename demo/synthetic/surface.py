"""The surfaces of the varied world: folds, weave and quilting of cloth, reflections on paint and
glass, laid over the planes before light falls on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from PIL import Image

from trireid.demo.synthetic.canvas import Planes, shrink
from trireid.demo.synthetic.car import Panel
from trireid.demo.synthetic.figure import PARTS, Part
from trireid.demo.synthetic.garment import Torso, emboss_garment
from trireid.demo.synthetic.palette import Bytes, Floats

_SHEET = 1024
_RELIEFS = ("none", "none", "none", "zip", "zip", "puffs", "quilt", "ribs", "pockets", "pockets")
_UPPER = (*range(Part.TORSO, Part.SLEEVE), Part.SLEEVE, Part.SCARF)
_LOWER = (Part.THIGH, Part.SHIN, Part.TRIM)
_CARRIED = (Part.HAT, Part.SHOE, Part.BAG, Part.STRAP, Part.HAIR)


@dataclass(frozen=True)
class Fabric:
    """Cloth of one person: the depth of its folds and the grain of its weave, above and below, and
    the relief of the upper garment.
    """

    folds: tuple[float, float]
    weave: tuple[float, float]
    relief: str


def _draw_fabric(rng: np.random.Generator) -> Fabric:
    folds, weave = rng.uniform(0.04, 0.28, 2), rng.choice((0.0, 0.02, 0.05, 0.09), 2)
    return Fabric(
        (float(folds[0]), float(folds[1])),
        (float(weave[0]), float(weave[1])),
        _RELIEFS[int(rng.integers(len(_RELIEFS)))],
    )


def lay_surface(
    planes: Planes,
    labels: Bytes,
    torsos: Sequence[Torso],
    identity: np.random.Generator,
    rng: np.random.Generator,
) -> Planes:
    """Lay cloth over figures or gloss over a car.

    `identity` draws what an identity keeps, `rng` what a shot shows of it; label 1 up to `PARTS`
    belong to the identity's own figure.
    """
    if not torsos:
        return _polish(planes, labels, identity, rng)
    fabrics = [_draw_fabric(identity if torso.label < PARTS else rng) for torso in torsos]
    return _wrinkle(planes, labels, torsos, fabrics, rng)


def _wrinkle(
    planes: Planes,
    labels: Bytes,
    torsos: Sequence[Torso],
    fabrics: Sequence[Fabric],
    rng: np.random.Generator,
) -> Planes:
    """Folds go into the shading and the heat, weave into all reflectances."""
    depth, grain = np.zeros(256, np.float32), np.zeros(256, np.float32)
    relief = np.ones(labels.shape, np.float32)
    embossed = False
    for torso, fabric in zip(torsos, fabrics, strict=True):
        first = torso.label - Part.TORSO
        for parts, at in ((_UPPER, 0), (_LOWER, 1)):
            places = np.array(parts) + first
            depth[places], grain[places] = fabric.folds[at], fabric.weave[at]
        depth[np.array(_CARRIED) + first] = 0.15
        if fabric.relief != "none":
            emboss_garment(relief, labels, torso, fabric.relief)
            embossed = True
    size = planes.cover.shape
    folds = _spread(labels, depth) * _cut(rng, _make_folds(), size)
    weave = 1 + _spread(labels, grain) * _cut(rng, _make_weave(), size)
    shade = planes.shade * (1 + folds)
    if embossed:
        height, width = size
        shade *= relief.reshape(height, 2, width, 2).mean(axis=(1, 3))
    return replace(
        planes,
        visible=planes.visible * weave[..., None],
        nir=planes.nir * weave,
        warmth=planes.warmth * (1 + np.float32(0.35) * folds),
        shade=shade,
    )


_PAINT = tuple(range(Panel.BUMPER_F, Panel.PILLAR + 1))
_GLASS = (Panel.WINDSCREEN, Panel.BACKLIGHT, Panel.WINDOW)


def _polish(
    planes: Planes, labels: Bytes, identity: np.random.Generator, rng: np.random.Generator
) -> Planes:
    """Let the sky and what stands around be seen in a car's paint and glass."""
    gloss = np.zeros(256, np.float32)
    gloss[list(_PAINT)] = identity.uniform(0.05, 0.3)
    gloss[list(_GLASS)] = identity.uniform(0.05, 0.3)
    height, width = planes.cover.shape
    around = np.clip(_cut(rng, _make_reflections(), (height, width)) + 0.3, 0, 1.2)
    around *= np.linspace(1.3, 0.5, height, dtype=np.float32)[:, None]
    mirror = _spread(labels, gloss) * around
    sky = (rng.normal(0.85, 0.1, 3) * (0.92, 1.0, 1.08)).astype(np.float32)
    return replace(
        planes,
        visible=planes.visible + mirror[..., None] * sky,
        nir=planes.nir + np.float32(0.6) * mirror,
        warmth=planes.warmth * (1 - np.float32(0.25) * mirror),
    )


def _spread(labels: Bytes, values: Floats) -> Floats:
    """The value of each label [256], all in 0..1, over the image at its final size."""
    codes = (values * 255 + 0.5).astype(np.uint8).tolist()
    return shrink(Image.fromarray(labels).point(codes))


def _cut(rng: np.random.Generator, sheet: Floats, size: tuple[int, ...]) -> Floats:
    y, x = rng.integers(0, (_SHEET - size[0], _SHEET - size[1]))
    part = sheet[y : y + size[0], x : x + size[1]]
    return part if rng.random() < 0.5 else part[:, ::-1]


@lru_cache(maxsize=1)
def _make_folds() -> Floats:
    """Creases of two scales, mean 0: ridges of noise that is longer than wide, aslant."""
    rng = np.random.default_rng(1)
    sheet = np.zeros((_SHEET, _SHEET), np.float32)
    shear = np.arange(_SHEET)[:, None] * 3 + np.arange(_SHEET)[None, :]
    for tall, wide, strength in ((24, 34, 0.6), (10, 16, 0.4)):
        noise = _scale_noise(rng, tall, wide)
        ridges = 1 - 2 * np.abs(noise).clip(0, 1)
        sheet += np.float32(strength) * np.take_along_axis(ridges, shear // 2 % _SHEET, axis=1)
    sheet -= sheet.mean()
    sheet.setflags(write=False)
    return sheet


@lru_cache(maxsize=1)
def _make_weave() -> Floats:
    sheet = _scale_noise(np.random.default_rng(2), 3, 2).clip(-2, 2)
    sheet.setflags(write=False)
    return sheet


@lru_cache(maxsize=1)
def _make_reflections() -> Floats:
    rng = np.random.default_rng(3)
    sheet = 0.5 * _scale_noise(rng, 30, 90) + 0.4 * _scale_noise(rng, 10, 30).clip(-1, 1)
    sheet.setflags(write=False)
    return sheet.astype(np.float32)


def _scale_noise(rng: np.random.Generator, tall: int, wide: int) -> Floats:
    """Unit noise whose grains are that tall and wide, [sheet, sheet]."""
    small = rng.standard_normal((_SHEET // tall + 2, _SHEET // wide + 2), np.float32)
    image = Image.fromarray(small).resize((_SHEET, _SHEET), Image.Resampling.BICUBIC)
    noise = np.array(image)
    noise /= noise.std()
    return noise
