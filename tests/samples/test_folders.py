"""Folders in any layout that a person has: read as they are meant, or refused by name; nothing is
passed over uncounted.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import encode_image
from trireid.samples import Sample, SourceError
from trireid.samples.readers import tree
from trireid.samples.source import Source
from trireid.samples.sources import open_source

IMAGE = encode_image(0)


def lay(root: Path, *names: str) -> Path:
    """Write images of these names below a folder."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(IMAGE)
    return root


def samples(source: Source) -> dict[str, Sample]:
    entries = list(source)
    assert all(entry.sample is not None for entry in entries), [
        str(entry.error) for entry in entries
    ]
    assert len(entries) == len(source)
    return {entry.place: entry.sample for entry in entries if entry.sample is not None}


def present(source: Source) -> dict[str, str]:
    return {place: "+".join(sample.present) for place, sample in samples(source).items()}


@pytest.mark.parametrize(
    "names",
    [
        ("RGB", "NI", "TI"),
        ("rgb", "nir", "tir"),
        ("RGB", "NIR", "TIR"),
        ("Visible", "IR", "Thermal"),
        ("VIS", "Near-Infrared", "LWIR"),
        ("colour", "nearInfrared", "thermal infrared"),
        ("rgb_crops", "nir_images", "Thermal-Images"),
        ("vis", "NI", "th"),
        ("color", "near_ir", "T"),
    ],
)
def test_modalities_are_known_by_synonym_and_case(tmp_path: Path, names: tuple[str, ...]) -> None:
    lay(tmp_path, *(f"{name}/7.png" for name in names), f"{names[0]}/8.png")
    assert present(open_source(str(tmp_path))) == {"7.png": "rgb+nir+tir", "8.png": "rgb"}


def test_names_are_paired_by_stem_whatever_case_form_and_extension(tmp_path: Path) -> None:
    lay(
        tmp_path, "rgb/A.JPG", "nir/a.png", "tir/A.Tiff", "rgb/caf\u00e9.jpg", "nir/cafe\u0301.jpeg"
    )
    assert present(open_source(str(tmp_path))) == {
        "A.JPG": "rgb+nir+tir",
        "caf\u00e9.jpg": "rgb+nir",
    }


def test_a_modality_in_the_files_names_as_well_does_not_part_them(tmp_path: Path) -> None:
    lay(tmp_path, "rgb/1_rgb.png", "nir/1_nir.png", "tir/thermal-1.png")
    assert list(present(open_source(str(tmp_path))).values()) == ["rgb+nir+tir"]


@pytest.mark.parametrize(
    "form",
    [
        "{id}/{m}/{name}",
        "{m}/{id}/{name}",
        "{id}/{m}/cam2/{name}",
        "cam2/{id}/{m}/{name}",
        "images/{id}/{m}/{name}",
    ],
)
def test_nested_folders_say_identity_and_camera(tmp_path: Path, form: str) -> None:
    files = [form.format(id=i, m=m, name="x.png") for i in ("ann", "bo") for m in ("RGB", "TIR")]
    source = open_source(str(lay(tmp_path, *files)))
    found = list(samples(source).values())
    assert [(sample.identity, sample.present) for sample in found] == [
        ("ann", ("rgb", "tir")),
        ("bo", ("rgb", "tir")),
    ]
    assert {sample.camera for sample in found} == {2 if "cam2" in form else None}
    assert any(note.startswith("identity: by folder") for note in source.notes)
    assert source.tells == frozenset({"identity", *(["camera"] if "cam2" in form else [])})


def test_a_flat_folder_is_rgb_unless_its_name_says_another_modality(tmp_path: Path) -> None:
    for name, modality in (
        ("crops", "rgb"),
        ("TIR", "tir"),
        ("thermal_crops", "tir"),
        ("NI", "nir"),
    ):
        source = open_source(str(lay(tmp_path / name, "a.png", "a.jpg", "b.png")))
        assert present(source) == {"a.jpg": modality, "a.png": modality, "b.png": modality}
        assert source.notes == (f"modality: all images are read as {modality}",)


def test_identity_by_folder(tmp_path: Path) -> None:
    source = open_source(str(lay(tmp_path, "0007/a.png", "0007/b.png", "0009/a.png")))
    assert {place: sample.identity for place, sample in samples(source).items()} == {
        "0007/a.png": "0007",
        "0007/b.png": "0007",
        "0009/a.png": "0009",
    }


def test_modalities_in_the_names_of_files(tmp_path: Path) -> None:
    lay(tmp_path, "7/a_rgb.png", "7/a_nir.jpg", "7/a_tir.png", "8/ir-b.png", "8/vis-b.png")
    assert sorted(present(open_source(str(tmp_path))).values()) == ["rgb+nir", "rgb+nir+tir"]
    lay(tmp_path, "8/c.png")
    with pytest.raises(SourceError, match=r"names a modality and 8/c.png does not"):
        open_source(str(tmp_path))


