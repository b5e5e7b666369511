"""BMP: its header.

Run-length encoded pixels are decoded in Python, for which the structure gives no bound.
"""

from __future__ import annotations

import struct
from typing import Final

from trireid.samples.containers.container import Container, corrupt, too_much

_CORE: Final = 12
_HEADERS: Final = (40, 52, 56, 64, 108, 124)
_RAW, _BITFIELDS = 0, 3
#: Header and palette.
_MAX_HEADER: Final = 1 << 19
#: Run-length encoding takes two bytes for a pixel at most, and two for the end of each line.
_MAX_CODES: Final = 4


def read_bmp(data: bytes) -> Container:
    """Check a BMP. Raises ImageError, without a field, for one whose header is broken."""
    size = int.from_bytes(data[14:18], "little")
    if len(data) < 14 + size or size not in (_CORE, *_HEADERS):
        raise corrupt(f"a header of {size} bytes")
    if size == _CORE:
        width, height = struct.unpack_from("<HH", data, 18)
        compression = _RAW
    else:
        width, height, compression = struct.unpack_from("<Ii4xI", data, 18)
    pixels = width * abs(height)
    bounded = compression in (_RAW, _BITFIELDS)
    if not bounded and len(data) > _MAX_CODES * (pixels + abs(height)) + _MAX_HEADER:
        raise too_much(f"{len(data)} bytes of codes for {pixels} pixels")
    return Container("BMP", width, abs(height), data, work=pixels + len(data) if bounded else None)
