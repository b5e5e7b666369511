"""From a checked container, or an image of Pillow's, to upright 8-bit RGB: the only place where
Pillow decodes a file.
"""

from __future__ import annotations

import io
import logging
import warnings
from contextlib import ContextDecorator, ExitStack
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from trireid.samples.containers.container import Container, corrupt
from trireid.samples.depth import current_notes
from trireid.samples.errors import CorruptImageError, ImageError, ImageFormatError

_EIGHT_BIT: Final = (
    "1",
    "L",
    "LA",
    "La",
    "P",
    "PA",
    "RGB",
    "RGBA",
    "RGBa",
    "RGBX",
    "CMYK",
    "YCbCr",
)
_SIXTEEN_BIT: Final = ("I;16", "I;16B", "I;16L", "I;16N")
_JPEG_END: Final = b"\xff\xd9"
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class _QuietPillow(ContextDecorator):
    """Drop Pillow's warnings and log lines while any thread decodes.

    They tell of odd metadata, which is harmless, or of what an ImageError says.
    """

    def __init__(self) -> None:
        self._lock, self._users, self._stack = Lock(), 0, ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._stack.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", module=r"PIL\.")
                self._stack.callback(_PILLOW.setLevel, _PILLOW.level)
                _PILLOW.setLevel(logging.CRITICAL)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                self._stack.close()


_PILLOW: Final = logging.getLogger("PIL")
_quiet_pillow: Final = _QuietPillow()


@_quiet_pillow
def render(container: Container) -> Image.Image:
    """Decode a container.

    Raises:
        ImageError: Pillow cannot decode it, or finds another size; without a field.
    """
    try:
        image = _load(container, container.data)
    except (MemoryError, ImageError):
        raise
    except Exception as error:  # Pillow raises struct.error, TypeError and more
        ended = _load_without_end(container) if container.form == "JPEG" else None
        if ended is None:
            raise CorruptImageError("the image is damaged or cut short") from error
        image = ended
    turn = _TURNS.get(container.orientation)
    return as_rgb(image if turn is None else image.transpose(turn))


def _load(container: Container, data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=(container.form,))
    if image.size != (container.width, container.height):
        raise corrupt("its size")
    check_mode(image)
    image.load()
    return image


def _load_without_end(container: Container) -> Image.Image | None:
    """Decode a JPEG that lacks its last two bytes, as some cameras write it; None if more than
    these is missing.

    The decoder invents what is missing before an end. It is whole if what follows it changes no
    pixel.
    """
    data = container.data.rstrip(b"\xff")
    try:
        plain, filled = (
            _load(container, data + filling + _JPEG_END) for filling in (b"", b"\x55\xaa" * 512)
        )
    except (MemoryError, ImageError):
        raise
    except Exception:  # as in `render`
        return None
    return plain if plain.tobytes() == filled.tobytes() else None


@_quiet_pillow
def upright_copy(image: Image.Image) -> Image.Image:
    """An image of Pillow's as `render` gives it; the caller's own stays as it is.

    Raises ImageError, without a field.
    """
    check_mode(image)
    try:
        return as_rgb(ImageOps.exif_transpose(image))
    except MemoryError:
        raise
    except Exception as error:  # as in `render`
        raise CorruptImageError("the image is damaged or cut short") from error


def check_mode(image: Image.Image) -> None:
    """Raises ImageError for pixels that have no meaning in 8 bits."""
    if image.mode not in (*_EIGHT_BIT, *_SIXTEEN_BIT):
        raise ImageFormatError(
            f"pixels of mode {image.mode} are not read; send 8 or 16 bits a channel"
        )


def as_rgb(image: Image.Image) -> Image.Image:
    """An image in 8-bit RGB: alpha is dropped, 16 bits are narrowed as the current notes say."""
    image = (
        Image.fromarray(narrow_noted(np.asarray(image).astype(np.uint16, copy=False)))
        if image.mode in _SIXTEEN_BIT
        else image
    )
    return image if image.mode == "RGB" else image.convert("RGB")


def narrow_noted(wide: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Bring 16 bits to 8 as the current notes say, and note a guess; see `Depth.narrow`."""
    notes = current_notes()
    narrow, is_guess = notes.depth.narrow(wide)
    if is_guess:
        notes.note_stretched()
    return narrow
