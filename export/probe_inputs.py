"""Trial pictures: what two networks are held against each other on, whatever they were trained for."""

from __future__ import annotations

from typing import Final

import numpy as np

from trireid.inference.card import Card
from trireid.inference.embedder import Cameras, Images, Present
from trireid.samples import MODALITIES

#: Batch sizes to try.
SIZES: Final = (1, 2, 5)
_CELL: Final = 8  # pixels of one colour
_COLOURS: Final = 3
_PRESENT: Final = 0.7
Batch = tuple[Images, Cameras, Present]


def draw_probe_inputs(card: Card, size: int) -> Batch:
    """Smooth random pictures, cameras (unknown among them) and modalities missing, the same for the
    same card and size.
    """
    draw = np.random.default_rng(size)
    height, width = card.image_size
    many = len(MODALITIES)
    cells = draw.integers(
        0, 256, (size, many, -(-height // _CELL), -(-width // _CELL), _COLOURS), dtype=np.uint8
    )
    coarse = cells.repeat(_CELL, axis=2).repeat(_CELL, axis=3)[:, :, :height, :width]
    images = coarse ^ draw.integers(0, 32, coarse.shape, dtype=np.uint8)
    present = draw.random((size, many)) < _PRESENT
    present[~present.any(axis=1), 0] = True
    return images, draw.integers(-1, max(1, card.cameras), size), present
