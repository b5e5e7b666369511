"""PNG: its critical chunks, and nothing of the others but the orientation."""

from __future__ import annotations

import binascii
import zlib
from dataclasses import dataclass, field
from typing import Final

from trireid.samples.containers.container import (
    MAX_PARTS,
    Container,
    MetadataCount,
    corrupt,
    too_much,
)
from trireid.samples.containers.orientation import find_orientation

MAGIC: Final = b"\x89PNG\r\n\x1a\n"
#: Chunks other than those of pixels.
MAX_CHUNKS: Final = 4096
_HEADER: Final = 13
#: Critical chunks, and the one that converting to RGB looks at.
_KEPT: Final = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS")
#: Pixels of an animation's other frames, which are not read.
_FRAMES: Final = b"fdAT"
_XMP: Final = b"XML:com.adobe.xmp"
_RAW_EXIF: Final = b"Raw profile type exif"


def read_png(data: bytes) -> Container:
    """Check a PNG.

    Raises ImageError, without a field, for one that is broken or costs too much.
    """
    if data[12:16] != b"IHDR" or int.from_bytes(data[8:12]) != _HEADER or len(data) < 33:
        raise corrupt("no header chunk")
    chunks = _Chunks()
    position, parts, others = 8, 0, 0
    while position + 8 <= len(data):
        name, end = (
            data[position + 4 : position + 8],
            position + 12 + int.from_bytes(data[position : position + 4]),
        )
        parts, others = parts + 1, others + (name not in (b"IDAT", _FRAMES))
        if parts > MAX_PARTS or others > MAX_CHUNKS:
            raise too_much(f"over {MAX_PARTS if parts > MAX_PARTS else MAX_CHUNKS} chunks")
        chunks.take(name, data, position, end)
        position = end
        if name == b"IEND":
            break
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    orientation = find_orientation(chunks.exif, chunks.xmp)
    return Container(
        "PNG", width, height, chunks.without_metadata(data), orientation, width * height + len(data)
    )


@dataclass
class _Chunks:
    """The chunks of a file: which stretches of it are kept, and what the others say of the
    orientation.
    """

    kept: list[tuple[int, int]] = field(default_factory=lambda: [(0, 8)])
    exif: bytes = b""
    xmp: bytes = b""
    metadata: MetadataCount = field(default_factory=MetadataCount)

    def take(self, name: bytes, data: bytes, start: int, end: int) -> None:
        """Take the chunk from `start` to `end`, perhaps past the end of a truncated file."""
        if name == b"IHDR" and start != 8:
            raise corrupt("two header chunks")
        if name in _KEPT or not name[:1].islower():
            self._keep(start, end)
        elif name != _FRAMES:
            self.metadata.add(end - start)
            self._look_at(name, data[start + 8 : end - 4])

    def without_metadata(self, data: bytes) -> bytes:
        """The kept stretches, joined."""
        if len(self.kept) == 1 and self.kept[0][1] >= len(data):
            return data
        return b"".join(memoryview(data)[start:end] for start, end in self.kept)

    def _keep(self, start: int, end: int) -> None:
        if self.kept[-1][1] == start:
            self.kept[-1] = self.kept[-1][0], end
        else:
            self.kept.append((start, end))

    def _look_at(self, name: bytes, body: bytes) -> None:
        key, _, rest = body.partition(b"\0")
        if name == b"eXIf":
            self.exif = body
        elif name == b"iTXt" and len(rest) >= 2:
            text = rest[2:].split(b"\0", 2)[-1]
            text = self._inflate(text) if rest[0] else text
            self.xmp = text if key == _XMP else self.xmp
        elif name in (b"zTXt", b"tEXt"):
            text = self._inflate(rest[1:]) if name == b"zTXt" else rest
            if key == _RAW_EXIF and not self.exif:
                self.exif = _unhex(text)
        elif name == b"iCCP":
            self._inflate(rest[1:])

    def _inflate(self, text: bytes) -> bytes:
        """Compressed text, counted with its inflated size; empty if it is broken."""
        try:
            inflated = zlib.decompressobj().decompress(text, self.metadata.left + 1)
        except zlib.error:
            return b""
        self.metadata.add(len(inflated))
        return inflated


def _unhex(text: bytes) -> bytes:
    """The bytes of a raw profile: three lines (empty, name, length), then hexadecimal digits."""
    try:
        return binascii.unhexlify(b"".join(text.split(b"\n")[3:]))
    except binascii.Error:
        return b""
