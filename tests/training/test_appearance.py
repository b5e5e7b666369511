"""Light, camera, box and occluder of the augmentation: what each changes, and what it leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from trireid.training.appearance import (
    Pixels,
    change_light,
    crop_box,
    degrade,
    draw_box,
    draw_patch,
)
from trireid.training.augment import Augmentation

PLAIN = Augmentation(flip=0.0, erase=0.0, pad=0)


def make_images(count: int = 6) -> NDArray[np.uint8]:
    """Colored RGB, grey NIR and TIR [count, 3, 48, 24, 3]."""
    draw = np.random.default_rng(5)
    images = draw.integers(30, 220, (count, 3, 48, 24, 3), dtype=np.uint8)
    images[:, 1:] = images[:, 1:, :, :, :1]
    return images


@pytest.mark.parametrize("change", [change_light, degrade])
def test_an_image_keeps_its_shape_and_grey_stays_grey(
    change: Callable[[Pixels, np.random.Generator], Pixels],
) -> None:
    for seed in range(20):
        draw = np.random.default_rng(seed)
        for image in make_images(1)[0]:
            changed = change(image, draw)
            assert changed.shape == image.shape
            assert changed.dtype == np.uint8
            if (image[..., 0] == image[..., 2]).all():
                assert np.abs(np.ptp(changed.astype(int), axis=-1)).max() <= 2


@given(st.integers(0, 2**32), st.integers(16, 300), st.integers(16, 300))
def test_an_occluder_lies_inside_and_covers_a_part(seed: int, height: int, width: int) -> None:
    rows, columns = draw_patch(height, width, (0.04, 0.3), np.random.default_rng(seed))
    assert 0 <= rows.start < rows.stop <= height
    assert 0 <= columns.start < columns.stop <= width
    assert (rows.stop - rows.start) * (columns.stop - columns.start) <= 0.31 * height * width


def test_the_whole_box_changes_nothing_and_half_of_it_shows_half() -> None:
    image = np.zeros((40, 20, 3), np.uint8)
    image[:20] = 200
    assert np.array_equal(crop_box(image, np.array([0, 0, 1, 1.0])), image)
    assert (crop_box(image, np.array([0, 0, 1, 0.5]))[:-1] == 200).all()
    sides = np.stack([draw_box(np.random.default_rng(seed)) for seed in range(500)])
    assert np.abs(sides.mean(axis=0) - (0, 0, 1, 1)).max() < 0.03


@pytest.mark.parametrize("name", ["light", "degrade", "misplace", "occlude"])
def test_each_changes_images_alone_and_equally_for_equal_draws(name: str) -> None:
    images, present = make_images(), np.ones((6, 3), np.bool_)
    augmentation = replace(PLAIN, **{name: 1.0})  # type: ignore[arg-type]
    once, again = (
        augmentation.augment_images(images, present, np.random.default_rng(3)) for _ in range(2)
    )
    assert np.array_equal(once, again)
    assert not np.array_equal(once, images)
    off = PLAIN.augment_images(images, present, np.random.default_rng(3))
    assert np.array_equal(off, images)


def test_box_and_occluder_are_the_same_in_the_three_modalities() -> None:
    images = np.repeat(make_images()[:, :1], 3, axis=1)
    augmentation = replace(PLAIN, misplace=1.0, occlude=1.0)
    changed = augmentation.augment_images(
        images, np.ones((6, 3), np.bool_), np.random.default_rng(3)
    )
    assert (changed[:, 0] == changed[:, 1]).all()
    assert (changed[:, 0] == changed[:, 2]).all()


def test_absent_images_cost_nothing() -> None:
    images, present = make_images(), np.zeros((6, 3), np.bool_)
    present[:, 0] = True
    augmentation = replace(PLAIN, light=1.0, degrade=1.0)
    changed = augmentation.augment_images(images, present, np.random.default_rng(3))
    assert np.array_equal(changed[:, 1:], images[:, 1:])
    assert not np.array_equal(changed[:, 0], images[:, 0])
