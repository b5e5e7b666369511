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
    ys, xs, around, down = _unwrap(labels, torso, 1)
    if not len(ys):
        return
    printed = _PATTERNS[traits.pattern](around, down)
    warm = _ZONES[traits.heat_zone](around, down)
    paint = torso.label + PRINT * printed + PLAIN_ZONE * warm
    paint[_STRIPS[traits.reflective](around, down)] = torso.label + REFLECTIVE
    labels[ys, xs] = paint


def emboss_garment(relief: Floats, labels: Bytes, torso: Torso, kind: str) -> None:
    """Multiply, in place, a shading [2H, 2W] by the relief of a garment: of its painted pixels."""
    ys, xs, around, down = _unwrap(labels, torso, REFLECTIVE + 1)
    if len(ys):
        relief[ys, xs] *= _RELIEFS[kind](around, down)


def _unwrap(
    labels: Bytes, torso: Torso, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats, Floats]:
    """Rows and columns of the pixels of the torso's first `count` labels, and where they lie on it.

    Around: the angle from the breastbone, radians; down: 0 at the shoulders and 1 at the hem.
    """
    rows = np.array(torso.rows) * SUPERSAMPLING
    height, width = labels.shape
    x0, x1 = np.clip(
        [(rows[:, 0] - rows[:, 2]).min(), (rows[:, 0] + rows[:, 2]).max() + 1], 0, width
    ).astype(int)
    y0, y1 = np.clip([rows[0, 1] - 8, rows[-1, 1] + 8], 0, height).astype(int)
    window = labels[y0:y1, x0:x1]
    ys, xs = np.nonzero((window >= torso.label) & (window < torso.label + count))
    line = np.arange(y0, y1)
    center = np.interp(line, rows[:, 1], rows[:, 0]).astype(np.float32)[ys]
    half = np.interp(line, rows[:, 1], rows[:, 2]).astype(np.float32)[ys]
    down = ((line - rows[0, 1]) / (rows[-1, 1] - rows[0, 1])).astype(np.float32)[ys]
    around = np.arcsin(np.clip((xs + x0 - center) / half, -1, 1)) - np.float32(torso.yaw)
    return ys + y0, xs + x0, around, down


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
    # of the varied world alone
    "open": lambda around, down: np.cos(around) > 0.93,
    "zip": lambda around, down: np.cos(around) > 0.996,
    "pinstripes": lambda around, down: np.floor(around * 3 * _COLUMNS) % 3 == 1,
    "thin hoops": lambda around, down: np.floor(down * 22) % 3 == 1,
    "tartan": lambda around, down: (
        (np.floor(around * 2 * _COLUMNS) % 3 == 1) | (np.floor(down * 15) % 3 == 1)
    ),
    "letters": lambda around, down: (
        _logo(around, down) & (np.floor(around * 14 + np.floor(down * 24) * 1.7) % 3 > 0)
    ),
    "shoulders": lambda around, down: (down < 0.22) | (np.abs(np.cos(around)) < 0.35),
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


def _zip_up(around: Floats, down: Floats) -> Floats:
    line: Floats = np.where(np.cos(around) > 0.995, 0.72, 1).astype(np.float32)
    return line


_RELIEFS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "puffs": lambda around, down: np.float32(0.72) + 0.4 * np.abs(np.sin(down * (9 * np.pi))),
    "zip": _zip_up,
    "quilt": lambda around, down: (
        1 + np.float32(0.15) * np.sin(around * 9 + down * 24) * np.sin(around * 9 - down * 24)
    ),
    "ribs": lambda around, down: 1 + np.float32(0.12) * np.sin(around * 30),
    "pockets": lambda around, down: np.where(
        (np.abs(down - 0.68) < 0.015) & (np.abs(np.abs(np.sin(around)) - 0.5) < 0.22), 0.6, 1
    ).astype(np.float32),
}
