"""How an image is brought to a network's size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from PIL import Image

#: Filters to resize with, by what a card calls them. All look at every pixel where they make an
#: image smaller.
RESIZES: Final = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "area": Image.Resampling.BOX,
}
#: Whether the shape of an image is given up, or kept and padded with black.
FITS: Final = ("stretch", "letterbox")


@dataclass(frozen=True)
class Fit:
    """A network's size, and how an image is brought to it.

    Args:
        size: Height and width in pixels.
        resize: A key of `RESIZES`; the research code's own is bicubic.
        fit: One of `FITS`.
    """

    size: tuple[int, int]
    resize: str = "bicubic"
    fit: str = "stretch"


def fit_image(image: Image.Image, to: Fit) -> Image.Image:
    """Bring an image to a size; one that has it already stays as it is."""
    height, width = to.size
    if image.size == (width, height):
        return image
    if to.fit == "stretch":
        return image.resize((width, height), RESIZES[to.resize])
    scale = min(width / image.width, height / image.height)
    inner = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    canvas = Image.new("RGB", (width, height))
    canvas.paste(
        image.resize(inner, RESIZES[to.resize]), ((width - inner[0]) // 2, (height - inner[1]) // 2)
    )
    return canvas
