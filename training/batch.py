"""The batch of a step: a pure function of the seed and the step, so that a resumed run draws what
the first one would have.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trireid.training.image_set import PictureSet, normalised
from trireid.training.sampler import IdentitySampler
from trireid.training.settings import Settings


class Batch(NamedTuple):
    """`images` float32 [B, 3, 3, H, W], normalised;

    `camera` int64 [B]; `present` bool [B, 3]; `labels` int64 [B].
    """

    images: Tensor
    camera: Tensor
    present: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(*(part.to(device) for part in self))


class Batches:
    """Augmented batches of P x K samples."""

    def __init__(self, data: PictureSet, settings: Settings) -> None:
        self.data, self.settings, self.labels = data, settings, data.labels
        self.sampler = IdentitySampler(
            self.labels, settings.identities_per_step, settings.batch.samples, settings.seed
        )

    def at(self, step: int) -> Batch:
        """The batch of a step (0-based)."""
        draw = np.random.default_rng((self.settings.seed, 1, step))
        chosen = self.sampler.batch(step)
        augmentation = self.settings.augmentation
        images = normalised(
            augmentation.pictures(self.data.images[chosen], draw), self.settings.network
        )
        camera = augmentation.cameras(self.data.cameras[chosen], draw)
        present = augmentation.presence(self.data.present[chosen], draw)
        return Batch(images, *map(torch.from_numpy, (camera, present, self.labels[chosen])))
