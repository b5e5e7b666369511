"""The backdrops of the varied world: each shot has its own, seen from a raised camera more often
than not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from trireid.demo.synthetic.palette import Bytes, Floats, Material, make_table
from trireid.demo.synthetic.photographs import load_textures, load_views
from trireid.demo.synthetic.scene import DETAILS, GROUNDS, WALLS, Backdrop

_GROUND, _WALL, _FIRST = 1, 2, 3
_PAINTED = 12  # labels of ground marks, verges and clutter


@dataclass(frozen=True)
class _Layout:
    labels: Bytes
    horizon: int


def draw_backdrop(rng: np.random.Generator, height: int, width: int) -> Backdrop:
    """Draw a backdrop of that size.

    Raises:
        ModuleNotFoundError: The photographs are not installed.
    """
    layout = _draw_layout(rng, height, width)
    planes = make_table(_draw_materials(rng))[layout.labels]
    if rng.random() < 0.3:
        whole = rng.random() < 0.3
        bottom = height if whole else max(layout.horizon, 0)
        if bottom > 16:
            planes[:bottom] = _draw_view(rng, bottom, width)
    planes *= _draw_texture(rng, height, width)[..., None]
    np.clip(planes, 0, 1, out=planes)
    return Backdrop(planes[..., :3], planes[..., 3], planes[..., 4])


def _draw_layout(rng: np.random.Generator, height: int, width: int) -> _Layout:
    """Ground, wall, and what lies and stands on them; from above there is ground alone."""
    image = Image.new("L", (width, height), _GROUND)
    draw = ImageDraw.Draw(image)
    horizon = int(height * rng.uniform(-0.6, 0.5))
    slant = rng.normal(0, 0.12) * width
    if horizon > 0:
        draw.polygon(
            [(0, 0), (width, 0), (width, horizon + slant), (0, horizon - slant)], fill=_WALL
        )
    for label in range(_FIRST, _FIRST + 1 + int((_PAINTED - 1) * rng.beta(1.0, 2.5))):
        x, y = rng.uniform(-0.1, 1.1) * width, rng.uniform(-0.1, 1.0) * height
        match int(rng.integers(5)):
            case 0:  # a verge or a path across
                rise, thick = rng.normal(0, 0.3) * height, rng.uniform(0.05, 0.4) * height
                band = [(0, y), (width, y + rise), (width, y + rise + thick), (0, y + thick)]
                draw.polygon(band, fill=label)
            case 1:  # a line on the ground
                points = (x, y, x + rng.normal(0, 1.2) * width, y + rng.normal(0, 0.4) * height)
                draw.line(points, fill=label, width=int(rng.integers(2, 7)))
            case 2:  # a post, a trunk
                thick = rng.uniform(0.02, 0.12) * width
                draw.rectangle((x, -height, x + thick, y), fill=label)
            case 3:  # a bush, a stone, a spot
                wide, tall = rng.uniform(0.05, 0.35) * width, rng.uniform(0.02, 0.12) * height
                draw.ellipse((x - wide, y - tall, x + wide, y + tall), fill=label)
            case _:  # a sign, a window, somebody's bag
                wide, tall = rng.uniform(0.05, 0.4) * width, rng.uniform(0.03, 0.25) * height
                draw.rectangle((x, y, x + wide, y + tall), fill=label)
    return _Layout(np.asarray(image), horizon)


def _draw_materials(rng: np.random.Generator) -> dict[int, Material]:
    materials = {_GROUND: _jitter(rng, GROUNDS), _WALL: _jitter(rng, WALLS)}
    for label in range(_FIRST, _FIRST + _PAINTED):
        pool = (GROUNDS, GROUNDS, WALLS, DETAILS)[int(rng.integers(4))]
        materials[label] = _jitter(rng, pool)
    return materials


def _jitter(rng: np.random.Generator, pool: tuple[Material, ...]) -> Material:
    """One of the pool in another tint and brightness; a tenth has any color at all."""
    base = pool[int(rng.integers(len(pool)))]
    tint = rng.uniform(0.05, 0.95, 3) if rng.random() < 0.08 else np.array(base.visible)
    tint = tint.mean() + rng.uniform(0.2, 0.9) * (tint - tint.mean())
    red, green, blue = (tint * rng.normal(1, 0.04, 3) * rng.uniform(0.6, 1.4)).clip(0, 1)
    nir, heat = (np.array((base.nir, base.warmth)) + rng.normal(0, 0.12, 2)).clip(0, 1)
    return Material((float(red), float(green), float(blue)), float(nir), float(heat))


def _draw_view(rng: np.random.Generator, height: int, width: int) -> Floats:
    """Part of a photograph as five planes; near infrared and heat are made up from its colors."""
    views = load_views()
    view = views[int(rng.integers(len(views)))]
    if rng.random() < 0.5:
        view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    part = np.asarray(_cut(rng, view, height, width), np.float32) / np.float32(255)
    part = part.mean(axis=2, keepdims=True) + np.float32(rng.uniform(0.1, 0.8)) * (
        part - part.mean(axis=2, keepdims=True)
    )
    gains = rng.uniform(0.5, 1.0) * rng.normal(1, 0.04, 3)
    visible = part * gains.astype(np.float32) + np.float32(rng.uniform(-0.05, 0.15))
    gray = part.mean(axis=2)
    greenness = part[..., 1] - 0.5 * (part[..., 0] + part[..., 2])
    nir = gray * np.float32(rng.uniform(0.4, 1.0)) + 2 * greenness + np.float32(rng.uniform(0, 0.3))
    heat = np.float32(rng.uniform(0.2, 0.7)) + np.float32(rng.normal(0, 0.5)) * (gray - 0.5)
    planes: Floats = np.concatenate([visible, nir[..., None], heat[..., None]], axis=2)
    return planes.astype(np.float32)


def _draw_texture(rng: np.random.Generator, height: int, width: int) -> Floats:
    """Brightness around 1: the grain of real ground, and large patches."""
    textures = load_textures()
    texture = textures[int(rng.integers(len(textures)))]
    if rng.random() < 0.5:
        texture = texture.transpose(Image.Transpose.TRANSPOSE)
    grain = np.asarray(_cut(rng, texture, height, width), np.float32) / np.float32(128)
    patches = Image.fromarray(rng.standard_normal((5, 4), np.float32))
    large = np.asarray(patches.resize((width, height), Image.Resampling.BICUBIC))
    strength = np.float32(0.5 * rng.beta(1.2, 2.5))
    light: Floats = (1 + strength * (grain - 1)) * (1 + np.float32(0.1) * large)
    return light


def _cut(rng: np.random.Generator, image: Image.Image, height: int, width: int) -> Image.Image:
    """A random part of an image, scaled to that size with its aspect kept."""
    most = min(image.width / width, image.height / height)
    zoom = most * float(rng.uniform(0.35, 1.0))
    wide, tall = width * zoom, height * zoom
    x, y = rng.uniform(0, image.width - wide), rng.uniform(0, image.height - tall)
    box = (x, y, x + wide, y + tall)
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box)