def test_a_file_that_only_happens_to_end_so_is_an_rgb_image(tmp_path: Path) -> None:
    assert present(open_source(str(lay(tmp_path, "a.png", "shirt_vis.png")))) == {
        "a.png": "rgb",
        "shirt_vis.png": "rgb",
    }
    lay(tmp_path, "a_ir.png")
    with pytest.raises(SourceError, match="names a modality and"):
        open_source(str(tmp_path))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("rgb/1.png", "depth/1.png"), r"depth/ \(1 images\) cannot be understood next to rgb/"),
        (("rgb/1.png", "NIR/1.png", "IR/1.png"), "IR/ and NIR/ are both read as nir"),
        (("rgb/1.png", "RGB/2.png"), "RGB/ and rgb/ are both read as rgb"),
        (("rgb/tir/1.png",), "rgb/tir/ names two modalities"),
        (("7/rgb/1.png", "8/1.png"), r"8/ \(1 images\) cannot be understood"),
        (
            ("a/b/1.png", "a/c/1.png", "d/b/1.png"),
            "2 folders that may be the identity; say which by --pattern",
        ),
        (("a/1.png", "2.png"), "images lie at different depths"),
        (
            ("cam1/1.png", "cam2/1.png", "spare/1.png"),
            "spare/ cannot be understood next to cam1/, which says the camera",
        ),
        (
            ("query/1.png", "gallery/1.png", "gt/1.png"),
            "gt/ cannot be understood next to gallery/, which says the role",
        ),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_by_name(
    tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(str(lay(tmp_path, *names)))


def test_two_files_of_one_name_in_one_modality_are_an_error_of_that_sample(tmp_path: Path) -> None:
    lay(tmp_path, "rgb/1.png", "rgb/1.jpg", "nir/1.png", "rgb/2.png", "nir/2.png")
    first, second = open_source(str(tmp_path))
    assert "rgb/1.jpg and rgb/1.png are both the rgb image" in str(first.error)
    assert second.sample is not None


def test_modalities_that_share_no_name_are_said_to(tmp_path: Path) -> None:
    source = open_source(str(lay(tmp_path, "rgb/1.png", "nir/2.png")))
    assert len(source) == 2
    assert any("no image of one modality has the name" in note for note in source.notes)


def test_what_is_passed_over_is_counted(tmp_path: Path) -> None:
    lay(
        tmp_path,
        "rgb/1.png",
        "rgb/._1.png",
        "rgb/Thumbs.db",
        ".DS_Store",
        "__MACOSX/rgb/1.png",
        "rgb/x.jpg/inside.png",
    )
    lay(
        tmp_path,
        "rgb/2.heic",
        "rgb/3.HEIC",
        "nir/1.avif",
        "tir/1.gif",
        "film.mp4",
        "labels.csv",
        "README",
        "preview.png",
    )
    (tmp_path / "rgb" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(tmp_path / "rgb" / "pipe.png")
    (tmp_path / "rgb" / "loop").symlink_to(tmp_path)
    source = open_source(str(tmp_path))
    assert present(source) == {"1.png": "rgb"}
    counts = {each.what: each.count for each in source.not_used}
    assert counts == {
        "hidden files and folders": 2,
        "system files and folders": 2,
        "folders named like images": 1,
        ".heic files": 2,
        ".avif files": 1,
        ".gif files": 1,
        ".mp4 files": 1,
        ".csv files": 1,
        "files without an extension": 1,
        "broken links and devices": 2,
        "links to a folder above": 1,
        "images next to the modalities' folders": 1,
    }
    assert (
        next(each for each in source.not_used if each.what == ".heic files").example == "rgb/2.heic"
    )


def test_a_folder_without_images_is_a_source_without_entries(tmp_path: Path) -> None:
    source = open_source(str(lay(tmp_path, "a.heic")))
    assert (len(source), [str(each) for each in source.not_used]) == (
        0,
        ["1 .heic files (a.heic): this image format is not read; convert them to JPEG or PNG"],
    )


def test_what_is_looked_at_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / "/".join("abcdefghijklmnopqrst")
    deep.mkdir(parents=True)
    with pytest.raises(SourceError, match="over 16 folders deep"):
        open_source(str(tmp_path))
    monkeypatch.setattr(tree, "MAX_FILES", 3)
    with pytest.raises(SourceError, match="over 3 files"):
        open_source(str(lay(tmp_path / "many", *(f"{i}.png" for i in range(4)))))


@pytest.mark.parametrize(
    ("files", "split", "expected"),
    [
        (("train/1/a.png", "query/2/b.png", "gallery/2/c.png"), "gallery", ["gallery/2/c.png"]),
        (("train/1/a.png", "query/2/b.png", "gallery/2/c.png"), "query", ["query/2/b.png"]),
        (("train/1/a.png", "test/2/b.png"), "query", ["test/2/b.png"]),
        (("train/1/a.png", "test/2/b.png"), "train", ["train/1/a.png"]),
        (
            ("query/rgb/2/b.png", "junk/rgb/2/c.png", "distractors/rgb/9/d.png"),
            "gallery",
            ["distractors/9/d.png"],
        ),
    ],
)
def test_folders_of_a_protocols_parts(
    tmp_path: Path, files: tuple[str, ...], split: str, expected: list[str]
) -> None:
    source = open_source(f"{lay(tmp_path, *files)}@{split}")
    assert list(samples(source)) == expected
    assert sum(each.count for each in source.not_used) == len(files) - len(expected)


def test_a_pattern_tells_what_names_say(tmp_path: Path) -> None:
    lay(
        tmp_path,
        "rgb/0007_c2s1_0001.jpg",
        "nir/0007_c2s1_0001.png",
        "rgb/0008_c3s2_0001.jpg",
        "rgb/readme.jpg",
    )
    source = open_source(str(tmp_path), pattern="{identity}_c{camera}s{scene}_{*}")
    entries = list(source)
    assert [
        (e.sample.identity, e.sample.camera, e.sample.scene, e.sample.present)
        for e in entries
        if e.sample
    ] == [("0007", 2, "1", ("rgb", "nir")), ("0008", 3, "2", ("rgb",))]
    assert [str(e.error) for e in entries if e.error] == [
        "readme.jpg: does not fit --pattern {identity}_c{camera}s{scene}_{*}"
    ]
    assert source.tells == frozenset({"identity", "camera", "scene"})


def test_a_pattern_of_paths_and_one_of_modalities(tmp_path: Path) -> None:
    lay(tmp_path / "a", "s1/ann/x.png", "s2/bo/x.png")
    found = samples(open_source(str(tmp_path / "a"), pattern="{scene}/{identity}/{*}"))
    assert [(sample.scene, sample.identity) for sample in found.values()] == [
        ("s1", "ann"),
        ("s2", "bo"),
    ]
    lay(tmp_path / "b", "7-L-1.png", "8-L-1.png", "7-thermal-1.png", "7-vis-1.png")
    entries = list(open_source(str(tmp_path / "b"), pattern="{identity}-{modality}-{*}"))
    assert sorted("+".join(e.sample.present) for e in entries if e.sample) == ["rgb+tir"]
    assert len([e for e in entries if e.error]) == 2


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{identty}_{*}", "{identty} is not a field; fields are {identity}, {camera}"),
        ("name", "says no field"),
        ("{identity}{camera}", "put text between two fields"),
        ("{identity", "says no field"),
    ],
)
def test_a_pattern_that_cannot_be_read_is_refused(
    tmp_path: Path, pattern: str, message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(str(lay(tmp_path, "a.png")), pattern=pattern)


def test_a_pattern_is_for_a_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="--pattern is for a folder"):
        open_source("synthetic:person:2", pattern="{identity}")


