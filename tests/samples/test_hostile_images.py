"""Images that cost far more than their bytes are refused in little time and memory; unusual ones
keep their pixels.
"""

from __future__ import annotations

import io
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.conftest import ROOT
from tests.samples.hostile_images import ENDURED, HOSTILE, UNUSUAL, grey_tiff
from trireid.samples import decode
from trireid.samples.decoding import examine
from trireid.samples.errors import ImageError
from trireid.samples.rendering import as_rgb

#: Processor time of one file. The files here took from 3 s to minutes, or gigabytes, before they
#: were looked at first.
SECONDS = 1.5
MUCH_DECLARED = (
    "tiff, tiles of 26752 x 26752",
    "webp, canvas of 16384 x 16384",
    "webp, canvas of 7000 x 7000 in 90 bytes",
    "png exif of 60000 entries of 7 MB",
    "exif of 5000 entries of 65 KB",
    "jpeg, exif in 900 segments",
)


def alone(data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The pixels that Pillow gives of a file when nothing of ours comes before it."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return np.asarray(as_rgb(ImageOps.exif_transpose(image)))


@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_image_keeps_its_pixels(name: str) -> None:
    data = UNUSUAL[name]()
    np.testing.assert_array_equal(np.asarray(decode(data)), alone(data))


@pytest.mark.parametrize("name", HOSTILE)
def test_an_image_that_costs_far_more_than_its_bytes_is_refused_before_it_is_decoded(
    name: str,
) -> None:
    data = HOSTILE[name]()
    began = time.process_time()
    with pytest.raises(ImageError) as caught:
        decode(data, "tir")
    assert time.process_time() - began < SECONDS
    assert caught.value.code in ("too_large", "corrupt")
    assert caught.value.field == "tir"
    assert caught.value.message.startswith("tir: ")
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("name", ENDURED)
def test_a_strange_image_is_read_or_refused_in_little_time(name: str) -> None:
    data = ENDURED[name]()
    began = time.process_time()
    try:
        outcome = decode(data, "tir").mode
    except ImageError as error:
        outcome = error.code
    assert outcome in ("RGB", "corrupt", "too_large")
    assert time.process_time() - began < SECONDS


def test_files_that_declare_much_take_little_memory() -> None:
    """Of this process and of those it starts. Each took from 0.3 to 2.1 GB."""
    code = f"""
import resource
from trireid.samples import ImageError, decode
from trireid.samples.decoding import examine
from tests.samples.hostile_images import ENDURED, HOSTILE
decode(ENDURED["webp, 3000 frames"]())
who = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in {MUCH_DECLARED}:
    try:
        decode((ENDURED | HOSTILE)[name]())
    except ImageError:
        pass
from trireid.samples import isolation
isolation._workers.close()
children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10, children >> 10)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    mine, childrens = map(int, done.stdout.split())
    assert mine < 100
    assert childrens < 200


def test_a_callers_own_image_is_measured_before_it_is_decoded() -> None:
    image = Image.open(io.BytesIO(HOSTILE["png, 10000 x 10000"]()))
    with pytest.raises(ImageError, match="10000 x 10000 pixels is too large"):
        decode(image)
    assert image._im is None


def test_a_tiff_whose_compression_is_no_whole_number_is_not_decoded_in_this_process() -> None:
    data = grey_tiff(64, 64, bytes(4096), t259=(5, b"\x08\x00\x00\x00"))
    assert examine(data).work is None
