"""Decoding: the right pixels from every format taken, one clear line for the rest."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.conftest import encode_image, make_pixels
from trireid.samples import ImageInput, Sample, decode, to_batch
from trireid.samples.errors import ImageError


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def read_pixels(data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(decode(data))


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_give_their_pixels(form: str) -> None:
    assert np.array_equal(read_pixels(encode_image(1, form)), make_pixels(1))


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_lossy_formats_come_close(form: str) -> None:
    assert np.abs(read_pixels(encode_image(1, form)).astype(int) - make_pixels(1)).mean() < 8


def test_every_form_of_a_image_gives_the_same_pixels(tmp_path: Path) -> None:
    data = encode_image(2)
    path = tmp_path / "a.png"
    path.write_bytes(data)
    forms: list[ImageInput] = [data, path, str(path), Image.open(io.BytesIO(data)), make_pixels(2)]
    batch = to_batch([Sample(nir=form) for form in forms], (64, 32))
    assert (batch.images[:, 1] == make_pixels(2)).all()
    assert batch.present.tolist() == [[False, True, False]] * len(forms)
    assert not batch.images[:, 0].any()


def test_grey_and_palette() -> None:
    grey = Image.fromarray(make_pixels(3)).convert("L")
    assert np.array_equal(read_pixels(saved(grey, "PNG")), np.asarray(grey.convert("RGB")))
    palette = Image.fromarray(make_pixels(3)).quantize(16)
    assert np.array_equal(read_pixels(saved(palette, "PNG")), np.asarray(palette.convert("RGB")))


def test_sixteen_bit_grey_is_scaled_not_clip_gradient() -> None:
    wide = np.linspace(0, 65535, 64 * 32).reshape(64, 32).astype(np.uint16)
    got = read_pixels(saved(Image.fromarray(wide), "PNG"))
    assert np.abs(got[..., 0] - wide / 257).max() <= 0.5
    assert got.min() == 0
    assert got.max() == 255


@pytest.mark.parametrize("mode", ["F", "I", "LAB"])
def test_pixels_that_have_no_eight_bit_meaning_are_refused(mode: str) -> None:
    """Radiometric thermal images, for one, hold kelvins: clipping them to white would be an
    answer, and a wrong one.
    """
    data = saved(Image.new(mode, (64, 32)), "TIFF")
    with pytest.raises(ImageError, match=f"mode {mode} are not read") as caught:
        decode(data, "tir")
    assert caught.value.code == "format"


def test_a_callers_image_stays_as_it_is() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(
        io.BytesIO(saved(Image.fromarray(make_pixels(1)).convert("RGBA"), "PNG", exif=exif))
    )
    assert decode(image).size == (64, 32)
    assert (image.size, image.mode) == ((32, 64), "RGBA")


def test_damaged_exif_is_a_damaged_image() -> None:
    """Pillow raises struct.error, TypeError and others here, none of them a class of its own."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "camera " * 9
    whole = saved(Image.fromarray(make_pixels(1)), "JPEG", exif=exif)
    start = whole.index(b"Exif")
    draw = np.random.default_rng(0)
    for _ in range(3000):
        content = bytearray(whole)
        for place in draw.integers(start + 6, start + 60, 3):
            content[place] = draw.integers(0, 256)
        try:
            decode(bytes(content))
        except ImageError:
            continue


def test_alpha_is_dropped_and_cmyk_converted() -> None:
    alpha = np.dstack([make_pixels(4), np.full((64, 32), 90, np.uint8)])
    assert np.array_equal(read_pixels(saved(Image.fromarray(alpha), "PNG")), make_pixels(4))
    cmyk = saved(Image.fromarray(make_pixels(4)).convert("CMYK"), "JPEG", quality=95)
    assert np.abs(read_pixels(cmyk).astype(int) - make_pixels(4)).mean() < 8


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_orientation_is_applied(orientation: int, turns: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(make_pixels(5)), "PNG", exif=exif)
    assert np.array_equal(read_pixels(data), np.rot90(make_pixels(5), turns))


def bomb(side: int) -> bytes:
    """A PNG of side x side white pixels, in a few kilobytes."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    row = b"\x00" + b"\xff" * (side // 8)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    body = zlib.compress(row * side, 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "corrupt"),
        (b"hello", "format"),
        (saved(Image.fromarray(make_pixels()), "GIF"), "format"),
        (encode_image(6, "JPEG", (256, 128))[:-900], "corrupt"),
        (encode_image(6, "PNG")[:-200], "corrupt"),
        (saved(Image.new("RGB", (1, 1)), "PNG"), "too_small"),
        (bomb(8000), "too_large"),
        (bomb(20_000), "too_large"),
    ],
    ids=["empty", "text", "gif", "cut jpeg", "cut png", "1 x 1", "64 megapixels", "400 megapixels"],
)
def test_images_that_are_refused(data: bytes, code: str) -> None:
    with pytest.raises(ImageError) as caught:
        to_batch([Sample(tir=data)], (64, 32))
    assert caught.value.code == code
    assert caught.value.field == "tir"
    assert caught.value.message.startswith("tir: ")
    assert "\n" not in caught.value.message


def test_a_damaged_image_leaves_no_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Pillow has one for a TIFF of 2051 samples a pixel (the value of tag 277), at error level."""
    tiff = encode_image(1, "TIFF")
    tag = struct.pack("<HHI", 277, 3, 1)
    damaged = tiff.replace(tag + struct.pack("<H", 3), tag + struct.pack("<H", 2051))
    assert damaged != tiff
    with pytest.raises(ImageError):
        decode(damaged)
    assert caplog.records == []


def test_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"rgb \(.*missing\.jpg\): cannot be read"):
        to_batch([Sample(rgb=tmp_path / "missing.jpg")], (64, 32))


def test_a_sample_without_images_is_refused() -> None:
    with pytest.raises(ImageError, match="at least one of rgb, nir, tir"):
        to_batch([Sample()], (64, 32))


@pytest.mark.parametrize(
    "array", [np.zeros((64, 32, 2), np.uint8), np.zeros((64, 32, 3), np.float32)]
)
def test_arrays_of_another_kind_are_refused(array: Any) -> None:
    with pytest.raises(ImageError, match="uint8"):
        decode(array)


@settings(max_examples=150, deadline=None)
@given(form=st.sampled_from(["PNG", "JPEG", "WEBP", "BMP", "TIFF"]), data=st.data())
def test_a_damaged_file_decodes_or_is_refused_and_nothing_else(
    form: str, data: st.DataObject
) -> None:
    content = bytearray(encode_image(7, form))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(1, len(content)))]
    try:
        outcome = decode(bytes(content)).mode
    except ImageError as error:
        outcome = error.code
    assert outcome in ("RGB", "corrupt", "format", "too_small", "too_large")
