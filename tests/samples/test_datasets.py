"""The public data sets: trees of generated images under the published names give the published
counts, to the last one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import encode_image, find_shared, make_pixels
from trireid.samples import Sample, SourceError, to_batch
from trireid.samples.sources import open_source

#: Identities and images as published, and cameras (views) as the published names have them (the
#: test names of RGBNT201: two).
PUBLISHED = {
    "rgbnt201": {"train": (171, 3951, 4), "gallery": (30, 836, 2)},
    "rgbnt100": {"train": (50, 8675, 8), "gallery": (50, 8575, 8)},
    "msvr310": {"train": (155, 1032, 8), "gallery": (155, 1055, 8)},
}
LISTS = {"rgbnt201": "RGBNT201", "rgbnt100": "RGBNT100", "msvr310": "MSVR310"}


def places(scheme: str, split: str, line: str) -> list[str]:
    """Where the images of one published name lie, below the folder that holds the data set's own."""
    name = line.strip().rsplit("/", 1)[-1]
    train = split == "train"
    if scheme == "rgbnt201":
        return [
            f"RGBNT201/{'train_171' if train else 'test'}/{folder}/{name}"
            for folder in ("RGB", "NI", "TI")
        ]
    part = "bounding_box_train" if train else "bounding_box_test"
    if scheme == "rgbnt100":
        return [f"RGBNT100/rgbir/{part}/{name}"]
    return [
        f"MSVR310/{part}/{name.split('_')[0]}/{folder}/{name}" for folder in ("vis", "ni", "th")
    ]


def build(root: Path, scheme: str, split: str) -> Path:
    """The tree of one split: every published name, all the same image, not compressed since
    thousands are decoded.
    """
    original = root / "image"
    Image.new("RGB", (768, 128) if scheme == "rgbnt100" else (32, 64), (90, 120, 60)).save(
        original, "PNG", compress_level=0
    )
    lists = find_shared("datasets")
    file = lists / f"{LISTS[scheme]}_{'train' if split == 'train' else 'test'}.txt"
    for line in file.read_text().splitlines():
        for place in places(scheme, split, line):
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            os.link(original, root / place)
    return root


@pytest.mark.parametrize("scheme", PUBLISHED)
@pytest.mark.parametrize("split", ["train", "gallery"])
def test_published_counts(tmp_path: Path, scheme: str, split: str) -> None:
    source = open_source(f"{scheme}:{build(tmp_path, scheme, split)}@{split}")
    samples = [entry.sample for entry in source if entry.sample]
    assert len(samples) == len(source)
    counts = (len({s.identity for s in samples}), len(samples), len({s.camera for s in samples}))
    assert counts == PUBLISHED[scheme][split]
    assert min(s.camera for s in samples if s.camera is not None) == 0
    assert len({entry.place for entry in source}) == len(samples)
    assert all(s.present == ("rgb", "nir", "tir") for s in samples)
    assert (samples[0].scene is not None) == (scheme == "msvr310")
    assert {s.kind for s in samples} == {"person" if scheme == "rgbnt201" else "vehicle"}


def small_tree(root: Path, scheme: str) -> None:
    """Three samples of one data set's test split, each modality another image."""
    lines = {
        "rgbnt201": ["000258_cam1_0_00.jpg", "000258_cam2_0_01.jpg", "000259_cam4_0_02.jpg"],
        "rgbnt100": ["0502_c0001_000.jpg", "0502_c0008_001.jpg", "0503_c0002_000.jpg"],
        "msvr310": ["0002_s002_v0_000.jpg", "0002_s003_v7_000.jpg", "0004_s001_v1_000.jpg"],
    }[scheme]
    for line in lines:
        for index, place in enumerate(places(scheme, "gallery", line)):
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            strip = np.concatenate([make_pixels(i, (128, 256)) for i in range(3)], axis=1)
            (root / place).write_bytes(
                as_png(strip) if scheme == "rgbnt100" else encode_image(index, size=(128, 256))
            )


def as_png(array: Any) -> bytes:
    from PIL import Image

    from tests.samples.test_decode import saved

    return saved(Image.fromarray(array), "PNG")


def take(root: Path, scheme: str) -> tuple[list[Sample], list[str]]:
    """Samples and errors of the tree's gallery."""
    entries = list(open_source(f"{scheme}:{root}"))
    return [e.sample for e in entries if e.sample], [
        f"{e.place}: {e.error.message}" for e in entries if e.error
    ]


