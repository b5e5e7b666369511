"""The print on the upper garment and its warm zones: painted around the torso, so they turn with
the body.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trireid.demo.synthetic.canvas import SUPERSAMPLING
from trireid.demo.synthetic.palette import Bytes, Floats
from trireid.demo.synthetic.traits import PersonTraits

Mask = NDArray[np.bool_]

# Offsets from the label under which the torso was drawn; the figure reserves them.
PLAIN, PRINT, PLAIN_ZONE, PRINT_ZONE, REFLECTIVE = range(5)


@dataclass(frozen=True)
class Torso:
    """The position of a figure's torso on the image: outline rows (center x, y, half width), top to
    bottom, and yaw.
    """

    rows: tuple[tuple[float, float, float], ...]
    yaw: float
    label: int


def paint_garment(labels: Bytes, torso: Torso, traits: PersonTraits) -> None:
    """Repaint, in place, the torso's pixels of a label map [2H, 2W] by pattern, heat zone and
    reflective strips.
    """
    rows = np.array(torso.rows) * SUPERSAMPLING
    height, width = labels.shape
    x0, x1 = np.clip(
        [(rows[:, 0] - rows[:, 2]).min(), (rows[:, 0] + rows[:, 2]).max() + 1], 0, width
    ).astype(int)
    y0, y1 = np.clip([rows[0, 1] - 8, rows[-1, 1] + 8], 0, height).astype(int)
    window = labels[y0:y1, x0:x1]
    ys, xs = np.nonzero(window == torso.label)
    if not len(ys):
        return
    line = np.arange(y0, y1)
    center = np.interp(line, rows[:, 1], rows[:, 0]).astype(np.float32)[ys]
    half = np.interp(line, rows[:, 1], rows[:, 2]).astype(np.float32)[ys]
    down = ((line - rows[0, 1]) / (rows[-1, 1] - rows[0, 1])).astype(np.float32)[ys]
    # the angle from the breastbone, radians; `down` is 0 at the shoulders and 1 at the hem
    around = np.arcsin(np.clip((xs + x0 - center) / half, -1, 1)) - np.float32(torso.yaw)
    printed = _PATTERNS[traits.pattern](around, down)
    warm = _ZONES[traits.heat_zone](around, down)
    paint = torso.label + PRINT * printed + PLAIN_ZONE * warm
    paint[_STRIPS[traits.reflective](around, down)] = torso.label + REFLECTIVE
    window[ys, xs] = paint


def _nowhere(around: Floats, down: Floats) -> Mask:
    return np.zeros(around.shape, bool)


def _logo(around: Floats, down: Floats) -> Mask:
    inside: Mask = (np.sin(around) / 0.55) ** 2 + ((down - 0.38) / 0.2) ** 2 < 1
    return inside


def _belt(around: Floats, down: Floats) -> Mask:
    return (down > 0.56) & (down < 0.63)


def _braces(around: Floats, down: Floats) -> Mask:
    return (np.abs(np.abs(np.sin(around)) - 0.5) < 0.08) & (down < 0.6)


Where = Callable[[Floats, Floats], Mask]
_COLUMNS = 12 / (2 * np.pi)  # stripes around the body, per radian

_PATTERNS: dict[str, Where] = {
    "plain": _nowhere,
    "hoops": lambda around, down: np.floor(down * 8) % 2 == 1,
    "stripes": lambda around, down: np.floor(around * _COLUMNS + 0.5) % 2 == 1,
    "checks": lambda around, down: (np.floor(down * 7) + np.floor(around * _COLUMNS)) % 2 == 1,
    "band": lambda around, down: (down > 0.3) & (down < 0.52),
    "logo": _logo,
    "halves": lambda around, down: np.sin(around + 0.6) > 0,
    "yoke": lambda around, down: down < 0.34,
    "sash": lambda around, down: np.abs(down - 0.5 - 0.4 * np.sin(around)) < 0.11,
    "dots": lambda around, down: np.sin(around * 7) * np.sin(down * 7 * np.pi) > 0.35,
    "flanks": lambda around, down: np.abs(np.cos(around)) < 0.55,
    "hem": lambda around, down: down > 0.66,
}
_ZONES: dict[str, Where] = {
    "none": _nowhere,
    "front": lambda around, down: np.cos(around) > 0.87,
    "spine": lambda around, down: np.cos(around) < -0.87,
    "yoke": lambda around, down: down < 0.3,
    "waist": lambda around, down: (down > 0.55) & (down < 0.85),
}
_STRIPS: dict[str, Where] = {
    "none": _nowhere,
    "belt": _belt,
    "braces": _braces,
    "harness": lambda around, down: _belt(around, down) | _braces(around, down),
}
