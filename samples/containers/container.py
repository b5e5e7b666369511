"""An image file as its container describes it, and the bounds that hold for every format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from trireid.samples.errors import CorruptImageError, ImageError, ImageTooLargeError

#: Bytes of metadata (Exif, XMP, ICC, text) in one file; compressed text counts with its inflated
#: size.
MAX_METADATA: Final = 8 << 20
#: Segments, chunks, strips or tiles in one file.
MAX_PARTS: Final = 1 << 16


@dataclass(frozen=True)
class Container:
    """A file whose structure was checked, reduced to the parts that make pixels.

    Attributes:
        form: The format's name in Pillow.
        width: In pixels, as stored (before `orientation` is applied).
        height: In pixels, as stored.
        data: The bytes for the decoder: of formats whose metadata costs time, without it.
        orientation: Of Exif, 1 to 8; 1 is upright.
        work: An upper bound of what the decoder does, in visits to a pixel; None if the structure
            gives no bound.
    """

    form: str
    width: int
    height: int
    data: bytes
    orientation: int = 1
    work: int | None = None

    @property
    def pixels(self) -> int:
        """How many there are."""
        return self.width * self.height


class MetadataCount:
    """Counts the metadata of one file against MAX_METADATA."""

    def __init__(self) -> None:
        self.left = MAX_METADATA

    def add(self, size: int) -> None:
        """Count `size` bytes. Raises ImageError (`too_large`) once there are too many."""
        self.left -= size
        if self.left < 0:
            raise too_much(f"over {MAX_METADATA >> 20} MiB of metadata (Exif, XMP, ICC, text)")


def too_much(what: str) -> ImageError:
    """The error for a file that would cost more to decode than an image of its size may."""
    return ImageTooLargeError(f"the image has {what}, far more than it needs; re-encode it")


def corrupt(why: str) -> ImageError:
    """The error for a file whose structure is broken."""
    return CorruptImageError(f"the image is damaged or cut short: {why}")
