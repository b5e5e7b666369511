"""WebP: the size of the canvas, which its decoder allocates before anything else, and how many
chunks there are.
"""

from __future__ import annotations

from typing import Final

from trireid.samples.containers.container import Container, MetadataCount, corrupt, too_much
from trireid.samples.containers.orientation import find_orientation

#: An animation has one for each frame.
MAX_CHUNKS: Final = 4096
_PIXELS: Final = (b"VP8 ", b"VP8L", b"ALPH", b"ANMF")
_LOSSLESS: Final = 0x2F


def read_webp(data: bytes) -> Container:
    """Check a WebP.

    Raises ImageError, without a field, for one that is broken or costs too much.
    """
    width, height = _canvas(data)
    metadata, kept = MetadataCount(), {b"EXIF": b"", b"XMP ": b""}
    position, chunks = 12, 0
    while position + 8 <= len(data):
        name, size = (
            data[position : position + 4],
            int.from_bytes(data[position + 4 : position + 8], "little"),
        )
        chunks += 1
        if chunks > MAX_CHUNKS:
            raise too_much(f"over {MAX_CHUNKS} chunks")
        if name not in _PIXELS:
            metadata.add(size)
        if name in kept and not kept[name]:
            kept[name] = data[position + 8 : position + 8 + size]
        position += 8 + size + size % 2
    return Container("WEBP", width, height, data, find_orientation(kept[b"EXIF"], kept[b"XMP "]))


def _canvas(data: bytes) -> tuple[int, int]:
    """Width and height, as the first chunk tells them."""
    name, body = data[12:16], data[20:30]
    if name == b"VP8X" and len(body) == 10:
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if name == b"VP8 " and len(body) == 10:
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(
            body[8:10], "little"
        ) & 0x3FFF
    if name == b"VP8L" and body[:1] == bytes([_LOSSLESS]):
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    raise corrupt("no image chunk")
