"""JPEG: markers up to the first scan, how many scans follow, and nothing of the metadata but the
orientation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from trireid.samples.containers.container import Container, MetadataCount, corrupt, too_much
from trireid.samples.containers.orientation import find_orientation

MAX_SEGMENTS: Final = 4096
#: Quantization and Huffman tables before the first scan; those of one image have 2.7 KB.
MAX_TABLES: Final = 64 << 10
#: An ordinary progressive image has 10 scans.
MAX_SCANS: Final = 64
#: Scans times pixels: 20 scans of the largest image.
MAX_VISITS: Final = 1_000_000_000
#: Any marker: 0xFF before a byte that is neither stuffing nor another 0xFF.
_MARKER: Final = re.compile(rb"\xff[^\x00\xff]")
#: The same among entropy-coded data, in which restart markers stand for themselves.
_MARKER_IN_SCAN: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
#: Bytes that are searched at once for a marker, so that other threads have their turns.
_WINDOW: Final = 64 << 10
_STANDALONE: Final = frozenset((0x01, *range(0xD0, 0xD9)))
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: Progressive, with Huffman and with arithmetic coding.
_PROGRESSIVE: Final = (0xC2, 0xCA)
_HUFFMAN: Final = (0xC0, 0xC1, 0xC2)
#: Huffman tables, arithmetic conditioning, quantization tables.
_TABLES: Final = (0xC4, 0xCC, 0xDB)
#: Number of lines, restart interval, hierarchy: the decoder has to see them.
_SETTINGS: Final = (0xDC, 0xDD, 0xDE, 0xDF)
_SCAN, _END = 0xDA, 0xD9
#: Markers below it have no meaning: the decoder skips them where it looks for a restart, and goes
#: on behind them.
_FIRST_MEANT: Final = 0xC0
_APP0, _APP1, _APP14 = 0xE0, 0xE1, 0xEE
#: Application segments from which the decoder knows the colors.
_COLOR: Final = {_APP0: b"JFIF\0", _APP14: b"Adobe"}
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"


def read_jpeg(data: bytes) -> Container:
    """Check a JPEG.

    Raises ImageError, without a field, for one that is broken or costs too much.
    """
    header = _Header()
    position = 2
    for _ in range(MAX_SEGMENTS):
        found = _MARKER.search(data, position, position + _WINDOW)
        if found is None:
            raise corrupt("no scan")
        position = start = found.end()
        marker = data[start - 1]
        if marker in _STANDALONE:
            continue
        if marker == _END:
            raise corrupt("no scan")
        end = _end_of_segment(data, start)
        if marker == _SCAN:
            return header.finish(data, start - 2, end)
        header.take(marker, data[start + 2 : end], data[start - 2 : end])
        position = end
    raise too_much(f"over {MAX_SEGMENTS} segments")


@dataclass
class _Header:
    """The segments before the first scan."""

    kept: list[bytes] = field(default_factory=lambda: [b"\xff\xd8"])
    frame: tuple[int, bytes] | None = None
    tables: int = 0
    metadata: MetadataCount = field(default_factory=MetadataCount)
    exif: list[bytes] = field(default_factory=list)
    xmp: bytes = b""

    def take(self, marker: int, body: bytes, segment: bytes) -> None:
        """Take a segment: `body` without marker and length, `segment` with both."""
        if marker in _FRAMES:
            if self.frame is not None or len(body) < 6:
                raise corrupt("its frame header")
            self.frame = marker, body
        elif marker in _TABLES:
            self.tables += len(body)
            if self.tables > MAX_TABLES:
                raise too_much(f"over {MAX_TABLES >> 10} KiB of tables")
        elif marker not in _SETTINGS:
            self._take_metadata(marker, body, segment)
            return
        self.kept.append(segment)

    def _take_metadata(self, marker: int, body: bytes, segment: bytes) -> None:
        self.metadata.add(len(segment))
        color = _COLOR.get(marker)
        if color is not None and body.startswith(color):
            self.kept.append(segment)
        elif marker == _APP1 and body.startswith(_EXIF):
            self.exif.append(body[len(_EXIF) :])
        elif marker == _APP1 and body.startswith(_XMP):
            self.xmp = body[len(_XMP) :]

    def finish(self, data: bytes, scan: int, after: int) -> Container:
        """The container, once the first scan begins at `scan` and its data at `after`."""
        if self.frame is None:
            raise corrupt("no frame header")
        marker, body = self.frame
        height, width, components = int.from_bytes(body[1:3]), int.from_bytes(body[3:5]), body[5]
        most = MAX_SCANS if marker in _PROGRESSIVE else max(1, components)
        scans = _count_scans(data, after, most)
        if scans > most:
            raise too_much(f"over {most} scans")
        visits = scans * width * height
        if visits > MAX_VISITS and scans > components:
            raise too_much(f"{scans} scans of {width} x {height} pixels")
        return Container(
            "JPEG",
            width,
            height,
            b"".join((*self.kept, memoryview(data)[scan:])),
            find_orientation(b"".join(self.exif), self.xmp),
            visits + len(data) if marker in _HUFFMAN else None,
        )


def _count_scans(data: bytes, position: int, most: int) -> int:
    """At least the scans of the image whose first one's data begin at `position`; counting stops
    beyond `most`.
    """
    scans = 1 + data.count(b"\xff\xda", position)
    if scans <= most:
        return scans
    scans = 1  # some of these may stand in other segments, or after the image: look at each marker
    for _ in range(MAX_SEGMENTS):
        position = _after_marker(data, position)
        marker = data[position - 1]
        if marker == _END or position == len(data):
            return scans
        scans += marker == _SCAN
        if scans > most:
            return scans
        if marker >= _FIRST_MEANT and marker not in _STANDALONE:
            position = _end_of_segment(data, position)
    raise too_much(f"over {MAX_SEGMENTS} segments")


def _after_marker(data: bytes, position: int) -> int:
    """Find the end of the next marker in entropy-coded data; without one, the file's end."""
    for start in range(position, len(data), _WINDOW):
        found = _MARKER_IN_SCAN.search(data, start, start + _WINDOW + 1)
        if found is not None:
            return found.end()
    return len(data)


def _end_of_segment(data: bytes, start: int) -> int:
    """Find the end of the segment whose length stands at `start`."""
    length = int.from_bytes(data[start : start + 2])
    if length < 2 or start + length > len(data):
        raise corrupt("a segment ends early")
    return start + length
