"""Occluders between camera and subject: a pole, a bush, a crate, a rail."""

from __future__ import annotations

import numpy as np

from trireid.demo.synthetic.canvas import Canvas
from trireid.demo.synthetic.palette import Material

FIRST = 100  # the labels from here on are occluders'
_POLE, _LEAVES, _CRATE, _RAIL = range(FIRST, FIRST + 4)


def draw_occluder_materials(rng: np.random.Generator) -> dict[int, Material]:
    """Draw materials for one shot: an occluder tells nothing about the identity behind it."""
    tone = float(rng.uniform(0.1, 0.7))
    crate = rng.uniform(0.1, 0.8, 3)
    return {
        _POLE: Material((tone, tone, tone), float(rng.uniform(0.1, 0.8)), 0.05),
        _LEAVES: Material((0.16, 0.34, 0.12), 0.85, 0.08),
        _CRATE: Material(
            (float(crate[0]), float(crate[1]), float(crate[2])), float(rng.uniform(0.1, 0.9)), 0.1
        ),
        _RAIL: Material((tone, tone, tone * 0.9), 0.4, 0.03),
    }


def occlude(canvas: Canvas, rng: np.random.Generator, height: int, width: int) -> None:
    """Draw one occluder over what stands on the canvas; it hides about a fifth of the image at
    most.
    """
    x = float(rng.uniform(0.1, 0.9)) * width
    match int(rng.integers(4)):
        case 0:
            wide = float(rng.uniform(0.03, 0.07)) * max(height, width) / 2
            canvas.spindle([(x, -2, wide), (x, height + 2, wide)], _POLE)
        case 1:
            for _ in range(14):
                center = (
                    x + float(rng.normal(0, 0.13)) * width,
                    height * float(rng.uniform(0.82, 1.02)),
                )
                radius = float(rng.uniform(0.03, 0.07)) * max(height, width)
                canvas.ball(center, radius, radius * 0.8, _LEAVES, float(rng.uniform(90, 150)))
        case 2:
            wide, top = (
                float(rng.uniform(0.12, 0.22)) * width,
                height * float(rng.uniform(0.72, 0.86)),
            )
            canvas.spindle([(x, top, wide), (x, height + 2, wide)], _CRATE)
        case _:
            top = height * float(rng.uniform(0.6, 0.75))
            for step in (0.0, 0.1, 0.2):
                y = top + step * height
                canvas.capsule((-4, y), (width + 4, y), 0.011 * height, 0.011 * height, _RAIL)
