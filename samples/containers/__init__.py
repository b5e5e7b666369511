"""Image files as their containers: checked, and reduced to what makes pixels, before any decoder
sees them.

A decoder's cost follows from what a file declares: its size, scans, tiles, metadata. All of it is
read here with a few steps for each segment, bounded in number, and a file that declares more than
an image of its size needs is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from trireid.samples.containers.bmp import read_bmp
from trireid.samples.containers.container import Container
from trireid.samples.containers.jpeg import read_jpeg
from trireid.samples.containers.png import MAGIC, read_png
from trireid.samples.containers.tiff import PREFIXES, read_tiff
from trireid.samples.containers.webp import read_webp

__all__ = ["Container", "reader_of"]

Reader = Callable[[bytes], Container]
_READERS: Final[tuple[tuple[tuple[bytes, ...], Reader], ...]] = (
    ((b"\xff\xd8\xff",), read_jpeg),
    ((MAGIC,), read_png),
    ((b"BM",), read_bmp),
    (PREFIXES, read_tiff),
)


def find_reader(data: bytes) -> Reader | None:
    """Find the reader of a file's container by its first bytes; None for other formats."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return read_webp
    return next((reader for starts, reader in _READERS if data.startswith(starts)), None)
