"""From an image in any form to the pixels that a network is shown: one implementation for
training, indexing and serving.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trireid.samples import isolation
from trireid.samples.budget import CORES, DECODING, hold_one
from trireid.samples.containers import Container, find_reader
from trireid.samples.depth import current_notes
from trireid.samples.errors import (
    CorruptImageError,
    ImageError,
    ImageFormatError,
    ImageTooLargeError,
    ImageTooSmallError,
    MissingImageError,
)
from trireid.samples.files import MAX_PIXELS, read_image_file
from trireid.samples.fitting import Fit, fit_image
from trireid.samples.rendering import narrow_noted, render, upright_copy
from trireid.samples.sample import MODALITIES, ImageInput, Modality, Sample

FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
MIN_SIDE: Final = 8
#: Pixels up to which a file may be as small as it likes, and how many more it may have for each of
#: its bytes: a file of one color has up to 10,000 (PNG, JPEG, TIFF).
_SMALL: Final = 16_000_000
_PIXELS_PER_BYTE: Final = 20_000
#: Visits to a pixel up to which an image is decoded in this process: a second of a slow core. A 4K
#: frame has 10 million.
IN_PROCESS: Final = 16_000_000
#: Processor time of an image that is decoded apart: at the start, and for each pixel.
SECONDS: Final = 1.0
SECONDS_PER_PIXEL: Final = 0.2e-6
#: Memory of the same: at the start, for each pixel, for each byte of the file.
_MEMORY: Final = 96 << 20
_MEMORY_PER_PIXEL: Final = 28
_MEMORY_PER_BYTE: Final = 3
#: Bytes of the common budget that each pixel of an image takes: measured, the caller's copy
#: included.
_BUDGET_PER_PIXEL: Final = {"JPEG": 16, "PNG": 16, "WEBP": 24, "BMP": 16, "TIFF": 16}

Pixels = NDArray[np.uint8]
Size = tuple[int, int] | Fit


@dataclass(frozen=True)
class Batch:
    """`images` uint8 [B, 3, H, W, 3] (modality, height, width, channel), `present` bool [B, 3]; an
    absent image is zeros.
    """

    images: Pixels
    present: NDArray[np.bool_]


def decode(image_input: ImageInput, field: str | None = None) -> Image.Image:
    """Decode an image in any form to an upright 8-bit RGB image.

    EXIF orientation is applied; grey, palette, CMYK and 16-bit (see `trireid.samples.depth`) images
    are converted; an alpha channel is dropped, as the field's training code does. A file is
    examined before it is decoded, and decoded in a process of its own unless its structure shows
    that it takes little time; see docs/security.md.

    Raises:
        ImageError: Naming `field`, for bytes that are not JPEG, PNG, WebP, BMP or TIFF, for
            damaged ones, for images under 8 pixels a side or over 50 megapixels, and for files that
            cost far more than an image of their size.
        DeadlineError: The caller's deadline passed.
    """
    with open_decoded(image_input, field) as image:
        return image


@contextmanager
def open_decoded(image_input: ImageInput, field: str | None = None) -> Iterator[Image.Image]:
    """As `decode`, with the image's share of this process's memory and cores held while the block
    runs.
    """
    if isinstance(image_input, np.ndarray):
        yield _from_array(image_input, field)
    elif isinstance(image_input, Image.Image):
        _check_size(*image_input.size, field)
        with name_field(field):
            image = upright_copy(image_input)
        yield image
    else:
        container = examine(read_image_file(image_input, field), field)
        per_pixel = _BUDGET_PER_PIXEL[container.form]
        memory = container.pixels * per_pixel + 2 * len(container.data)
        with DECODING.part(memory), _render(container, field) as image:
            yield image


def examine(data: bytes, field: str | None = None) -> Container:
    """Check the container of an image file, without decoding it.

    Raises ImageError as `decode`.
    """
    if not data:
        raise CorruptImageError(f"{_prefix(field)}the image is empty (0 bytes)", field)
    reader = find_reader(data)
    if reader is None:
        raise ImageFormatError(
            f"{_prefix(field)}not an image that is read; send {', '.join(FORMATS)}", field
        )
    with name_field(field):
        container = reader(data)
    _check_size(container.width, container.height, field)
    if container.pixels > max(_SMALL, _PIXELS_PER_BYTE * len(data)):
        size = f"{container.width} x {container.height} pixels"
        raise ImageTooLargeError(
            f"{_prefix(field)}{size} in a file of {len(data)} bytes; re-encode it", field
        )
    return container


@contextmanager
def name_field(field: str | None) -> Iterator[None]:
    """Give the field to an error raised inside that does not know it."""
    try:
        yield
    except ImageError as error:
        raise type(error)(f"{_prefix(field)}{error.message}", field) from error


@contextmanager
def _render(container: Container, field: str | None) -> Iterator[Image.Image]:
    if isolation.AVAILABLE and (container.work is None or container.work > IN_PROCESS):
        memory = (
            _MEMORY + _MEMORY_PER_PIXEL * container.pixels + _MEMORY_PER_BYTE * len(container.data)
        )
        with name_field(field):
            image = isolation.render_apart(
                container, seconds=SECONDS + SECONDS_PER_PIXEL * container.pixels, memory=memory
            )
        yield image
        return
    with hold_one(CORES):
        with name_field(field):
            image = render(container)
        yield image


def pixels(image: Image.Image, to: Size) -> Pixels:
    """Resize -> uint8 [H, W, 3].

    `to`: height and width, bicubic as in the research code, or a `Fit`.
    """
    fit = _make_fit(to)
    current_notes().note_shape((image.height, image.width), fit.size)
    return np.asarray(fit_image(image, fit), dtype=np.uint8)


def to_batch(samples: Sequence[Sample], to: Size) -> Batch:
    """Decode and resize samples, see `pixels`.

    Raises ImageError, naming the modality, for a bad image.
    """
    size = _make_fit(to).size
    images = np.zeros((len(samples), len(MODALITIES), *size, 3), dtype=np.uint8)
    present = np.zeros((len(samples), len(MODALITIES)), dtype=np.bool_)
    for row, sample in enumerate(samples):
        if not sample.present:
            raise MissingImageError("no image: give at least one of rgb, nir, tir", "rgb")
        for column, modality in enumerate(MODALITIES):
            image_input = sample.image(modality)
            if image_input is not None:
                images[row, column] = _fit_image(
                    image_input, describe_field(modality, image_input), _make_fit(to)
                )
                present[row, column] = True
    return Batch(images, present)


def _make_fit(to: Size) -> Fit:
    return to if isinstance(to, Fit) else Fit(to)


def _fit_image(image_input: ImageInput, field: str, to: Fit) -> Pixels:
    if (
        isinstance(image_input, np.ndarray)
        and image_input.dtype == np.uint8
        and image_input.shape == (*to.size, 3)
    ):
        return np.asarray(image_input, np.uint8)  # of `pixels`: nothing is left to do
    with open_decoded(image_input, field) as image:
        return pixels(image, to)


def describe_field(modality: Modality, image_input: ImageInput) -> str:
    """Name an image: its modality, and its file if it has one."""
    return (
        f"{modality} ({os.fspath(image_input)})"
        if isinstance(image_input, str | os.PathLike)
        else modality
    )


def _prefix(field: str | None) -> str:
    return f"{field}: " if field else ""


def _from_array(array: NDArray[Any], field: str | None) -> Image.Image:
    grey = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 1)
    if array.dtype not in (np.uint8, np.uint16) or not (
        grey or (array.ndim == 3 and array.shape[2] == 3)
    ):
        raise ImageFormatError(
            f"{_prefix(field)}an array must be uint8 or uint16, [H, W, 3] or [H, W], not"
            f" {array.dtype} {list(array.shape)}",
            field,
        )
    _check_size(array.shape[1], array.shape[0], field)
    if array.dtype == np.uint16:
        array = narrow_noted(array)
    return Image.fromarray(array.reshape(array.shape[:2]) if grey else array).convert("RGB")


def _check_size(width: int, height: int, field: str | None) -> None:
    if min(width, height) < MIN_SIDE:
        raise ImageTooSmallError(
            f"{_prefix(field)}{width} x {height} pixels is too small; {MIN_SIDE} a side at least",
            field,
        )
    if width * height > MAX_PIXELS:
        raise _too_large(field, f"{width} x {height} pixels")


def _too_large(field: str | None, size: str) -> ImageError:
    return ImageTooLargeError(
        f"{_prefix(field)}{size} is too large; {MAX_PIXELS // 1_000_000} megapixels at most", field
    )