def test_data_sets_pass_hidden_files_over(tmp_path: Path) -> None:
    lay(tmp_path, *(f"RGBNT201/test/{m}/000258_cam1_0_00.jpg" for m in ("RGB", "NI", "TI")))
    lay(tmp_path, "RGBNT201/test/RGB/._000258_cam1_0_00.jpg", "RGBNT201/test/preview.jpg")
    source = open_source(f"rgbnt201:{tmp_path}")
    assert len(samples(source)) == 1
    assert sum(each.count for each in source.not_used) == 2


def facts(source: Source) -> dict[str, tuple[str | None, int | None, str | None]]:
    return {
        place: (sample.identity, sample.camera, sample.kind)
        for place, sample in samples(source).items()
    }


def test_days_classes_and_names_of_tools_are_not_identities(tmp_path: Path) -> None:
    lay(tmp_path / "days", "2024-05-01/7/a.jpg", "2024-05-02/7/b.jpg")
    assert {each[0] for each in facts(open_source(str(tmp_path / "days"))).values()} == {"7"}
    lay(tmp_path / "classes", "exp2/crops/person/a.jpg", "exp2/crops/car/b.jpg")
    assert facts(open_source(str(tmp_path / "classes"))) == {
        "exp2/crops/car/b.jpg": (None, None, "vehicle"),
        "exp2/crops/person/a.jpg": (None, None, "person"),
    }
    lay(tmp_path / "both", "person/1/a.jpg", "vehicle/9/b.jpg")
    assert sorted(facts(open_source(str(tmp_path / "both"))).values()) == [
        ("1", None, "person"),
        ("9", None, "vehicle"),
    ]
    lay(tmp_path / "cvat", "images/default/0001.png")
    assert facts(open_source(str(tmp_path / "cvat"))) == {
        "images/default/0001.png": (None, None, None)
    }


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("c1/7/a.jpg", "c2/7/a.jpg"), "2 folders that may be the identity"),
        (
            ("images_rgb_train/data/a.jpg", "images_thermal_train/data/a.jpg"),
            "images_rgb_train/ names a modality next to",
        ),
    ],
)
def test_folders_that_may_be_read_otherwise_are_refused(
    tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    lay(tmp_path, *names)
    with pytest.raises(SourceError, match=message):
        open_source(str(tmp_path))


def test_files_called_after_a_modality_alone_are_one_sample_of_a_folder(tmp_path: Path) -> None:
    lay(tmp_path, "7/rgb.png", "7/NIR.png", "7/thermal.jpg", "8/rgb.png")
    assert present(open_source(str(tmp_path))) == {"7/rgb.png": "rgb+nir+tir", "8/rgb.png": "rgb"}