@pytest.mark.parametrize(
    ("scheme", "identity", "cameras"),
    [("rgbnt201", "000258", [0, 1]), ("rgbnt100", "0502", [0, 7]), ("msvr310", "0002", [0, 7])],
)
def test_names_say_identity_and_camera_and_folders_the_modality(
    tmp_path: Path, scheme: str, identity: str, cameras: list[int]
) -> None:
    small_tree(tmp_path, scheme)
    samples, errors = take(tmp_path, scheme)
    assert not errors
    assert [(s.identity, s.camera) for s in samples[:2]] == [
        (identity, camera) for camera in cameras
    ]
    images = to_batch(samples[:1], (128, 256)).images[0]
    assert all(np.array_equal(images[i], make_pixels(i, (128, 256))) for i in range(3))


@pytest.mark.parametrize("scheme", ["rgbnt201", "msvr310"])
@pytest.mark.parametrize("modality", [0, 1, 2])
def test_a_trio_that_lacks_one_is_set_aside_by_name(
    tmp_path: Path, scheme: str, modality: int
) -> None:
    small_tree(tmp_path, scheme)
    name = {"rgbnt201": "000258_cam1_0_00.jpg", "msvr310": "0002_s002_v0_000.jpg"}[scheme]
    gone = tmp_path / places(scheme, "gallery", name)[modality]
    gone.unlink()
    samples, (error,) = take(tmp_path, scheme)
    assert len(samples) == 2
    assert f"{gone.parent.name}/{name} is missing" in error


def test_a_name_in_one_folder_only_is_set_aside(tmp_path: Path) -> None:
    small_tree(tmp_path, "rgbnt201")
    folder = tmp_path / "RGBNT201" / "test" / "NI"
    (folder / "000258_cam1_0_00.jpg").rename(folder / "000258_cam1_0_99.jpg")
    samples, errors = take(tmp_path, "rgbnt201")
    assert len(samples) == 2
    assert "NI/000258_cam1_0_00.jpg is missing" in errors[0]
    assert "RGB/000258_cam1_0_99.jpg is missing" in errors[1]


def test_a_strip_of_another_width_is_set_aside(tmp_path: Path) -> None:
    small_tree(tmp_path, "rgbnt100")
    (tmp_path / "RGBNT100/rgbir/bounding_box_test/0502_c0008_001.jpg").write_bytes(
        encode_image(1, size=(128, 512))
    )
    samples, errors = take(tmp_path, "rgbnt100")
    assert len(samples) == 2
    assert errors == [
        "0502_c0008_001.jpg: 0502_c0008_001.jpg: is 512 x 128 pixels, expected 768 x 128"
    ]


def test_a_name_that_says_nothing_is_set_aside(tmp_path: Path) -> None:
    small_tree(tmp_path, "rgbnt201")
    for folder in ("RGB", "NI", "TI"):
        (tmp_path / "RGBNT201" / "test" / folder / "holiday.jpg").write_bytes(encode_image(1))
    samples, (error,) = take(tmp_path, "rgbnt201")
    assert len(samples) == 3
    assert "holiday.jpg: its name does not say" in error


def test_splits(tmp_path: Path) -> None:
    small_tree(tmp_path, "rgbnt201")
    assert (
        len(open_source(f"rgbnt201:{tmp_path}@query"))
        == len(open_source(f"rgbnt201:{tmp_path}@gallery"))
        == 3
    )
    with pytest.raises(SourceError, match="train_171: does not exist"):
        open_source(f"rgbnt201:{tmp_path}@train")
    with pytest.raises(SourceError, match="half is not a split; there are train, query, gallery"):
        open_source(f"rgbnt201:{tmp_path}@half")
    with pytest.raises(
        SourceError, match="does not exist; the source's folder is the one that holds"
    ):
        open_source(f"msvr310:{tmp_path}/nowhere")


