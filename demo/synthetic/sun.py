"""The sun of the varied world: it models bodies, casts their shadows on the ground, and shines
through leaves.
"""

from __future__ import annotations

from dataclasses import replace
from math import cos, pi, sin

import numpy as np
from PIL import Image, ImageFilter

from trireid.demo.synthetic.canvas import Planes
from trireid.demo.synthetic.palette import Floats
from trireid.demo.synthetic.scene import Backdrop


def shine(planes: Planes, backdrop: Backdrop, rng: np.random.Generator) -> tuple[Planes, Backdrop]:
    """The planes with modelled shading and the backdrop with a shadow on it."""
    turn, hard = float(rng.uniform(0, 2 * pi)), float(rng.beta(1.2, 1.5))
    cover = Image.fromarray((planes.cover * 255).astype(np.uint8))
    shade = planes.shade * _model(cover, (cos(turn), -abs(sin(turn)) - 0.3), hard)
    dark = 1 - (0.25 + 0.5 * hard) * _cast_shadow(cover, rng, turn, hard)
    if rng.random() < 0.08:
        leaves = _draw_leaves(rng, planes.cover.shape)
        shade, dark = shade * leaves, dark * leaves
    dark = dark.astype(np.float32)
    return (
        replace(planes, shade=shade.astype(np.float32)),
        Backdrop(backdrop.visible * dark[..., None], backdrop.nir * dark, backdrop.heat * dark),
    )


def _model(cover: Image.Image, toward: tuple[float, float], hard: float) -> Floats:
    """Light on a body: the side toward the sun is brighter, the other darker, the top most of all.

    The slope of the blurred silhouette stands for the body's normal.
    """
    radius = max(cover.size) / 22
    soft = np.asarray(cover.filter(ImageFilter.BoxBlur(radius)), np.float32) / np.float32(255)
    across, down = np.empty_like(soft), np.empty_like(soft)
    across[:, 1:-1], across[:, [0, -1]] = soft[:, 2:] - soft[:, :-2], 0
    down[1:-1], down[[0, -1]] = soft[2:] - soft[:-2], 0
    # outward is toward less cover
    facing = -(across * np.float32(toward[0]) + down * np.float32(toward[1]))
    slope = np.linspace(1.08, 0.92, soft.shape[0], dtype=np.float32)[:, None]
    light: Floats = slope * (1 + np.float32(hard * radius) * facing).clip(0.35, 1.7)
    return light


def _cast_shadow(cover: Image.Image, rng: np.random.Generator, turn: float, hard: float) -> Floats:
    """The share of the body's shadow on the ground, 0..1: its silhouette, laid down at its feet."""
    width, height = cover.size
    rows = np.flatnonzero(np.asarray(cover.reduce((width, 1))).ravel() > 2)
    feet = float(rows[-1]) if len(rows) else height - 1.0
    length = float(rng.uniform(0.25, 1.3))
    # away from the sun; a shadow straight across would have no height
    along, up = -length * cos(turn), length * 0.45 * sin(turn)
    up = up if abs(up) > 0.08 else 0.08
    matrix = (1, along / up, -feet * along / up, 0, 1 / up, feet * (1 - 1 / up))
    laid = cover.transform(cover.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    laid = laid.filter(ImageFilter.BoxBlur(1 + 6 * (1 - hard)))
    return np.asarray(laid, np.float32) / np.float32(255)


def _draw_leaves(rng: np.random.Generator, size: tuple[int, ...]) -> Floats:
    grain = int(rng.integers(10, 40))
    small = rng.standard_normal((size[0] // grain + 3, size[1] // grain + 3), np.float32)
    noise = Image.fromarray(small).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    light: Floats = 1 - np.float32(0.5) * (np.asarray(noise) * 1.2).clip(0, 1)
    return light
