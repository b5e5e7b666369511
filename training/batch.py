"""The batch of a step: a pure function of the seed and the step, so that a resumed run draws what
the first one would have.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trireid.samples import SourceError
from trireid.training.image_set import ImageSet, normalize_images
from trireid.training.settings import Settings


class Batch(NamedTuple):
    """`images` float32 [B, 3, 3, H, W], normalized; `camera` int64 [B]; `present` bool [B, 3];
    `labels` int64 [B].
    """

    images: Tensor
    camera: Tensor
    present: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> Batch:
        """Move the batch to a device."""
        return Batch(*(part.to(device) for part in self))


class IdentitySampler:
    """Batches of P identities x K samples, each a pure function of the seed and the step, so a run
    resumes exactly.

    `labels` int64 [samples]. Raises SourceError with fewer than P identities, or fewer than K
    samples of one.
    """

    def __init__(self, labels: NDArray[np.int64], identities: int, samples: int, seed: int) -> None:
        self.members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        self.identities, self.samples, self.seed = identities, samples, seed
        if len(self.members) < identities:
            raise SourceError(
                f"a batch takes {identities} identities, and {len(self.members)} are there to "
                "train "
                "on",
                "batch.identities",
            )
        fewest = min(map(len, self.members))
        if fewest < samples:
            raise SourceError(
                f"a batch takes {samples} samples of an identity, and one has {fewest}",
                "batch.samples",
            )

    @property
    def steps_per_epoch(self) -> int:
        """Steps after which every identity was drawn once."""
        return len(self.members) // self.identities

    def draw(self, step: int) -> NDArray[np.int64]:
        """Draw the sample indices [P * K] of a step; within an epoch no identity comes twice."""
        epoch, position = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.members))
        draw = np.random.default_rng((self.seed, epoch, position))
        chosen = order[position * self.identities : (position + 1) * self.identities]
        return np.concatenate(
            [draw.choice(self.members[i], self.samples, replace=False) for i in chosen]
        )


class Batches:
    """Augmented batches of P x K samples."""

    def __init__(self, data: ImageSet, settings: Settings) -> None:
        self.data, self.settings, self.labels = data, settings, data.labels
        self.sampler = IdentitySampler(
            self.labels, settings.identities_per_step, settings.batch.samples, settings.seed
        )

    def make(self, step: int) -> Batch:
        """Make the batch of a step (0-based)."""
        draw = np.random.default_rng((self.settings.seed, 1, step))
        chosen = self.sampler.draw(step)
        augmentation = self.settings.augmentation
        present = augmentation.drop_modalities(
            self.data.present[chosen], np.random.default_rng((self.settings.seed, 3, step))
        )
        images = augmentation.augment_images(self.data.images[chosen], present, draw)
        camera = augmentation.drop_cameras(self.data.cameras[chosen], draw)
        parts = map(torch.from_numpy, (camera, present, self.labels[chosen]))
        return Batch(normalize_images(images, self.settings.network), *parts)
