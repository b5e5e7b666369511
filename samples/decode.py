"""From a picture in any form to the pixels that a network is shown: one implementation for training, indexing and serving."""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from samples.errors import PictureError
from samples.files import FileTooLargeError, read_regular
from samples.sample import MODALITIES, Modality, Picture, Sample

FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
MIN_SIDE: Final = 8
MAX_PIXELS: Final = 50_000_000
MAX_BYTES: Final = 8 * MAX_PIXELS  #: of a file: the largest picture, uncompressed, with 16 bits in each of four channels
_EIGHT_BIT: Final = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")
_SIXTEEN_BIT: Final = ("I;16", "I;16B", "I;16L", "I;16N")
_STRIP_ROWS: Final = 256

# What Pillow warns of or logs (odd metadata, a large picture) is either harmless or said by a PictureError of ours.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Batch:
    """`images` uint8 [B, 3, H, W, 3] (modality, height, width, channel), `present` bool [B, 3]; an absent picture is zeros."""

    images: Pixels
    present: NDArray[np.bool_]


def decode(picture: Picture, field: str | None = None) -> Image.Image:
    """A picture in any form, as an upright 8-bit RGB image.

    EXIF orientation is applied; grey, palette, CMYK and 16-bit (scaled by 1/257) pictures are converted; an alpha channel is
    dropped, as the field's training code does. Raises PictureError, naming `field`, for bytes that are no JPEG, PNG, WebP,
    BMP or TIFF, for damaged ones, and for pictures under 8 pixels a side or over 50 megapixels.
    """
    if isinstance(picture, np.ndarray):
        return _from_array(picture, field)
    if isinstance(picture, Image.Image):
        return upright(checked(picture.copy(), field), field)  # the caller's stays as it is
    return upright(opened(content(picture, field), field), field)


def content(picture: str | os.PathLike[str] | bytes, field: str | None = None) -> bytes:
    """The bytes of an image file, at most MAX_BYTES. Raises PictureError where it cannot be read, or is larger."""
    if isinstance(picture, bytes):
        return picture
    try:
        return read_regular(picture, MAX_BYTES)
    except FileTooLargeError as error:
        raise _too_large(field, f"a file of {error.size // 1_000_000} MB") from error
    except OSError as error:
        raise PictureError(f"{_named(field)}cannot be read: {error.strerror}", field, "missing") from error


def opened(data: bytes, field: str | None = None) -> Image.Image:
    """The picture in the bytes of a file as its header has it: checked as far as that tells, its pixels not decoded yet.

    `upright` decodes them. Raises PictureError.
    """
    if not data:
        raise PictureError(f"{_named(field)}the picture is empty (0 bytes)", field)
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise _too_large(field) from error
    except MemoryError:
        raise
    except Exception as error:  # as in `upright`
        raise PictureError(f"{_named(field)}not a picture we read; send {', '.join(FORMATS)}", field, "format") from error
    return checked(image, field)


def checked(image: Image.Image, field: str | None = None) -> Image.Image:
    """The image itself, if its size and mode are ones that we take. Raises PictureError."""
    _check_size(image, field)
    if image.mode not in (*_EIGHT_BIT, *_SIXTEEN_BIT):
        raise PictureError(
            f"{_named(field)}pixels of mode {image.mode} are not read; send 8 or 16 bits a channel", field, "format"
        )
    return image


def upright(image: Image.Image, field: str | None = None) -> Image.Image:
    """A checked image, which may be changed, as `decode` gives it. Raises PictureError where its pixels are damaged."""
    try:
        ImageOps.exif_transpose(image, in_place=True)
        image = _narrowed(image) if image.mode in _SIXTEEN_BIT else image
        return image if image.mode == "RGB" else image.convert("RGB")
    except MemoryError:
        raise
    except Exception as error:  # what Pillow raises for a damaged file is no closed list: struct.error, TypeError, ...
        raise PictureError(f"{_named(field)}the picture is damaged or cut short", field) from error


def pixels(image: Image.Image, size: tuple[int, int]) -> Pixels:
    """Resize to `size` (height, width), bicubic as in the research code -> uint8 [H, W, 3]."""
    height, width = size
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.uint8)


def to_batch(samples: Sequence[Sample], size: tuple[int, int]) -> Batch:
    """Decode and resize samples to `size` (height, width). Raises PictureError, naming the modality, for a bad picture."""
    images = np.zeros((len(samples), len(MODALITIES), *size, 3), dtype=np.uint8)
    present = np.zeros((len(samples), len(MODALITIES)), dtype=np.bool_)
    for row, sample in enumerate(samples):
        if not sample.present:
            raise PictureError("no picture: give at least one of rgb, nir, tir", "rgb", "missing")
        for column, modality in enumerate(MODALITIES):
            picture = sample.picture(modality)
            if picture is not None:
                images[row, column] = _fitted(picture, field_of(modality, picture), size)
                present[row, column] = True
    return Batch(images, present)


def _fitted(picture: Picture, field: str, size: tuple[int, int]) -> Pixels:
    if isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.shape == (*size, 3):
        return picture  # what `pixels` gave: nothing is left to do
    return pixels(decode(picture, field), size)


def field_of(modality: Modality, picture: Picture) -> str:
    """What to call a picture: its modality, and its file where it has one."""
    return f"{modality} ({os.fspath(picture)})" if isinstance(picture, str | os.PathLike) else modality


def _named(field: str | None) -> str:
    return f"{field}: " if field else ""


def _from_array(array: NDArray[np.uint8], field: str | None) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise PictureError(
            f"{_named(field)}an array must be uint8 [H, W, 3], not {array.dtype} {list(array.shape)}", field, "format"
        )
    image = Image.fromarray(array)
    _check_size(image, field)
    return image


def _check_size(image: Image.Image, field: str | None) -> None:
    width, height = image.size
    if min(width, height) < MIN_SIDE:
        raise PictureError(
            f"{_named(field)}{width} x {height} pixels is too small; {MIN_SIDE} a side at least", field, "too_small"
        )
    if width * height > MAX_PIXELS:
        raise _too_large(field, f"{width} x {height} pixels")


def _too_large(field: str | None, size: str = "the picture") -> PictureError:
    return PictureError(f"{_named(field)}{size} is too large; {MAX_PIXELS // 1_000_000} megapixels at most", field, "too_large")


def _narrowed(image: Image.Image) -> Image.Image:
    """A 16-bit grey picture as 8 bits (Pillow's own conversion would clip it at 255), by strips to hold little at once."""
    wide = np.asarray(image)
    narrow = np.empty(wide.shape, np.uint8)
    for top in range(0, len(wide), _STRIP_ROWS):
        rows = slice(top, top + _STRIP_ROWS)
        narrow[rows] = (wide[rows].astype(np.uint32) + 128) // 257
    return Image.fromarray(narrow)
