"""The drawing surface: a map of labels (which part is seen where) and one of form shading, aligned
by construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from trireid.demo.synthetic.palette import Bytes, Floats

Point = tuple[float, float]

SUPERSAMPLING = 2
NEUTRAL = 128  # the shading value that leaves a color as it is
# share of the radius and the shade there: a cheap cylinder
_ROUND = ((1.0, -34), (0.74, -4), (0.42, 14))


@dataclass(frozen=True)
class Planes:
    """The surfaces before light: `visible` [H, W, 3], `nir`, `warmth`, `shade`, `cover`
    [H, W], float32.

    The first three are already multiplied by `cover`, the share of each pixel that something drawn
    covers.
    """

    visible: Floats
    nir: Floats
    warmth: Floats
    shade: Floats
    cover: Floats


@dataclass(frozen=True)
class Bone:
    """A straight piece of a limb: its ends, the radii there in pixels, and the label of what covers
    it.
    """

    a: Point
    b: Point
    ra: float
    rb: float
    label: int


class Canvas:
    """Draws labelled shapes in pixels of the final image; later shapes cover earlier ones.

    Label 0 is nothing.
    """

    def __init__(self, height: int, width: int) -> None:
        size = (width * SUPERSAMPLING, height * SUPERSAMPLING)
        self._image = Image.new("RGB", size, (0, NEUTRAL, 0))
        self._draw = ImageDraw.Draw(self._image)

    def polygon(self, points: Sequence[Point], label: int, shade: float = NEUTRAL) -> None:
        self._draw.polygon(
            [SUPERSAMPLING * value for point in points for value in point],
            fill=_encode_ink(label, shade),
        )

    def ellipse(
        self, center: Point, rx: float, ry: float, label: int, shade: float = NEUTRAL
    ) -> None:
        x, y, rx, ry = (SUPERSAMPLING * value for value in (*center, abs(rx), abs(ry)))
        self._draw.ellipse((x - rx, y - ry, x + rx, y + ry), fill=_encode_ink(label, shade))

    def ball(self, center: Point, rx: float, ry: float, label: int, shade: float = NEUTRAL) -> None:
        """An ellipse shaded as a solid."""
        for share, step in _ROUND:
            lift = 0.2 * (1 - share)
            self.ellipse(
                (center[0] - lift * rx, center[1] - lift * ry),
                share * rx,
                share * ry,
                label,
                shade + step,
            )

    def capsule(
        self, a: Point, b: Point, ra: float, rb: float, label: int, shade: float = NEUTRAL
    ) -> None:
        """A rod from `a` to `b` with those radii, shaded as a solid."""
        self.limb([Bone(a, b, ra, rb, label)], shade)

    def limb(self, bones: Sequence[Bone], shade: float = NEUTRAL) -> None:
        """Rods shaded as one solid, so that no joint shows between them; later ones lie on top."""
        for share, step in _ROUND:
            for bone in bones:
                self._flat_capsule(
                    bone.a, bone.b, bone.ra, bone.rb, share, bone.label, shade + step
                )

    def _flat_capsule(
        self, a: Point, b: Point, ra: float, rb: float, share: float, label: int, shade: float
    ) -> None:
        lift = 0.25 * (1 - share)
        ax, ay, bx, by = a[0] - lift * ra, a[1], b[0] - lift * rb, b[1]
        ra, rb = share * ra, share * rb
        length = hypot(bx - ax, by - ay) or 1.0
        nx, ny = (by - ay) / length, (ax - bx) / length
        side = [
            (ax + nx * ra, ay + ny * ra),
            (bx + nx * rb, by + ny * rb),
            (bx - nx * rb, by - ny * rb),
            (ax - nx * ra, ay - ny * ra),
        ]
        self.polygon(side, label, shade)
        self.ellipse((ax, ay), ra, ra, label, shade)
        self.ellipse((bx, by), rb, rb, label, shade)

    def spindle(
        self, rows: Sequence[tuple[float, float, float]], label: int, shade: float = NEUTRAL
    ) -> None:
        """A solid turned on a lathe, from top to bottom: rows of (center x, y, half width)."""
        for share, step in _ROUND:
            lift = 0.25 * (1 - share)
            right = [(x + (share - lift) * half, y) for x, y, half in rows]
            left = [(x - (share + lift) * half, y) for x, y, half in reversed(rows)]
            self.polygon(right + left, label, shade + step)

    def labels(self) -> Bytes:
        """uint8 [2H, 2W], a copy."""
        return np.array(self._image.getchannel(0))

    def planes(self, labels: Bytes, materials: Floats) -> Planes:
        """The canvas at its final size, `labels` (as `labels()` gave them, perhaps repainted) seen
        as `materials`.
        """
        source = Image.fromarray(labels)
        codes = (materials * 255 + 0.5).astype(np.uint8)
        bands = [shrink(source.point(codes[:, band].tolist())) for band in range(5)]
        shade = self._image.getchannel(1).reduce(SUPERSAMPLING).filter(ImageFilter.BoxBlur(1.2))
        return Planes(
            visible=np.stack(bands[:3], axis=-1),
            nir=bands[3],
            warmth=bands[4],
            shade=np.asarray(shade, np.float32) / np.float32(NEUTRAL),
            cover=shrink(source.point([0] + [255] * 255)),
        )


def shrink(band: Image.Image) -> Floats:
    """A band at the final size, as shares of 255."""
    return np.asarray(band.reduce(SUPERSAMPLING), np.float32) / np.float32(255)


def _encode_ink(label: int, shade: float) -> tuple[int, int, int]:
    return label, min(max(int(shade), 0), 255), 0
