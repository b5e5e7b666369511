"""Materials: what a surface looks like to each of the three sensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Color = tuple[float, float, float]

CLOTH: dict[str, Color] = {
    "black": (0.07, 0.07, 0.08),
    "white": (0.92, 0.92, 0.90),
    "gray": (0.48, 0.49, 0.50),
    "red": (0.75, 0.09, 0.10),
    "navy": (0.09, 0.12, 0.34),
    "sky": (0.35, 0.62, 0.88),
    "green": (0.10, 0.48, 0.22),
    "olive": (0.36, 0.36, 0.16),
    "yellow": (0.93, 0.80, 0.15),
    "orange": (0.93, 0.45, 0.08),
    "purple": (0.44, 0.16, 0.55),
    "pink": (0.93, 0.52, 0.66),
    "brown": (0.37, 0.22, 0.12),
    "beige": (0.80, 0.70, 0.54),
    "teal": (0.05, 0.52, 0.55),
}
PAINT: dict[str, Color] = {
    "black": (0.06, 0.06, 0.07),
    "white": (0.90, 0.91, 0.91),
    "silver": (0.64, 0.66, 0.68),
    "graphite": (0.28, 0.29, 0.31),
    "red": (0.70, 0.06, 0.07),
    "maroon": (0.34, 0.06, 0.10),
    "blue": (0.08, 0.22, 0.62),
    "sky": (0.42, 0.66, 0.86),
    "green": (0.06, 0.34, 0.17),
    "yellow": (0.92, 0.76, 0.10),
    "orange": (0.90, 0.40, 0.06),
    "brown": (0.36, 0.23, 0.14),
    "beige": (0.78, 0.70, 0.55),
    "turquoise": (0.08, 0.55, 0.56),
}
HAIR: dict[str, Color] = {
    "black": (0.06, 0.05, 0.05),
    "brown": (0.28, 0.17, 0.09),
    "blond": (0.80, 0.64, 0.34),
    "red": (0.56, 0.22, 0.08),
    "gray": (0.62, 0.62, 0.62),
}
SKIN: tuple[Color, ...] = (
    (0.93, 0.74, 0.62),
    (0.78, 0.56, 0.42),
    (0.55, 0.36, 0.25),
    (0.33, 0.21, 0.15),
)
PLATE: dict[str, Color] = {
    "white": (0.90, 0.90, 0.88),
    "yellow": (0.92, 0.78, 0.20),
    "blue": (0.12, 0.26, 0.70),
    "green": (0.45, 0.78, 0.50),
}


@dataclass(frozen=True)
class Material:
    """A surface: visible albedo, near infrared reflectance, warmth (0 = ambient, 1 = skin or a
    running engine).

    All values lie in 0..1, and the near infrared one owes nothing to the visible color, as with
    real dyes.
    """

    visible: Color
    nir: float
    warmth: float


def make_table(materials: dict[int, Material]) -> Floats:
    """Per label the five plane values (red, green, blue, nir, warmth): float32 [256, 5]; unlisted
    labels are 0.
    """
    values = np.zeros((256, 5), np.float32)
    for label, material in materials.items():
        values[label] = (*material.visible, material.nir, material.warmth)
    return values
