"""16-bit images that use little of their range, arrays like files, frames, and JPEGs without their
end.
"""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import trireid.cli
from tests.conftest import make_pixels
from trireid.gallery import Gallery
from trireid.inference import Embedder
from trireid.samples import Sample, decode
from trireid.samples.depth import Depth, ImageNotes, read_by_notes
from trireid.samples.errors import ConfigError, ImageError

SCENE = make_pixels(1)[..., 0]


def counts(low: int, high: int) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """The scene in a small part of 16 bits."""
    scene = (SCENE - SCENE.min()) / (SCENE.max() - SCENE.min())
    return np.asarray(low + scene * (high - low), np.uint16)


def as_file(array: np.ndarray[Any, Any], form: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, form)
    return out.getvalue()


def read(given: Any, depth: str = "auto") -> tuple[np.ndarray[Any, Any], int]:
    """The first channel of an image as it is read, and how many were stretched by a guess."""
    notes = ImageNotes(Depth.parse(depth))
    with read_by_notes(notes):
        return np.asarray(decode(given))[..., 0], notes.stretched


@pytest.mark.parametrize(("low", "high"), [(7000, 9040), (0, 4080), (0, 16_383), (60_000, 60_500)])
@pytest.mark.parametrize("form", ["PNG", "TIFF", "array"])
def test_counts_are_stretched_and_said(low: int, high: int, form: str) -> None:
    given = counts(low, high) if form == "array" else as_file(counts(low, high), form)
    shown, stretched = read(given)
    assert stretched == 1
    assert shown.std() > 40
    assert (shown.min(), shown.max()) == (0, 255)
    for depth in ("stretch", "8bit", f"counts:{low}:{high}"):
        assert read(given, depth)[1] == 0
    assert np.array_equal(read(given, "stretch")[0], shown)
    assert read(given, "8bit")[0].max() == (high + 128) // 257
    assert abs(read(given, f"counts:{low}:{high}")[0].astype(int) - shown).max() < 30


def test_counts_of_a_fixed_range_mean_the_same_in_every_image() -> None:
    warm, cold = counts(8000, 9000), counts(7000, 8000)
    assert read(warm, "counts:7000:9000")[0].min() >= 127
    assert read(cold, "counts:7000:9000")[0].max() <= 128
    assert read(counts(0, 16_383), "counts")[0].max() == 255


def test_the_whole_range_is_scaled_as_ever() -> None:
    wide = counts(0, 65_535)
    shown, stretched = read(as_file(wide))
    assert stretched == 0
    assert np.array_equal(shown, (wide.astype(int) + 128) // 257)
    flat = np.full((64, 32), 700, np.uint16)
    assert read(flat)[0].max() == 3


def test_a_large_image_is_stretched_in_its_own_process_too() -> None:
    wide = np.tile(counts(7000, 9040), (80, 130))
    assert wide.size > 16_000_000
    shown, stretched = read(as_file(wide, "TIFF"))
    assert (stretched, shown.max()) == (1, 255)


@pytest.mark.parametrize(
    "text", ["16bit", "counts:9:8", "counts:0:70000", "counts:a:b", "", "counts:1"]
)
def test_other_ways_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="thermal: must be one of 8bit, stretch"):
        Depth.parse(text)


