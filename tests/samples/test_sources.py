"""SOURCE: manifests and synthetic ones; a bad row is named and does not stop the rest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import encode_image
from trireid.samples import Sample, SourceError, TrireidError
from trireid.samples.sources import open_source


def manifest(folder: Path, text: str) -> str:
    (folder / "a.png").write_bytes(encode_image(1))
    (folder / "b.png").write_bytes(encode_image(2))
    path = folder / "m.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_columns_become_what_is_known(tmp_path: Path) -> None:
    text = "rgb,nir,tir,id,identity,camera,scene,time,kind,colour,height,seen\n"
    text += "a.png,,b.png,x1,Ann,3,s1,2026-01-02T03:04:05,person,red,1.75,true\n"
    (entry,) = open_source(manifest(tmp_path, text))
    sample = entry.sample
    assert sample is not None
    assert sample.present == ("rgb", "tir")
    assert (sample.id, sample.identity, sample.camera, sample.scene, sample.kind) == (
        "x1",
        "Ann",
        3,
        "s1",
        "person",
    )
    assert sample.time == "2026-01-02T03:04:05"
    assert dict(sample.attributes) == {"colour": "red", "height": 1.75, "seen": True}


def test_without_an_id_the_first_image_names_the_entry(tmp_path: Path) -> None:
    entries = list(open_source(manifest(tmp_path, "rgb,nir\na.png,b.png\n,b.png\n")))
    assert [(entry.name, entry.sample.id) for entry in entries if entry.sample] == [
        ("a.png", None),
        ("b.png", None),
    ]


def test_blank_lines_count_as_a_spreadsheet_counts_them(tmp_path: Path) -> None:
    entries = list(open_source(manifest(tmp_path, "rgb,note\n\na.png,x\n,,\n\ngone.png,x\n")))
    assert [(entry.place, entry.sample is None) for entry in entries] == [
        ("row 3", False),
        ("row 6", True),
    ]


@pytest.mark.parametrize("cell", ["NaN", "Infinity", "1e999", "9" * 5000, "[" * 100_000])
def test_cells_that_only_look_like_numbers_stay_text(tmp_path: Path, cell: str) -> None:
    (entry,) = open_source(manifest(tmp_path, f"rgb,note\na.png,{cell}\n"))
    assert entry.sample is not None
    assert entry.sample.attributes["note"] == cell


def test_a_name_that_no_disk_takes_is_the_rows_own_error(tmp_path: Path) -> None:
    long, good = open_source(manifest(tmp_path, f"rgb\n{'x' * 300}.png\na.png\n"))
    assert long.error is not None
    assert good.sample is not None


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ("gone.png,1,person", "rgb: .*gone.png does not exist"),
        (",1,person", "has no image"),
        ("a.png,one,person", "camera: 'one' is not a whole number"),
        ("a.png,1,dog", "kind: 'dog' is not one of person, vehicle"),
        ("a.png,1,person,more", "more cells than the header"),
    ],
)
def test_a_bad_row_is_named_and_the_rest_go_on(tmp_path: Path, row: str, error: str) -> None:
    entries = list(
        open_source(manifest(tmp_path, f"rgb,camera,kind\na.png,0,person\n{row}\nb.png,2,\n"))
    )
    assert [entry.sample is not None for entry in entries] == [True, False, True]
    assert entries[1].place == "row 3"
    with pytest.raises(SourceError, match=error):
        raise entries[1].error or AssertionError("no error")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("nowhere.csv", "cannot be read"),
        ("folder.txt", "not a SOURCE"),
        ("synthetic:person", "expected synthetic:KIND:IDENTITIES"),
        ("synthetic:dog:5", "expected synthetic:KIND:IDENTITIES"),
        ("synthetic:person:0", "expected synthetic:KIND:IDENTITIES"),
        ("synthetic:person:-3", "expected synthetic:KIND:IDENTITIES"),
    ],
)
def test_names_that_stand_for_no_source(name: str, error: str) -> None:
    with pytest.raises(SourceError, match=error):
        open_source(name)


def test_a_table_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no column rgb, nir or tir"):
        open_source(manifest(tmp_path, "image,camera\na.png,1\n"))
    with pytest.raises(SourceError, match="no column rgb, nir or tir"):
        open_source(manifest(tmp_path, ""))


def test_a_synthetic_source_yields_as_many_as_it_says() -> None:
    source = open_source("synthetic:vehicle:2")
    samples = [entry.sample for entry in source]
    assert len(samples) == len(source) == 16
    assert {sample.identity for sample in samples if sample} == {"0000", "0001"}


def test_a_kind_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TrireidError, match="kind must be one of person, vehicle"):
        Sample(kind="dog")  # type: ignore[arg-type]


def test_images_of_a_manifest_stay_below_its_folder(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "secret.png"
    (inside / "below").mkdir(parents=True)
    outside.write_bytes(encode_image(3))
    (inside / "link.png").symlink_to(outside)
    (inside / "folder").symlink_to(tmp_path)
    (inside / "below" / "c.png").write_bytes(encode_image(4))
    hostile = [
        "../secret.png",
        str(outside),
        "link.png",
        "folder/secret.png",
        "below/../../secret.png",
        "/etc/nowhere",
    ]
    name = manifest(inside, "\n".join(["rgb", *hostile, "a.png", "below/../below/c.png"]) + "\n")
    entries = list(open_source(name))
    assert [entry.sample is None for entry in entries] == [True] * len(hostile) + [False, False]
    assert all("--allow-outside" in str(entry.error) for entry in entries[: len(hostile)])
    allowed = list(open_source(name, allow_outside=True))
    assert [entry.sample is None for entry in allowed] == [False] * 5 + [True, False, False]
    (tmp_path / "alias").symlink_to(inside)
    assert [entry.sample is None for entry in open_source(str(tmp_path / "alias" / "m.csv"))][
        -2:
    ] == [False, False]


def test_a_row_of_irregular_files_is_an_error_of_its_own(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.png")
    entries = list(open_source(manifest(tmp_path, "rgb\nfifo.png\na\0.png\na.png\n")))
    assert [entry.sample is None for entry in entries] == [True, True, False]
    assert "fifo.png is not a regular file" in str(entries[0].error)


def test_a_number_of_hundreds_of_digits_does_not_end_the_import(tmp_path: Path) -> None:
    (entry,) = open_source(manifest(tmp_path, f"rgb,note\na.png,{'7' * 400}\n"))
    assert entry.sample is not None
    assert entry.sample.attributes["note"] == "7" * 400
