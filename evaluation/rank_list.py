"""The rank list as an image: a query and its hits, their modalities each, right ones framed green
and wrong ones red.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Images = NDArray[np.uint8]
GREEN, RED, BLUE, WHITE = (46, 160, 67), (215, 58, 73), (56, 110, 200), (255, 255, 255)
FRAME: Final = 4
GAP: Final = 8
CAPTION: Final = 16


@dataclass(frozen=True)
class Ranked:
    """One hit: its images uint8 [M, H, W, 3], a modality each, whether it is right, and what to
    write below it.
    """

    images: Images
    right: bool
    caption: str


def rank_list(rows: Sequence[tuple[Images, str, Sequence[Ranked]]]) -> Image.Image:
    """A row per query: its images uint8 [M, H, W, 3] framed blue with a caption, then its hits,
    best first.
    """
    strips = [_row(images, caption, hits) for images, caption, hits in rows]
    width = max(strip.width for strip in strips)
    sheet = Image.new("RGB", (width, sum(strip.height for strip in strips)), WHITE)
    top = 0
    for strip in strips:
        sheet.paste(strip, (0, top))
        top += strip.height
    return sheet


def _row(images: Images, caption: str, hits: Sequence[Ranked]) -> Image.Image:
    tiles = [_tile(images, BLUE, caption)]
    tiles += [_tile(hit.images, GREEN if hit.right else RED, hit.caption) for hit in hits]
    width, height = tiles[0].size
    row = Image.new("RGB", (len(tiles) * (width + GAP) + 2 * GAP, height + GAP), WHITE)
    for number, tile in enumerate(tiles):
        row.paste(tile, (GAP // 2 + number * (width + GAP) + (2 * GAP if number else 0), GAP // 2))
    return row


def _tile(images: Images, colour: tuple[int, int, int], caption: str) -> Image.Image:
    """The modalities: side by side where they are upright, below one another where they lie."""
    upright = images.shape[1] > images.shape[2]
    joined = Image.fromarray(np.concatenate(list(images), axis=1 if upright else 0))
    tile = Image.new("RGB", (joined.width + 2 * FRAME, joined.height + 2 * FRAME + CAPTION), WHITE)
    draw = ImageDraw.Draw(tile)
    draw.rectangle((0, 0, tile.width - 1, joined.height + 2 * FRAME - 1), fill=colour)
    tile.paste(joined, (FRAME, FRAME))
    draw.text((FRAME, joined.height + 2 * FRAME + 2), caption, fill=(60, 60, 60))
    return tile
