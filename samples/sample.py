"""The sample: up to three images of one person or vehicle, and their metadata."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, fields
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias, get_args

from trireid.samples.errors import ImageFormatError, ImageTooSmallError
from trireid.samples.metadata import KINDS as KINDS
from trireid.samples.metadata import ItemMetadata
from trireid.samples.metadata import Kind as Kind

if TYPE_CHECKING:  # the client needs a sample, and neither of these
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

Modality = Literal["rgb", "nir", "tir"]
MODALITIES: Final[tuple[Modality, ...]] = get_args(Modality)

#: A path, the bytes of an image file, a PIL image, or an array [H, W, 3] or [H, W] of uint8 or
#: uint16.
ImageInput: TypeAlias = (
    "str | PathLike[str] | bytes | Image.Image | NDArray[np.uint8] | NDArray[np.uint16]"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample(ItemMetadata):
    """Up to three images of one person or vehicle, and their metadata.

    `rgb`, `nir`, `tir`: a path, the bytes of an image file, a PIL image or an array [H, W, 3] or
    [H, W] of uint8 or uint16; None where the modality is missing.
    """

    id: str | None = None
    rgb: ImageInput | None = None
    nir: ImageInput | None = None
    tir: ImageInput | None = None

    @classmethod
    def from_bgr(
        cls,
        frame: NDArray[Any],
        box: Sequence[float] | None = None,
        modality: Modality = "rgb",
        **known: Any,
    ) -> Self:
        """Create a sample from a frame as OpenCV gives it, or from a part of one.

        Args:
            frame: uint8 [H, W, 3] in the order blue, green, red, or uint8 or uint16 [H, W].
            box: Left, top, right, bottom in pixels, right and bottom exclusive; what lies outside
                of the frame is cut off.
            modality: That the frame is of.
            known: Other fields of the sample.

        Raises:
            ImageError: The modality is not one; the frame is not such an array, or the box holds no
                pixel of it.
        """
        import numpy as np

        if modality not in MODALITIES:
            raise ImageFormatError(
                f"modality: {modality!r} is not one of {', '.join(MODALITIES)}", "modality"
            )
        if (
            not isinstance(frame, np.ndarray)
            or frame.ndim not in (2, 3)
            or (frame.ndim == 3 and frame.shape[2] != 3)
        ):
            shape = list(getattr(frame, "shape", ())) or type(frame).__name__
            raise ImageFormatError(
                f"{modality}: a frame must be an array [H, W, 3] or [H, W], not {shape}", modality
            )
        crop = frame if box is None else frame[_slices(frame.shape[:2], box, modality)]
        image: dict[str, Any] = {
            modality: np.ascontiguousarray(crop[..., ::-1] if crop.ndim == 3 else crop)
        }
        return cls(**image, **known)

    def image(self, modality: Modality) -> ImageInput | None:
        """Return the image of one modality, or None."""
        image: ImageInput | None = getattr(self, modality)
        return image

    @property
    def present(self) -> tuple[Modality, ...]:
        """The modalities that this sample has, in the order rgb, nir, tir."""
        return tuple(modality for modality in MODALITIES if self.image(modality) is not None)


def _slices(
    shape: tuple[int, int], box: Sequence[float], modality: Modality
) -> tuple[slice, slice]:
    """Rows and columns of a box within a frame of a shape (height, width)."""
    if len(box) != 4 or not all(math.isfinite(side) for side in box):
        raise ImageFormatError(
            f"{modality}: a box is left, top, right, bottom in pixels, not {list(box)}", modality
        )
    left, top, right, bottom = (round(float(side)) for side in box)
    rows = slice(max(0, top), max(0, min(shape[0], bottom)))
    columns = slice(max(0, left), max(0, min(shape[1], right)))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        frame = f"{shape[1]} x {shape[0]}"
        raise ImageTooSmallError(
            f"{modality}: the box {list(box)} holds no pixel of the frame of {frame}", modality
        )
    return rows, columns


#: The names of a sample's fields, which no attribute may have: where both become columns one would
#: pass for the other.
FIELDS: Final = tuple(each.name for each in fields(Sample))
_AROUND: Final = " \t\r\n\"'`"


def is_field_name(name: str) -> bool:
    """Whether an attribute of this name could be taken for a field of a sample, by a reader that
    ignores case and quotes.
    """
    return unicodedata.normalize("NFKC", name).strip(_AROUND).casefold() in FIELDS