def test_a_parquet_manifest_is_read_as_a_csv_one(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    (tmp_path / "a.png").write_bytes(encode_image(1))
    table = {
        "rgb": ["a.png", "a.png", "gone.png"],
        "nir": [None, "a.png", None],
        "camera": [3, None, 1],
        "identity": ["Ann", None, "Bo"],
        "height": [1.75, float("nan"), None],
        "id": [7, 8, 9],
    }
    parquet.write_table(pa.table(table), tmp_path / "m.parquet")
    first, second, third = open_source(str(tmp_path / "m.parquet"))
    assert first.sample is not None
    assert (first.sample.id, first.sample.camera, first.sample.identity) == ("7", 3, "Ann")
    assert dict(first.sample.attributes) == {"height": 1.75}
    assert second.sample is not None
    assert (second.sample.present, second.sample.camera, dict(second.sample.attributes)) == (
        ("rgb", "nir"),
        None,
        {},
    )
    assert third.error is not None
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(SourceError, match="cannot be read as a Parquet manifest"):
        open_source(str(tmp_path / "bad.parquet"))


RGB_SETS = {
    "market1501": (
        "Market-1501-v15.09.15/{}/{}",
        {
            "train": ("bounding_box_train", ["0002_c1s1_000451_03.jpg"]),
            "query": ("query", ["0001_c1s1_001051_00.jpg"]),
            "gallery": (
                "bounding_box_test",
                ["-1_c1s1_000401_03.jpg", "0000_c2s1_000151_01.jpg", "0001_c3s1_000151_01.jpg"],
            ),
        },
        ["-1"],
    ),
    "cuhk03": (
        "cuhk03-np/labeled/{}/{}",
        {
            "query": ("query", ["0003_c1_21.png"]),
            "gallery": ("bounding_box_test", ["0003_c2_22.png"]),
        },
        [],
    ),
    "veri776": (
        "{}/{}",
        {
            "query": ("image_query", ["0002_c002_00030600_0.jpg"]),
            "gallery": ("image_test", ["0002_c003_00084280_0.jpg"]),
        },
        [],
    ),
    "grid": (
        "GRID/{}/{}",
        {
            "query": ("probe", ["0001_1_25004_107_32_106_221.jpeg"]),
            "gallery": (
                "gallery",
                ["0000_3_25023_106_32_139_302.jpeg", "0001_2_25023_106_32_139_302.jpeg"],
            ),
        },
        [],
    ),
}


@pytest.mark.parametrize("scheme", RGB_SETS)
def test_rgb_data_sets_follow_their_protocols(tmp_path: Path, scheme: str) -> None:
    form, splits, junk = RGB_SETS[scheme]
    for folder, names in splits.values():
        for name in names:
            path = tmp_path / form.format(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_image(1))
        (path.parent / "Thumbs.db").write_bytes(b"")
        (path.parent / "odd.jpg").write_bytes(encode_image(1))
    for split, (_, names) in splits.items():
        source = open_source(f"{scheme}:{tmp_path}@{split}")
        assert source.tells == frozenset({"identity", "camera", "kind"})
        entries = list(source)
        used = [name for name in names if name.split("_")[0] not in junk]
        assert [entry.place for entry in entries] == [*used, "odd.jpg"]
        assert "does not say identity and camera" in str(entries[-1].error)
        for name, entry in zip(used, entries, strict=False):
            identity, sample = name.split("_")[0], entry.sample
            assert sample is not None
            assert sample.identity == (None if identity == "0000" else identity)
            assert entry.role == ("distractor" if identity == "0000" else None)
            assert sample.camera == int(name.split("_")[1].lstrip("c").split("s")[0]) - 1
        passed = {each.what for each in source.not_used}
        assert passed == {
            "system files and folders",
            *(["images of role junk"] if len(used) < len(names) else []),
        }
    with pytest.raises(SourceError, match=rf"as in {scheme}:DIR|holds|has no"):
        open_source(f"{scheme}:{tmp_path}/nowhere@gallery")


def test_msmt17_is_read_by_its_lists(tmp_path: Path) -> None:
    home = tmp_path / "MSMT17_V1"
    for place in (
        "test/0000/0000_000_01_0303morning_0008_0.jpg",
        "test/0000/0000_001_14_0303noon_0008_0.jpg",
    ):
        (home / place).parent.mkdir(parents=True, exist_ok=True)
        (home / place).write_bytes(encode_image(1))
    (home / "list_query.txt").write_text("0000/0000_000_01_0303morning_0008_0.jpg 0\n")
    (home / "list_gallery.txt").write_text(
        "0000/0000_001_14_0303noon_0008_0.jpg 0\n0001/0001_001_14_gone.jpg 1\n../x.jpg 2\n"
    )
    (query,) = open_source(f"msmt17:{tmp_path}@query")
    assert query.sample is not None
    assert (query.sample.identity, query.sample.camera) == ("0000", 0)
    first, gone, odd = open_source(f"msmt17:{tmp_path}")
    assert first.sample is not None
    assert first.sample.camera == 13
    assert "does not exist" in str(gone.error)
    assert "does not say" in str(odd.error)


def test_viper_asks_with_one_camera_in_the_other(tmp_path: Path) -> None:
    for name in ("cam_a/000_45.bmp", "cam_b/000_90.bmp", "cam_b/001_0.bmp"):
        (tmp_path / "VIPeR" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "VIPeR" / name).write_bytes(encode_image(1))
    said = {
        split: [entry.sample for entry in open_source(f"viper:{tmp_path}@{split}")]
        for split in ("query", "gallery")
    }
    facts = {
        split: [(each.identity, each.camera) for each in samples if each]
        for split, samples in said.items()
    }
    assert facts == {"query": [("000", 0)], "gallery": [("000", 1), ("001", 1)]}
    with pytest.raises(SourceError, match="has no train"):
        open_source(f"viper:{tmp_path}@train")
    with pytest.raises(SourceError, match="viper:DIR"):
        open_source(str(tmp_path / "none"))
