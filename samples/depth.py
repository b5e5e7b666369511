"""From 16-bit grey to 8 bits: by the whole range, by what an image uses of it, or by a fixed range
of counts.

Thermal cameras write counts of 12 or 14 bits, of which a scene uses little: scaled by 1/257, all of
it falls into a few levels.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from trireid.samples.errors import ConfigError

Mode = Literal["auto", "8bit", "stretch", "counts"]
FORMS: Final = "8bit, stretch, counts, counts:LOW:HIGH"
#: Counts of a camera of 14 bits.
_COUNTS: Final = (0, 2**14 - 1)
#: A smaller span than this is a small part of the range.
_SMALL_SPAN: Final = 2**16 // 16
_PERCENTILES: Final = (0.5, 99.5)
_STRIP_ROWS: Final = 256
_FIXED: Final = re.compile(r"counts:(\d{1,5}):(\d{1,5})")
#: Of sides, by which an image's shape differs from the network's where a crop's does not.
_FAR: Final = 2.5

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Depth:
    """How 16-bit grey images become 8-bit ones.

    `mode`: `8bit` scales by 1/257; `stretch` maps an image's percentiles 0.5 to 99.5 to 0 to 255;
    `counts` maps `low` to `high`, the same for each image; `auto` stretches an image that uses
    under a sixteenth of the range, or 14 bits at most, and scales others.
    """

    mode: Mode = "auto"
    low: int = 0
    high: int = 65_535

    def __str__(self) -> str:
        return f"counts:{self.low}:{self.high}" if self.mode == "counts" else self.mode

    @classmethod
    def parse(cls, text: str) -> Depth:
        """Read what `str` gives. Raises ConfigError."""
        if text in ("auto", "8bit", "stretch"):
            return cls(text)  # type: ignore[arg-type]
        if text == "counts":
            return cls("counts", *_COUNTS)
        fixed = _FIXED.fullmatch(text)
        if fixed is None or not int(fixed[1]) < int(fixed[2]) <= 65_535:
            raise ConfigError(
                f"thermal: must be one of {FORMS} (0 <= LOW < HIGH <= 65535), not {text[:40]!r}",
                "thermal",
            )
        return cls("counts", int(fixed[1]), int(fixed[2]))

    def narrow(self, wide: NDArray[np.uint16]) -> tuple[NDArray[np.uint8], bool]:
        """Bring 16 bits to 8.

        Args:
            wide: uint16 [H, W] or [H, W, C].

        Returns:
            uint8 of the same shape; whether it was stretched by a guess.
        """
        low, high = int(wide.min()), int(wide.max())
        if self.mode == "counts":
            return _scale(wide, self.low, self.high), False
        is_guess = self.mode == "auto" and (high - low < _SMALL_SPAN or high < 2**14)
        if low < high and (self.mode == "stretch" or is_guess):
            first, last = np.percentile(wide, _PERCENTILES)
            return _scale(wide, first, last) if first < last else _scale(wide, low, high), is_guess
        return _scale(wide, 0, 65_535), False


def _scale(wide: NDArray[np.uint16], low: float, high: float) -> NDArray[np.uint8]:
    narrow = np.empty(wide.shape, np.uint8)
    for top in range(0, len(wide), _STRIP_ROWS):  # by strips, to hold little at once
        rows = slice(top, top + _STRIP_ROWS)
        narrow[rows] = ((wide[rows].astype(np.float64) - low) * (255 / (high - low)) + 0.5).clip(
            0, 255
        )
    return narrow


@dataclass
class ImageNotes:
    """How images are read, and how many of them were read by a guess or look like no crop."""

    depth: Depth = field(default_factory=Depth)
    stretched: int = 0
    far_shapes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def lines(self) -> list[str]:
        """A line for each kind of remark."""
        lines = []
        if self.stretched:
            lines.append(
                f"{self.stretched} 16-bit images use a small part of their range, and were"
                " stretched; a new gallery"
                " may choose --thermal stretch, --thermal counts:LOW:HIGH (one range for all"
                " images) or --thermal 8bit"
            )
        if self.far_shapes:
            lines.append(
                f"{self.far_shapes} images have a shape far from the network's: it knows crops of"
                " one person or vehicle,"
                " not whole frames"
            )
        return lines

    def note_stretched(self) -> None:
        """Count an image that was stretched by a guess."""
        with self._lock:
            self.stretched += 1

    def note_shape(self, given: tuple[int, int], wanted: tuple[int, int]) -> None:
        """Count an image (height, width) if its shape is far from what the network is shown
        (height, width).
        """
        ratio = (given[0] / given[1]) / (wanted[0] / wanted[1])
        if not 1 / _FAR <= ratio <= _FAR:
            with self._lock:
                self.far_shapes += 1


class LoggedNotes(ImageNotes):
    """Notes of which each kind is logged once."""

    def note_stretched(self) -> None:
        if not self.stretched:
            super().note_stretched()
            log.warning("%s", self.lines()[0])

    def note_shape(self, given: tuple[int, int], wanted: tuple[int, int]) -> None:
        if not self.far_shapes:
            super().note_shape(given, wanted)
            if self.far_shapes:
                log.warning("%s", self.lines()[-1])


_CURRENT: Final[ContextVar[ImageNotes | None]] = ContextVar("image_notes", default=None)
_LOGGED: Final = LoggedNotes()


def current_notes() -> ImageNotes:
    """The notes that collect what this thread reads."""
    return _CURRENT.get() or _LOGGED


@contextmanager
def read_by_notes(notes: ImageNotes | None) -> Iterator[None]:
    """Read images as notes say, and add to the notes, while the block runs in this thread."""
    token = _CURRENT.set(notes)
    try:
        yield
    finally:
        _CURRENT.reset(token)