@pytest.mark.parametrize("shape", [(64, 32), (64, 32, 1), (64, 32, 3)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_arrays_are_read_like_files(shape: tuple[int, ...], kind: Any) -> None:
    scale = 257 if kind is np.uint16 else 1
    array = (np.resize(SCENE, shape).astype(int) * scale).astype(kind)
    shown = np.asarray(decode(array))
    assert shown.shape == (64, 32, 3)
    assert np.array_equal(shown, np.broadcast_to((array // scale).reshape(64, 32, -1), shown.shape))


@pytest.mark.parametrize(
    "array",
    [np.zeros((64, 32), np.float32), np.zeros((64, 32, 4), np.uint8), np.zeros(9, np.uint8)],
)
def test_other_arrays_are_refused_by_name(array: Any) -> None:
    with pytest.raises(ImageError, match=f"not {array.dtype}"):
        decode(array, "tir")


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"quality": 30, "subsampling": 0}], ids=str
)
def test_a_jpeg_without_its_last_bytes_is_read_and_one_without_more_is_not(
    options: dict[str, Any],
) -> None:
    out = io.BytesIO()
    Image.fromarray(make_pixels(1, (120, 80))).save(out, "JPEG", **options)
    whole = out.getvalue()
    for missing in (1, 2):
        assert np.array_equal(np.asarray(decode(whole[:-missing])), np.asarray(decode(whole)))
    for missing in (4, 6, 10, 40, len(whole) // 3):
        with pytest.raises(ImageError, match="damaged or cut short"):
            decode(whole[:-missing])


def test_a_frame_of_opencv_and_a_detectors_box() -> None:
    frame = np.arange(100 * 200 * 3, dtype=np.uint8).reshape(100, 200, 3)
    whole = Sample.from_bgr(frame, id="a", camera=3)
    assert (whole.id, whole.camera, whole.present) == ("a", 3, ("rgb",))
    assert np.array_equal(np.asarray(whole.rgb), frame[..., ::-1])
    part = Sample.from_bgr(frame, box=(10.4, -5, 50.2, 40.0), modality="nir")
    assert np.array_equal(np.asarray(part.nir), frame[0:40, 10:50, ::-1])
    thermal = Sample.from_bgr(counts(7000, 9000), (0, 0, 16, 16), "tir")
    assert np.asarray(thermal.tir).shape == (16, 16)
    for box in (
        (300, 0, 400, 50),
        (10, 10, 10, 20),
        (0, 0, 1),
        (0, 0, float("nan"), 5),
        (50, 0, 10, 5),
    ):
        with pytest.raises(ImageError, match="rgb"):
            Sample.from_bgr(frame, box)
    with pytest.raises(ImageError, match="frame must be an array"):
        Sample.from_bgr(None)  # type: ignore[arg-type]


def test_index_says_what_it_guessed_and_remembers_what_it_is_told(
    tmp_path: Path, artifact: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tir").mkdir()
    for number in range(3):
        (tmp_path / "tir" / f"{number}.png").write_bytes(
            as_file(np.roll(counts(7000, 9040), 5 * number, 0))
        )
    frame = Image.fromarray(make_pixels(5, (64, 320)))
    (tmp_path / "rgb").mkdir()
    frame.save(tmp_path / "rgb" / "0.png")
    asked = ["index", str(tmp_path), "--model", str(artifact), "--json", "--gallery"]
    assert trireid.cli.main([*asked, str(tmp_path / "a.gallery")]) == 0
    notes = " ".join(json.loads(capsys.readouterr().out)["notes"])
    assert "3 16-bit images use a small part of their range, and were stretched" in notes
    assert "1 images have a shape far from the network's" in notes
    assert (
        trireid.cli.main([*asked, str(tmp_path / "b.gallery"), "--thermal", "counts:7000:9040"])
        == 0
    )
    assert "stretched" not in " ".join(json.loads(capsys.readouterr().out)["notes"])
    assert trireid.cli.main(["gallery", "stats", str(tmp_path / "b.gallery"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["thermal"] == "counts:7000:9040"
    assert trireid.cli.main([*asked, str(tmp_path / "b.gallery"), "--thermal", "warm"]) == 2


def test_a_query_is_read_as_the_gallery_reads_its_items(
    tmp_path: Path, embedder: Embedder, caplog: pytest.LogCaptureFixture
) -> None:
    with Gallery.open(tmp_path / "a.gallery", embedder, thermal="counts:7000:9040") as gallery:
        gallery.add(
            [Sample(id="warm", tir=counts(8000, 9000)), Sample(id="cold", tir=counts(7000, 8000))]
        )
    with Gallery.open(tmp_path / "a.gallery", embedder) as gallery:
        for name, low in (("warm", 8000), ("cold", 7000)):
            (best, *_) = gallery.search(Sample(tir=counts(low, low + 1000)), k=2)
            assert (best.id, round(best.score, 4)) == (name, 1)
    with (
        Gallery.open(tmp_path / "b.gallery", embedder) as gallery,
        caplog.at_level(logging.WARNING),
    ):
        for _ in range(2):
            gallery.add([Sample(tir=counts(7000, 9040))])
        assert sum("stretched" in record.message for record in caplog.records) == 1


def test_a_frame_of_four_to_three_is_far_from_a_crop_of_a_person() -> None:
    notes = ImageNotes()
    for height, width in ((480, 640), (1080, 1920), (128, 64), (128, 100)):
        notes.note_shape((height, width), (256, 128))
    assert notes.far_shapes == 2


@pytest.mark.parametrize("image", [[[1, 2], [3, 4]], 7, {"rgb": "a.png"}])
def test_an_image_that_is_none_is_named(image: Any, embedder: Embedder) -> None:
    with pytest.raises(ImageError, match="an image is a path, bytes, a PIL image or an array, not"):
        embedder.embed([Sample(rgb=image)])


def test_a_modality_of_a_frame_is_one_of_three() -> None:
    with pytest.raises(ImageError, match="modality: 'thermal' is not one of rgb, nir, tir"):
        Sample.from_bgr(np.zeros((64, 32), np.uint8), modality="thermal")  # type: ignore[arg-type]
