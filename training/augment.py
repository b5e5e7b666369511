"""Augmentation as in the research code (flip, pad and crop, random erasing, with one geometry for
the three modalities), and beyond it: camera and detector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from trireid.training.appearance import change_light, crop_box, degrade, draw_box, draw_patch

Images = NDArray[np.uint8]
Share = Annotated[float, Field(ge=0, le=1)]
#: Least and largest share of an image's area.
_ERASED: Final = (0.02, 0.25)
_OCCLUDED: Final = (0.04, 0.3)


@dataclass(frozen=True)
class Augmentation:
    """`flip`, `erase`, `drop_modality`, `drop_camera`: probabilities; `pad`: pixels of shift at
    most, each way.

    `drop_modality`: that a sample loses one modality, half of the time two, so that the network
    meets missing modalities; `drop_together`: all of a batch's samples lose the same ones, so that
    the triplet loss compares like with like: else a distance says first which modalities two
    samples lack. `drop_camera`: that a sample's camera is given as unknown (-1), as most queries of
    users are.

    `light`, `degrade`: that an image gets other light and colors, or a worse camera, each modality
    its own; `misplace`: that a sample's box is off as a detector's is; `occlude`: that a piece of
    another sample of the batch lies over it (`trireid.training.appearance`). The last two are the
    same in the three modalities. All from `drop_modality` on are off unless asked for.
    """

    flip: Share = 0.5
    pad: Annotated[int, Field(ge=0)] = 10
    erase: Share = 0.5
    drop_modality: Share = 0.0
    drop_together: bool = False
    drop_camera: Share = 0.0
    light: Share = 0.0
    degrade: Share = 0.0
    misplace: Share = 0.0
    occlude: Share = 0.0

    def augment_images(
        self, batch: Images, present: NDArray[np.bool_], draw: np.random.Generator
    ) -> Images:
        """Change a batch uint8 [B, 3, H, W, 3]: the same flip, shift and hole in the three
        modalities of a sample, other light and another camera in those that are there (`present`
        bool [B, 3]).
        """
        batch = np.stack([self._augment(triplet, draw) for triplet in batch])
        if self.occlude:
            batch = self._occlude(batch, draw)
        if self.light or self.degrade:
            for image in zip(*np.nonzero(present), strict=True):
                batch[image] = self._change_camera(batch[image], draw)
        return batch

    def _change_camera(self, image: Images, draw: np.random.Generator) -> Images:
        if draw.random() < self.light:
            image = change_light(image, draw)
        if draw.random() < self.degrade:
            image = degrade(image, draw)
        return image

    def _occlude(self, batch: Images, draw: np.random.Generator) -> Images:
        """Lay a piece of another sample over some.

        Source: Zhou et al., "Omni-scale feature learning for person re-identification" (2019),
        random patch.
        """
        occluded = batch.copy()
        height, width = batch.shape[2:4]
        for row in np.flatnonzero(draw.random(len(batch)) < self.occlude):
            rows, columns = draw_patch(height, width, _OCCLUDED, draw)
            other = draw.integers(len(batch))
            occluded[row, :, rows, columns] = batch[other, :, rows, columns]
        return occluded

    def _augment(self, triplet: Images, draw: np.random.Generator) -> Images:
        if draw.random() < self.flip:
            triplet = triplet[:, :, ::-1]
        if self.misplace and draw.random() < self.misplace:
            box = draw_box(draw)
            triplet = np.stack([crop_box(image, box) for image in triplet])
        triplet = self._shift(triplet, draw)
        if draw.random() < self.erase:
            self._erase(triplet, draw)
        return triplet

    def _shift(self, triplet: Images, draw: np.random.Generator) -> Images:
        height, width = triplet.shape[1:3]
        padded = np.pad(triplet, ((0, 0), (self.pad, self.pad), (self.pad, self.pad), (0, 0)))
        top, left = draw.integers(0, 2 * self.pad + 1, 2)
        return padded[:, top : top + height, left : left + width].copy()

    def _erase(self, triplet: Images, draw: np.random.Generator) -> None:
        """Random erasing (Zhong et al., 2017): 2 to 25 % of the area, aspect 0.3 to 3.3, filled
        with mid grey.
        """
        height, width = triplet.shape[1:3]
        rows, columns = draw_patch(height, width, _ERASED, draw)
        triplet[:, rows, columns] = 128

    def drop_modalities(
        self, present: NDArray[np.bool_], draw: np.random.Generator
    ) -> NDArray[np.bool_]:
        """Drop modalities of those that are there, bool [B, 3]; one at least stays."""
        if self.drop_together:
            return self._drop_together(present, draw)
        shown = present.copy()
        for row in np.flatnonzero(draw.random(len(present)) < self.drop_modality):
            dropped, there = draw.integers(1, 3), np.flatnonzero(present[row])
            shown[row, draw.permutation(there)[: min(dropped, len(there) - 1)]] = False
        return shown

    def _drop_together(
        self, present: NDArray[np.bool_], draw: np.random.Generator
    ) -> NDArray[np.bool_]:
        """The same modalities dropped from every row; a row that would have none left keeps what it
        has.
        """
        if draw.random() >= self.drop_modality:
            return present.copy()
        shown = present.copy()
        shown[:, draw.permutation(present.shape[1])[: draw.integers(1, 3)]] = False
        return np.where(shown.any(axis=1, keepdims=True), shown, present)

    def drop_cameras(
        self, cameras: NDArray[np.int64], draw: np.random.Generator
    ) -> NDArray[np.int64]:
        """Camera numbers [B], some of them replaced by -1."""
        return np.where(draw.random(len(cameras)) < self.drop_camera, -1, cameras)
