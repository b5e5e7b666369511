"""Baselines for a trained network: features that need no training, each as strong as possible."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Images = NDArray[np.uint8]
Features = NDArray[np.float32]

_PIXEL_BLOCK, _HISTOGRAM_BLOCK = 4, 2
_STRIPES = 6
_BINS = 8
_SPREAD = 1.5  # bins that one standard deviation of a image's values spans
_COLOR_BINS = 16
_CHUNK = 16  # images at a time: the float planes of a whole set would fill the memory


def describe_by_pixels(images: Images) -> Features:
    """The pixels themselves, averaged over 4 x 4 blocks, for images uint8 [B, 3, H, W, 3]: float32
    [B, D].

    Each modality's mean is taken away and its contrast evened out, which makes nearest neighbours
    stronger: a camera's exposure counts for less. Rows have unit length. Raises ValueError unless
    height and width are multiples of 4.
    """
    height, width = images.shape[2:4]
    if height % _PIXEL_BLOCK or width % _PIXEL_BLOCK:
        raise ValueError(
            f"height and width must be multiples of {_PIXEL_BLOCK}, not {height} and {width}"
        )
    return _map_chunks(images, _pixels)


def describe_by_histogram(images: Images) -> Features:
    """A tri-modal color histogram in six horizontal stripes, for images uint8 [B, 3, H, W, 3]:
    float32 [B, D].

    Per stripe 8 bins for each channel of RGB, for NIR and for TIR (whose three channels are equal).
    Three things make it several times as accurate as the plain form: each channel's mean and
    contrast are evened out over the image, a value between two bins counts in both, and the outer
    sixths of the width, mostly background, are left out. Histograms are shares, square-rooted, so
    that the inner product of two rows is their Bhattacharyya coefficient.
    """
    return _map_chunks(images, _histograms)


def describe_by_colors(images: Images) -> Features:
    """Describe RGB crops by one color histogram each, for images uint8 [B, H, W, 3]: float32
    [B, 4096].

    16 x 16 x 16 bins over red, green and blue together, as square-rooted shares.
    """
    return _map_chunks(images, partial(_count_colors, stripes=1))


def describe_by_hsv_stripes(images: Images) -> Features:
    """Describe RGB crops by hue, saturation and value in six horizontal stripes, for images uint8
    [B, H, W, 3]: float32 [B, 24576].

    16 x 16 x 16 bins a stripe, as square-rooted shares; the outer sixths of the width, mostly
    background, are left out.
    """
    return _map_chunks(images, _count_hsv)


def _pixels(images: Images) -> Features:
    pixels = _average_blocks(images, _PIXEL_BLOCK).reshape(*images.shape[:2], -1)
    pixels = pixels - pixels.mean(axis=2, keepdims=True)
    return _unit(_unit(pixels).reshape(len(images), -1))


def _histograms(images: Images) -> Features:
    small = _average_blocks(images, _HISTOGRAM_BLOCK)
    planes = np.concatenate([small[:, 0], small[:, 1, :, :, :1], small[:, 2, :, :, :1]], axis=-1)
    planes -= planes.mean(axis=(1, 2), keepdims=True)
    planes /= planes.std(axis=(1, 2), keepdims=True) + 4
    margin = planes.shape[2] // 6
    places = np.clip(planes[:, :, margin:-margin] * _SPREAD + (_BINS - 1) / 2, 0, _BINS - 1)
    counts = [
        np.maximum(1 - np.abs(stripe - place), 0).mean(axis=(1, 2))
        for stripe in np.array_split(places, _STRIPES, axis=1)
        for place in range(_BINS)
    ]
    return _unit(np.sqrt(np.concatenate(counts, axis=1)))


def _count_hsv(images: Images) -> Features:
    margin = images.shape[2] // 6
    planes = [np.asarray(Image.fromarray(image).convert("HSV")) for image in images]
    return _count_colors(np.stack(planes)[:, :, margin:-margin], _STRIPES)


def _count_colors(images: Images, stripes: int) -> Features:
    red, green, blue = np.moveaxis(images.astype(np.intp) * _COLOR_BINS // 256, -1, 0)
    colors = (red * _COLOR_BINS + green) * _COLOR_BINS + blue
    counts = [
        [
            np.bincount(part.ravel(), minlength=_COLOR_BINS**3)
            for part in np.array_split(image, stripes)
        ]
        for image in colors
    ]
    return _unit(np.sqrt(np.array(counts, np.float32)).reshape(len(images), -1))


def _average_blocks(images: Images, block: int) -> Features:
    """Means of square blocks: [B, 3, H, W, 3] to float32 [B, 3, H / block, W / block, 3]; a ragged
    edge is left out.
    """
    height, width = images.shape[2] // block, images.shape[3] // block
    whole = images[:, :, : height * block, : width * block]
    total = np.zeros((*images.shape[:2], height, width, images.shape[4]), np.float32)
    for down in range(block):
        for across in range(block):
            total += whole[:, :, down::block, across::block]
    total /= block * block
    return total


def _map_chunks(images: Images, features: Callable[[Images], Features]) -> Features:
    return np.concatenate(
        [features(images[start : start + _CHUNK]) for start in range(0, len(images), _CHUNK)]
    )


def _unit(features: Features) -> Features:
    length = np.linalg.norm(features, axis=-1, keepdims=True)
    unit: Features = (features / np.maximum(length, 1e-12)).astype(np.float32)
    return unit
