"""Image files that cost far more than their bytes, and unusual ones that must be read: each made in
code.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
from PIL import Image

from tests.conftest import make_pixels


def save_image(image: Image.Image, form: str, **options: Any) -> bytes:
    """An image as the bytes of a file."""
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def photo(height: int = 64, width: int = 32, seed: int = 1) -> Image.Image:
    """A smooth random image."""
    return Image.fromarray(make_pixels(seed, (height, width)))


def segment(marker: int, body: bytes) -> bytes:
    """A JPEG segment."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def with_segments(data: bytes, *segments: bytes) -> bytes:
    """A JPEG with segments after its first two bytes."""
    return data[:2] + b"".join(segments) + data[2:]


def repeat_scan(count: int, side: int = 512, progressive: bool = True) -> bytes:
    """A JPEG whose last scan stands there `count` times more."""
    data = save_image(photo(side, side), "JPEG", progressive=progressive)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + data[-2:]


def short_scans(count: int, side: int = 4000) -> bytes:
    """A progressive JPEG of many scans of a few bytes: an arithmetic of end-of-band runs over all
    blocks.
    """
    data = save_image(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    first = data.index(b"\xff\xda")
    refinement = data.rindex(b"\xff\xda")
    return data[:first] + data[first:-2] + data[refinement:-2] * count + data[-2:]


def hide_scans(count: int, side: int = 512, marker: int = 0x02) -> bytes:
    """A JPEG whose scans look like the body of a segment, behind a marker that the decoder passes
    over at a restart.
    """
    data = save_image(photo(side, side), "JPEG", progressive=True)
    first = data.index(b"\xff\xda")
    tables = b"".join(
        part[: 2 + int.from_bytes(part[2:4])] for part in _split(data[first:], b"\xff\xc4")
    )
    scan = data[first : first + 14] + b"\x12" * 8
    hidden = (segment(0xDA, bytes([1, 1, 0, 1, 63, 2])) + b"\x12") * count
    return (
        data[:first] + tables + segment(0xDD, b"\0\1") + scan + segment(marker, hidden) + data[-2:]
    )


def _split(data: bytes, mark: bytes) -> list[bytes]:
    return [mark + part for part in data.split(mark)[1:]]


def exif_of_entries(count: int, size: int) -> bytes:
    """Exif whose directory has many entries, each of which points to the same `size` bytes."""
    head = b"II*\0" + struct.pack("<IH", 8, count)
    start = len(head) + 12 * count + 4
    entries = (struct.pack("<HHII", 1000 + i, 7, size, start) for i in range(count))
    return head + b"".join(entries) + bytes(4) + bytes(size)


def chunk(name: bytes, body: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def with_chunks(data: bytes, *chunks: bytes) -> bytes:
    """A PNG with chunks after its header."""
    return data[:33] + b"".join(chunks) + data[33:]


def png(
    width: int,
    height: int,
    idat: bytes,
    *,
    depth: int = 8,
    color: int = 0,
    interlaced: bool = False,
) -> bytes:
    """A PNG of given pixel data."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlaced))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", idat) + chunk(b"IEND", b"")
    )


def tiff(
    tags: Mapping[int, tuple[int, Sequence[int] | bytes]], pixels: bytes = b"", following: int = 0
) -> bytes:
    """A little-endian TIFF: pixels at byte 8, then the directory; values of type 3 (SHORT), 4
    (LONG), 7 (bytes).
    """
    body, entries = bytearray(b"II*\0" + bytes(4) + pixels), []
    for tag, (kind, values) in sorted(tags.items()):
        packed = (
            values
            if isinstance(values, bytes)
            else struct.pack(f"<{len(values)}{'H' if kind == 3 else 'I'}", *values)
        )
        count = len(values)
        if len(packed) > 4:
            entries.append(struct.pack("<HHII", tag, kind, count, len(body)))
            body += packed
        else:
            entries.append(struct.pack("<HHI4s", tag, kind, count, packed))
    body[4:8] = struct.pack("<I", len(body))
    return (
        bytes(body)
        + struct.pack("<H", len(entries))
        + b"".join(entries)
        + struct.pack("<I", following)
    )


def grey_tiff(
    width: int,
    height: int,
    pixels: bytes,
    following: int = 0,
    **changed: tuple[int, Sequence[int] | bytes],
) -> bytes:
    """A grey TIFF of one strip; `changed`: tags by `t` and their number."""
    tags: dict[int, tuple[int, Sequence[int] | bytes]] = {
        256: (4, [width]), 257: (4, [height]), 258: (3, [8]), 259: (3, [1]), 262: (3, [1]),
        273: (4, [8]), 277: (3, [1]), 278: (4, [height]), 279: (4, [len(pixels)]),
    }  # fmt: skip
    tags |= {int(name[1:]): value for name, value in changed.items()}
    return tiff({tag: value for tag, value in tags.items() if value[1]}, pixels, following)


def huge_tiles(side: int = 26752) -> bytes:
    """A TIFF of 16 x 16 pixels, whose one tile has `side` pixels a side."""
    data = zlib.compress(bytes(1 << 20), 9)
    tiles: dict[str, Any] = {
        "t322": (4, [side]),
        "t323": (4, [side]),
        "t324": (4, [8]),
        "t325": (4, [len(data)]),
    }
    return grey_tiff(16, 16, data, t259=(3, [8]), t273=(4, []), t278=(4, []), t279=(4, []), **tiles)


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP of given chunks."""
    body = b"".join(
        name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for name, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def webp_canvas(width: int, height: int, frames: int = 1) -> bytes:
    """An animated WebP with a canvas of given size, and frames of 16 x 16 pixels."""
    still = save_image(Image.new("RGB", (16, 16)), "WEBP", lossless=True)[12:]
    canvas = (
        struct.pack("<B3x", 2)
        + (width - 1).to_bytes(3, "little")
        + (height - 1).to_bytes(3, "little")
    )
    frame = bytes(6) + (15).to_bytes(3, "little") * 2 + bytes(4) + still
    return riff((b"VP8X", canvas), (b"ANIM", bytes(6)), *[(b"ANMF", frame)] * frames)


def rle_bmp(width: int, height: int, body: bytes) -> bytes:
    """A BMP of 8 bits with run-length encoding."""
    palette = bytes(range(256)) * 4
    start = 14 + 40 + len(palette)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(body), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + info + palette + body


def make_interlaced_png() -> bytes:
    """Adam7, 33 x 17 pixels, grey."""
    pixels = np.asarray(photo(17, 33).convert("L"))
    passes = (
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    )
    parts = [pixels[y::down, x::across] for y, x, down, across in passes]
    rows = b"".join(b"\0" + row.tobytes() for part in parts if part.size for row in part)
    return png(33, 17, zlib.compress(rows), interlaced=True)


_DOT: Final = b"\x00" * 8
_SMALL_PNG: Final = save_image(photo(), "PNG")
_SMALL_JPEG: Final = save_image(photo(), "JPEG")
_BOMB: Final = zlib.compress(bytes(64 << 20), 9)

#: Files that must be refused, by name.
HOSTILE: Final[dict[str, Callable[[], bytes]]] = {
    "progressive jpeg, one scan repeated": lambda: repeat_scan(2000),
    "progressive jpeg, 70 scans of 16 megapixels": lambda: short_scans(70),
    "progressive jpeg, 30 scans of 49 megapixels": lambda: short_scans(30, 7000),
    "baseline jpeg, scans repeated": lambda: repeat_scan(300, progressive=False),
    "progressive jpeg, scans hidden in a segment": lambda: hide_scans(5000, 2000),
    "jpeg, exif in 900 segments": lambda: with_segments(
        _SMALL_JPEG, *[segment(0xE1, b"Exif\0\0" + bytes(65_000))] * 900
    ),
    "jpeg, icc in 255 segments": lambda: with_segments(
        _SMALL_JPEG,
        *(segment(0xE2, b"ICC_PROFILE\0" + bytes([i, 255]) + bytes(65_000)) for i in range(1, 256)),
    ),
    "jpeg, a million comments": lambda: with_segments(_SMALL_JPEG, segment(0xFE, b"") * 1_000_000),
    "jpeg, many quantization tables": lambda: with_segments(
        _SMALL_JPEG, *[segment(0xDB, (b"\0" + bytes(range(1, 65))) * 1000)] * 300
    ),
    "jpeg, many huffman tables": lambda: with_segments(
        _SMALL_JPEG, *[segment(0xC4, (b"\0" + bytes([0, 1]) + bytes(14) + b"\0") * 3000)] * 300
    ),
    "jpeg, a million restart intervals": lambda: with_segments(
        _SMALL_JPEG, segment(0xDD, bytes(2)) * 1_000_000
    ),
    "jpeg, only fill bytes": lambda: b"\xff\xd8\xff" + b"\xff" * (32 << 20),
    "jpeg, junk before the scan": lambda: b"\xff\xd8\xff\xe0\x00\x02" + b"\x00" * (32 << 20),
    "jpeg, 65500 x 65500": lambda: _SMALL_JPEG.replace(
        struct.pack(">BHH", 8, 64, 32), struct.pack(">BHH", 8, 65500, 65500)
    ),
    "png, inflated text": lambda: with_chunks(_SMALL_PNG, chunk(b"zTXt", b"a\0\0" + _BOMB)),
    "png, inflated international text": lambda: with_chunks(
        _SMALL_PNG, chunk(b"iTXt", b"a\0\1\0\0\0" + _BOMB)
    ),
    "png, inflated color profile": lambda: with_chunks(
        _SMALL_PNG, chunk(b"iCCP", b"a\0\0" + _BOMB)
    ),
    "png, text in 200000 chunks": lambda: with_chunks(
        _SMALL_PNG, chunk(b"tEXt", b"a\0b") * 200_000
    ),
    "png, pixels in 200000 chunks": lambda: (
        _SMALL_PNG[:33] + chunk(b"IDAT", b"") * 200_000 + _SMALL_PNG[33:]
    ),
    "png, 9 MB of exif": lambda: with_chunks(_SMALL_PNG, chunk(b"eXIf", bytes(9_000_000))),
    "png, two headers": lambda: with_chunks(
        _SMALL_PNG, chunk(b"IHDR", struct.pack(">II5B", 30000, 30000, 8, 2, 0, 0, 0))
    ),
    "png, 10000 x 10000": lambda: png(10_000, 10_000, zlib.compress(bytes(1 << 20), 9)),
    "tiff, tiles of 26752 x 26752": huge_tiles,
    "tiff, tiles of 2 x 26 million": lambda: grey_tiff(
        16,
        16,
        _DOT,
        t322=(4, [16]),
        t323=(4, [1 << 25]),
        t324=(4, [8]),
        t325=(4, [8]),
        t273=(4, []),
        t278=(4, []),
        t279=(4, []),
    ),
    "tiff, 60000 samples a pixel": lambda: grey_tiff(64, 64, bytes(4096), t277=(4, [60_000])),
    "tiff, 60000 bits": lambda: grey_tiff(64, 64, bytes(4096), t258=(3, [8] * 60_000)),
    "tiff, six million strips": lambda: grey_tiff(
        8, 6_000_000, _DOT, t278=(4, [1]), t273=(4, [8] * 100_000)
    ),
    "tiff, strips that overlap": lambda: grey_tiff(
        2048,
        2048,
        bytes(8 << 20),
        t259=(3, [32773]),
        t278=(4, [1]),
        t273=(4, [8] * 2048),
        t279=(4, [8 << 20] * 2048),
    ),
    "tiff, two strips where one is": lambda: grey_tiff(64, 64, bytes(4096), t273=(4, [8] * 2000)),
    "tiff, 9 MB of jpeg tables": lambda: grey_tiff(
        64, 64, bytes(4096), t347=(7, bytes(9_000_000)), t259=(3, [7])
    ),
    "tiff, 65535 entries": lambda: tiff({i: (4, [1]) for i in range(1, 65_535)}),
    "tiff, 60000 x 60000": lambda: grey_tiff(60_000, 60_000, _DOT),
    "webp, canvas of 16384 x 16384": lambda: webp_canvas(16384, 16384),
    "webp, canvas of 7000 x 7000 in 90 bytes": lambda: webp_canvas(7000, 7000),
    "jpeg, 7000 x 7000 in 1 KB": lambda: _SMALL_JPEG.replace(
        struct.pack(">BHH", 8, 64, 32), struct.pack(">BHH", 8, 7000, 7000)
    ),
    "webp, 5000 frames": lambda: webp_canvas(64, 64, 5000),
    "webp, 9 MB of exif": lambda: riff(
        (b"VP8X", bytes([8]) + bytes(3) + (63).to_bytes(3, "little") * 2),
        *[(b"EXIF", bytes(1 << 20))] * 9,
        (b"VP8L", save_image(photo(64, 64), "WEBP", lossless=True)[20:]),
    ),
    "bmp, runs beyond the line": lambda: rle_bmp(64, 64, b"\x40\x01" + b"\x40\x01" * (16 << 20)),
    "bmp, 2 GB of header": lambda: (
        b"BM" + bytes(8) + struct.pack("<II", 54, 0x7FFFFFFF) + bytes(100)
    ),
    "bmp, 30000 x 30000": lambda: rle_bmp(30_000, 30_000, b"\xff\x01" * 1000),
}


def _orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = value
    return exif


def _hex(data: bytes) -> bytes:
    return data.hex().encode()


def _xmp(value: int) -> bytes:
    return f'<x:xmpmeta><rdf:Description tiff:Orientation="{value}"/></x:xmpmeta>'.encode()


def _sixteen(form: str, **options: Any) -> bytes:
    values = np.linspace(0, 65535, 64 * 32).reshape(64, 32).astype(np.uint16)
    return save_image(Image.fromarray(values), form, **options)


def _animate(form: str, **options: Any) -> bytes:
    return save_image(
        photo(), form, save_all=True, append_images=[photo(seed=2), photo(seed=3)], **options
    )


def _make_tiled_tiff() -> bytes:
    """Grey, 100 x 70, in tiles of 32 x 16."""
    whole = np.zeros((80, 128), np.uint8)
    whole[:70, :100] = np.asarray(photo(70, 100).convert("L"))
    tiles = [
        whole[y : y + 16, x : x + 32].tobytes() for y in range(0, 80, 16) for x in range(0, 128, 32)
    ]
    offsets = [8 + 512 * i for i in range(20)]
    return grey_tiff(
        100,
        70,
        b"".join(tiles),
        t322=(4, [32]),
        t323=(4, [16]),
        t324=(4, offsets),
        t325=(4, [512] * 20),
        t273=(4, []),
        t278=(4, []),
        t279=(4, []),
    )


_COMPRESSIONS: Final = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "lzma", "zstd")
_RGBA: Final = Image.fromarray(np.dstack([make_pixels(4), np.full((64, 32), 90, np.uint8)]))

#: Files that must be read, with the pixels that Pillow gives when it is left alone.
UNUSUAL: Final[dict[str, Callable[[], bytes]]] = {
    "progressive jpeg": lambda: save_image(photo(301, 203), "JPEG", progressive=True, quality=95),
    "progressive jpeg, no subsampling": lambda: save_image(
        photo(301, 203), "JPEG", progressive=True, subsampling=0
    ),
    "progressive jpeg apart": lambda: save_image(photo(1500, 1200), "JPEG", progressive=True),
    "grey jpeg": lambda: save_image(photo().convert("L"), "JPEG"),
    "cmyk jpeg": lambda: save_image(photo().convert("CMYK"), "JPEG"),
    "rgb jpeg": lambda: save_image(photo(), "JPEG", keep_rgb=True),
    "jpeg with restart markers": lambda: save_image(
        photo(200, 200), "JPEG", restart_marker_blocks=1
    ),
    "jpeg with optimized tables": lambda: save_image(photo(200, 200), "JPEG", optimize=True),
    "jpeg with fill bytes": lambda: _SMALL_JPEG.replace(b"\xff\xc0", b"\xff\xff\xff\xc0"),
    "jpeg with junk between segments": lambda: _SMALL_JPEG.replace(
        b"\xff\xc0", b"\0junk\xff\0\xff\xc0"
    ),
    "jpeg with trailing bytes": lambda: _SMALL_JPEG + b"\xff\xda" * 5000,
    "jpeg with a thumbnail and a profile": lambda: save_image(
        photo(), "JPEG", icc_profile=bytes(300_000), comment=b"c" * 60_000, exif=_orientation(6)
    ),
    "jpeg, exif in two segments": lambda: with_segments(
        _SMALL_JPEG,
        segment(0xE1, b"Exif\0\0" + _orientation(8).tobytes()[6:]),
        segment(0xE1, b"Exif\0\0more"),
    ),
    "jpeg, xmp orientation": lambda: save_image(photo(), "JPEG", xmp=_xmp(3)),
    "jpeg of several images (MPO)": lambda: _animate("MPO"),
    "png, 16 bits": lambda: _sixteen("PNG"),
    "png, 16 bits, three channels": lambda: png(
        32,
        64,
        zlib.compress(
            b"".join(
                b"\0" + np.repeat(make_pixels(1)[y].reshape(-1), 2).tobytes() for y in range(64)
            )
        ),
        depth=16,
        color=2,
    ),
    "png, 1 bit": lambda: save_image(photo().convert("1"), "PNG"),
    "png, palette with alpha": lambda: save_image(
        photo().quantize(16), "PNG", transparency=bytes(range(16))
    ),
    "png, grey with alpha": lambda: save_image(_RGBA.convert("LA"), "PNG"),
    "png, interlaced": make_interlaced_png,
    "png with text, profile, exif": lambda: with_chunks(
        save_image(_RGBA, "PNG", icc_profile=bytes(3000), exif=_orientation(5), dpi=(72, 72)),
        chunk(b"tEXt", b"a\0b"),
    ),
    "png, xmp orientation": lambda: with_chunks(
        _SMALL_PNG, chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(_xmp(6)))
    ),
    "png, raw profile": lambda: with_chunks(
        _SMALL_PNG,
        chunk(
            b"zTXt",
            b"Raw profile type exif\0\0"
            + zlib.compress(b"\nexif\n  1\n" + _hex(_orientation(7).tobytes())),
        ),
    ),
    "animated png": lambda: _animate("PNG"),
    "animated png, another first image": lambda: _animate("PNG", default_image=True),
    "webp, lossless": lambda: save_image(photo(), "WEBP", lossless=True),
    "webp with alpha and exif": lambda: save_image(
        _RGBA, "WEBP", exif=_orientation(2), icc_profile=bytes(100)
    ),
    "webp, xmp orientation": lambda: save_image(photo(), "WEBP", xmp=_xmp(4)),
    "animated webp": lambda: _animate("WEBP", lossless=True),
    "bmp, palette": lambda: save_image(photo().quantize(200), "BMP"),
    "bmp, run-length encoded": lambda: rle_bmp(
        16, 16, b"".join(bytes([16, y]) + b"\0\0" for y in range(16)) + b"\0\1"
    ),
    "bmp, upside down": lambda: save_image(_RGBA, "BMP"),
    **{
        f"tiff, {each}": partial(save_image, photo(70, 90), "TIFF", compression=each)
        for each in _COMPRESSIONS
    },
    "tiff, group 4": lambda: save_image(photo().convert("1"), "TIFF", compression="group4"),
    "tiff, 16 bits": lambda: _sixteen("TIFF"),
    "tiff, 16 bits, deflate": lambda: _sixteen("TIFF", compression="tiff_adobe_deflate"),
    "tiff, cmyk": lambda: save_image(photo().convert("CMYK"), "TIFF"),
    "tiff, palette": lambda: save_image(photo().quantize(16), "TIFF", compression="tiff_lzw"),
    "tiff, alpha": lambda: save_image(_RGBA, "TIFF"),
    "tiff, tiled": _make_tiled_tiff,
    "tiff, strips of one row": lambda: save_image(
        photo(300, 300), "TIFF", tiffinfo={278: 1}, compression="tiff_lzw"
    ),
    "tiff, orientation 6": lambda: save_image(photo(), "TIFF", exif=_orientation(6)),
    "tiff, orientation 3, lzw": lambda: save_image(
        photo(), "TIFF", exif=_orientation(3), compression="tiff_lzw"
    ),
    "tiff, several pages": lambda: _animate("TIFF"),
    "tiff, metadata": lambda: save_image(
        photo(), "TIFF", description="d" * 5000, icc_profile=bytes(5000), dpi=(72, 72)
    ),
    "tiff, big": lambda: save_image(photo(), "TIFF", big_tiff=True),
    "tiff, pages in a circle": lambda: grey_tiff(64, 64, bytes(range(256)) * 16, following=4104),
}


def _pages(count: int) -> bytes:
    """A TIFF with `count` directories, each of which follows the one before."""
    data = bytearray(grey_tiff(64, 64, bytes(4096)))
    directory = bytes(data[4104:])
    for _ in range(count):
        data[-4:] = struct.pack("<I", len(data))
        data += directory
    return bytes(data)


def _jpeg_in_tiff(data: bytes, side: int) -> bytes:
    return grey_tiff(
        side, side, data, t258=(3, [8, 8, 8]), t259=(3, [7]), t262=(3, [6]), t277=(3, [3])
    )


#: Files that may be read or refused, in little time and memory either way.
ENDURED: Final[dict[str, Callable[[], bytes]]] = {
    "exif of 5000 entries of 65 KB": lambda: with_segments(
        _SMALL_JPEG, *[segment(0xE1, b"Exif\0\0" + exif_of_entries(5000, 60_000)[:65_000])]
    ),
    "png exif of 60000 entries of 7 MB": lambda: with_chunks(
        _SMALL_PNG, chunk(b"eXIf", exif_of_entries(60_000, 7_000_000))
    ),
    "tiff of 4000 entries of 8 MB": lambda: tiff(
        {1000 + i: (7, bytes(2000)) for i in range(4000)}, bytes(4096)
    ),
    "exif in 4000 empty segments": lambda: with_segments(
        _SMALL_JPEG, segment(0xE1, b"Exif\0\0a") * 4000
    ),
    "jpeg, 50 scans": lambda: repeat_scan(40, 256),
    "jpeg, a restart marker for each block": lambda: save_image(
        photo(2000, 2000), "JPEG", restart_marker_blocks=1
    ),
    "jpeg, 4000 x 4000, no pixels": lambda: _SMALL_JPEG.replace(
        struct.pack(">BHH", 8, 64, 32), struct.pack(">BHH", 8, 4000, 4000)
    ),
    "jpeg, a million comments after the scan": lambda: (
        _SMALL_JPEG[:-2] + segment(0xFE, b"") * 1_000_000 + b"\xff\xd9"
    ),
    "jpeg, stuffing after the scan": lambda: (
        _SMALL_JPEG[:-2] + b"\xff\0" * (8 << 20) + b"\xff\xda" * 70
    ),
    "jpeg, arithmetic coding": lambda: _SMALL_JPEG.replace(b"\xff\xc0", b"\xff\xc9"),
    "jpeg in tiff, one scan repeated": lambda: _jpeg_in_tiff(repeat_scan(1000, 256), 256),
    "png, more pixel data than pixels": lambda: png(64, 64, zlib.compress(bytes(32 << 20), 9)),
    "png, 5000 x 5000 of nothing": lambda: png(5000, 5000, zlib.compress(bytes(5001 * 5000), 9)),
    "tiff of 10000 pages": lambda: _pages(10_000),
    "tiff, one strip, more data than pixels": lambda: grey_tiff(
        64, 64, zlib.compress(bytes(32 << 20), 9), t259=(3, [8])
    ),
    "webp, 3000 frames": lambda: webp_canvas(64, 64, 3000),
    "webp, canvas of 4000 x 4000": lambda: webp_canvas(4000, 4000),
    "bmp, run-length codes of one pixel": lambda: rle_bmp(1000, 1000, b"\x01\x01" * 1_000_000),
}
