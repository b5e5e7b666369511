"""The images of a training or test set, decoded once and held in memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from trireid.models import NetworkConfig
from trireid.samples import Sample, to_batch


@dataclass(frozen=True)
class ImageSet:
    """`images` uint8 [M, 3, H, W, 3];

    `identities` (text), `cameras` int64, both [M]; `present` bool [M, 3].
    """

    images: NDArray[np.uint8]
    identities: NDArray[np.str_]
    cameras: NDArray[np.int64]
    present: NDArray[np.bool_]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Identities as numbers 0, 1, ..., [M]."""
        return np.unique(self.identities, return_inverse=True)[1].astype(np.int64)

    def __len__(self) -> int:
        return len(self.images)

    def select_identities(self, names: Iterable[str]) -> ImageSet:
        """The part of the set that shows these identities."""
        chosen = np.isin(self.identities, list(names))
        return ImageSet(
            self.images[chosen], self.identities[chosen], self.cameras[chosen], self.present[chosen]
        )

    @classmethod
    def decode(
        cls,
        samples: Iterable[Sample],
        size: tuple[int, int],
        total: int | None = None,
        title: str = "",
    ) -> ImageSet:
        """Decode every sample to `size` (height, width), with a progress bar."""
        images, identities, cameras, present = [], [], [], []
        for sample in tqdm(samples, title, total, unit="triplet", mininterval=1.0):
            batch = to_batch([sample], size)
            images.append(batch.images[0])
            present.append(batch.present[0])
            identities.append(str(sample.identity))
            cameras.append(-1 if sample.camera is None else sample.camera)
        return cls(
            np.stack(images), np.array(identities), np.array(cameras, np.int64), np.stack(present)
        )


def normalize_images(images: NDArray[np.uint8], config: NetworkConfig) -> Tensor:
    """uint8 [B, 3, H, W, 3] -> float32 [B, 3, 3, H, W] with the network's mean and std."""
    scaled = torch.from_numpy(images).permute(0, 1, 4, 2, 3).float() / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (config.mean, config.std))
    return (scaled - mean) / std
