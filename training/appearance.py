"""The marks of a real camera and a real detector: light, colors, resolution, blur, grain, JPEG,
boxes that are off, and things in between.

Drawn images are clean. A network that is to know real crops must not lean on that.
"""

from __future__ import annotations

from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

Pixels = NDArray[np.uint8]
_CODES: Final = np.arange(256, dtype=np.float32) / 255
_BILINEAR: Final = Image.Resampling.BILINEAR


def change_light(image: Pixels, draw: np.random.Generator) -> Pixels:
    """Change exposure, contrast, gamma and, of a color image, cast and saturation.

    uint8 [H, W, 3] -> the same; an image whose channels are equal stays so.
    """
    is_gray = bool((image[::8, ::8, 0] == image[::8, ::8, 2]).all())
    gain, contrast, gamma = np.exp(draw.normal(0, (0.25, 0.2, 0.25)))
    casts = np.ones(3) if is_gray else draw.normal(1, 0.09, 3)
    curve = 0.45 + contrast * (_CODES**gamma - 0.45)
    table = (np.outer(casts * gain, curve).clip(0, 1) * 255 + 0.5).astype(np.uint8)
    changed = Image.fromarray(image).point(table.ravel().tolist())
    if not is_gray:
        color = 0.0 if draw.random() < 0.04 else draw.uniform(0.4, 1.5)
        changed = ImageEnhance.Color(changed).enhance(float(color))
    return np.asarray(changed)


def degrade(image: Pixels, draw: np.random.Generator) -> Pixels:
    """Lose resolution (to a fifth of the height at worst), blur, add grain, compress as JPEG, each
    in some of the images. uint8 [H, W, 3] -> the same size.
    """
    height, width = image.shape[:2]
    changed = Image.fromarray(image)
    if draw.random() < 0.7:
        scale = np.exp(draw.uniform(np.log(0.2), 0))
        small = (max(8, round(width * scale)), max(8, round(height * scale)))
        changed = changed.resize(small, Image.Resampling.BOX)
    if draw.random() < 0.3:
        changed = changed.filter(ImageFilter.GaussianBlur(float(draw.uniform(0.3, 1.2))))
    if draw.random() < 0.4:
        changed = _add_grain(changed, float(draw.uniform(2, 14)), draw)
    if draw.random() < 0.5:
        changed = _compress(changed, int(draw.integers(25, 90)))
    if changed.size != (width, height):
        changed = changed.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(changed)


def draw_box(draw: np.random.Generator) -> NDArray[np.float64]:
    """Draw how far a detector's box is off: left, top, right, bottom as shares of the image."""
    center, size = 0.5 + draw.normal(0, (0.05, 0.04)), np.exp(draw.normal(-0.02, (0.1, 0.08)))
    return np.concatenate([center - size / 2, center + size / 2])


def crop_box(image: Pixels, box: NDArray[np.float64]) -> Pixels:
    """Cut a box of `draw_box` out and scale it to the image's size; black outside the image."""
    height, width = image.shape[:2]
    left, top, right, bottom = box * (width, height, width, height)
    corners = (left, top, left, bottom, right, bottom, right, top)
    cut = Image.fromarray(image).transform(
        (width, height), Image.Transform.QUAD, corners, _BILINEAR
    )
    return np.asarray(cut)


def draw_patch(
    height: int, width: int, shares: tuple[float, float], draw: np.random.Generator
) -> tuple[slice, slice]:
    """Draw the rows and columns of a rectangle: least and largest share of the area, aspect 0.3 to
    3.3.
    """
    area = draw.uniform(*shares) * height * width
    aspect = np.exp(draw.uniform(np.log(0.3), np.log(3.3)))
    tall, wide = min(height, int((area * aspect) ** 0.5)), min(width, int((area / aspect) ** 0.5))
    top, left = draw.integers(0, height - tall + 1), draw.integers(0, width - wide + 1)
    return slice(top, top + tall), slice(left, left + wide)


def _add_grain(image: Image.Image, deviation: float, draw: np.random.Generator) -> Image.Image:
    pixels = np.asarray(image, np.float32)
    grain = draw.standard_normal(pixels.shape[:2], np.float32)[..., None] * deviation
    return Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8))


def _compress(image: Image.Image, quality: int) -> Image.Image:
    data = BytesIO()
    image.save(data, "jpeg", quality=quality)
    return Image.open(data).convert("RGB")
