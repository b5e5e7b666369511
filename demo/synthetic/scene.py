"""The background of each camera: a wall, what stands before it, and the ground, painted once and
shown in part.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from trireid.demo.synthetic.palette import Bytes, Floats, Material, make_table
from trireid.demo.synthetic.seeds import make_generator
from trireid.samples.sample import Kind

# height, width of a image
SIZES: dict[Kind, tuple[int, int]] = {"person": (256, 128), "vehicle": (128, 256)}

WALLS = (
    Material((0.55, 0.36, 0.28), 0.45, 0.55),  # brick
    Material((0.66, 0.65, 0.62), 0.55, 0.45),  # concrete
    Material((0.82, 0.78, 0.68), 0.62, 0.5),  # plaster
    Material((0.22, 0.38, 0.16), 0.85, 0.2),  # hedge
    Material((0.38, 0.46, 0.52), 0.28, 0.35),  # cladding
    Material((0.30, 0.42, 0.20), 0.78, 0.25),  # trees
)
GROUNDS = (
    Material((0.30, 0.30, 0.31), 0.22, 0.65),  # asphalt
    Material((0.60, 0.58, 0.54), 0.45, 0.55),  # slabs
    Material((0.34, 0.44, 0.20), 0.75, 0.3),  # grass
    Material((0.52, 0.44, 0.36), 0.5, 0.6),  # gravel
)
DETAILS = (
    Material((0.12, 0.15, 0.18), 0.1, 0.1),  # glass
    Material((0.16, 0.32, 0.12), 0.9, 0.15),  # bush
    Material((0.25, 0.25, 0.27), 0.2, 0.4),  # post
    Material((0.45, 0.30, 0.18), 0.5, 0.4),  # door
    Material((0.85, 0.85, 0.82), 0.8, 0.5),  # paint on the road, light frames
)
_WALL, _GROUND, _DETAIL = 1, 2, 3
_HAZE, _CONTRAST = 0.42, 0.68


@dataclass(frozen=True)
class Backdrop:
    """A background to the three sensors:

    `visible` [H, W, 3], `nir`, `heat` [H, W], float32 0..1.
    """

    visible: Floats
    nir: Floats
    heat: Floats


@lru_cache(maxsize=32)
def paint_scene(seed: int, kind: Kind, camera: int) -> Floats:
    """The whole scene before a camera, [H', W', 5], read-only: larger than a image, so that shots
    differ.
    """
    rng = make_generator(seed, "scene", kind, camera)
    height, width = SIZES[kind]
    height, width = int(height * 1.3), int(width * 2.6)
    materials = {
        _WALL: WALLS[(camera + int(rng.integers(2))) % len(WALLS)],
        _GROUND: GROUNDS[int(rng.integers(len(GROUNDS)))],
        **{_DETAIL + place: material for place, material in enumerate(DETAILS)},
    }
    labels = _paint_layout(rng, height, width)
    scene = make_table(materials)[labels] * _make_texture(rng, height, width)[..., None]
    scene = _defocus(scene)
    scene.setflags(write=False)
    return scene


def _defocus(scene: Floats) -> Floats:
    """The scene out of focus and paler, as what stands behind a subject is."""
    codes = ((_HAZE + _CONTRAST * (scene - _HAZE)).clip(0, 1) * 255 + 0.5).astype(np.uint8)
    soft = [
        Image.fromarray(codes[..., band]).filter(ImageFilter.GaussianBlur(1.6)) for band in range(5)
    ]
    return np.stack([np.asarray(band, np.float32) for band in soft], axis=-1) / np.float32(255)


def frame_backdrop(rng: np.random.Generator, scene: Floats, height: int, width: int) -> Backdrop:
    """The part of the scene that one shot has behind its subject."""
    y = int(rng.integers(scene.shape[0] - height + 1))
    x = int(rng.integers(scene.shape[1] - width + 1))
    window = scene[y : y + height, x : x + width]
    return Backdrop(window[..., :3], window[..., 3], window[..., 4])


def _paint_layout(rng: np.random.Generator, height: int, width: int) -> Bytes:
    image = Image.new("L", (width, height), _WALL)
    draw = ImageDraw.Draw(image)
    floor = int(height * rng.uniform(0.5, 0.68))
    glass, bush, post, door, stripe = range(_DETAIL, _DETAIL + len(DETAILS))
    step, pane = int(rng.integers(38, 70)), int(rng.integers(16, 30))
    if rng.random() < 0.6:
        for x in range(int(rng.integers(20)), width, step):
            for y in range(8, floor - pane, int(pane * 2.1)):
                draw.rectangle((x - 2, y - 2, x + pane + 2, y + pane * 1.4 + 2), fill=stripe)
                draw.rectangle((x, y, x + pane, y + pane * 1.4), fill=glass)
    draw.rectangle((0, floor, width, height), fill=_GROUND)
    left = int(rng.integers(width - 50))
    draw.rectangle((left, floor - 0.28 * height, left + 0.16 * height, floor), fill=door)
    for _ in range(int(rng.integers(2, 6))):
        x, r = int(rng.integers(width)), int(rng.integers(14, 40))
        for dx in (-0.8, 0.0, 0.8):
            draw.ellipse(
                (
                    x + (dx - 1) * r,
                    floor - r * (1.3 - abs(dx) / 2),
                    x + (dx + 1) * r,
                    floor + 0.35 * r,
                ),
                fill=bush,
            )
    for _ in range(int(rng.integers(1, 4))):
        x = int(rng.integers(width))
        draw.rectangle((x, 0.1 * height, x + int(rng.integers(3, 9)), floor + 12), fill=post)
    _mark_ground(rng, draw, floor, height, width, stripe)
    return np.asarray(image)


def _mark_ground(
    rng: np.random.Generator,
    draw: ImageDraw.ImageDraw,
    floor: int,
    height: int,
    width: int,
    label: int,
) -> None:
    kerb = floor + int(rng.integers(4, 16))
    draw.rectangle((0, kerb, width, kerb + 3), fill=label)
    slant, step = int(rng.integers(-60, 60)), int(rng.integers(50, 110))
    for x in range(-60, width + 60, step):
        draw.polygon(
            [(x, kerb + 14), (x + 7, kerb + 14), (x + slant + 16, height), (x + slant, height)],
            fill=label,
        )


def _make_texture(rng: np.random.Generator, height: int, width: int) -> Floats:
    """Brightness around 1 at three scales."""
    texture = np.ones((height, width), np.float32)
    for scale, strength in ((2, 0.05), (9, 0.06), (60, 0.1)):
        size = (width // scale + 2, height // scale + 2)
        grain = Image.fromarray(rng.standard_normal((size[1], size[0]), np.float32))
        texture += strength * np.asarray(grain.resize((width, height), Image.Resampling.BICUBIC))
    return np.clip(texture, 0.4, 1.6)
