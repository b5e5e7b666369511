"""Tables as pandas, Excel and people write them: taken if the meaning is plain, else one line that
says what to change.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import encode_image
from trireid.samples import Sample, SourceError
from trireid.samples.cells import read_text, write_text
from trireid.samples.readers.columns import write_header
from trireid.samples.source import Source
from trireid.samples.sources import open_source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate("abc"):
        (tmp_path / f"{name}.png").write_bytes(encode_image(number))
    return tmp_path


def opened(
    folder: Path, content: str | bytes, name: str = "m.csv", split: str = "gallery"
) -> Source:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return open_source(f"{path}@{split}")


def samples(source: Source) -> list[Sample]:
    entries = list(source)
    assert all(entry.sample is not None for entry in entries), [
        str(entry.error) for entry in entries
    ]
    return [entry.sample for entry in entries if entry.sample is not None]


def facts(sample: Sample) -> tuple[Any, ...]:
    return ("+".join(sample.present), sample.identity, sample.camera, dict(sample.attributes))


PLAIN = "rgb,nir,identity,camera\na.png,b.png,7,1\n"


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "|"),
        "sep=;\n" + PLAIN.replace(",", ";"),
        '"sep=,"\r\n' + PLAIN,
        "\ufeff" + PLAIN,
        PLAIN.encode("utf-16"),
        "\ufeff".encode("utf-16-be") + PLAIN.replace(",", ";").encode("utf-16-be"),
        PLAIN.replace(",", "\t").encode("utf-16-le"),
        PLAIN.encode("utf-16-be"),
        PLAIN.encode("utf-32"),
        "RGB, NIR , Identity,CAMERA\na.png, b.png , 7 ,1\n",
        '"rgb","nir","identity","camera"\n"a.png","b.png","7","1"\n',
        ",rgb,nir,identity,camera\n0,a.png,b.png,7,1\n",
        "Unnamed: 0,rgb,nir,identity,camera\n0,a.png,b.png,7,1.0\n",
        "rgb,nir,tir,identity,camera\na.png,b.png,NaN,7.0,1.0\n",
        "rgb,nir,identity,camera,,\na.png,b.png,7,1,,\n",
        "rgb,nir,identity,camera\na.png,b.png,7,1,,,\n",
        "\n\nrgb,nir,identity,camera\n\na.png,b.png,7,1\n,,,\n",
        "rgb_path,thermal,ir,pid,cam\na.png,,b.png,7,1\n",
        "Visible Image,NIR file,person_id,Camera ID\na.png,b.png,7,1\n",
        "rgb,nir,identity,camera,time,scene,id\na.png,b.png,7,1,NA,n/a,-\n",
        "rgb;nir;identity;camera\na.png;b.png;7;1,0\n",
        "rgb,nir,identity,camera\n.\\a.png,b.png,7,1\n",
    ],
)
def test_what_is_plainly_meant_is_taken(folder: Path, content: str | bytes) -> None:
    (sample,) = samples(opened(folder, content))
    assert facts(sample) == ("rgb+nir", "7", 1, {})
    assert (sample.id, sample.scene, sample.time) == (None, None, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "rgb,rgb,camera\na.png,b.png,1\n",
            r"rgb \(column 1\) and rgb \(column 2\) are both rgb; delete or rename one",
        ),
        ("rgb,RGB\na.png,b.png\n", r"rgb \(column 1\) and RGB \(column 2\) are both rgb"),
        ("rgb,cam,camera\na.png,1,1\n", "are both camera"),
        ("rgb,rgb.1\na.png,b.png\n", r"column rgb.1 is a second rgb, as pandas names it"),
        ("rgb,note,note\na.png,1,2\n", "are both note"),
        ("rgb,identiy\na.png,7\n", "column identiy: did you mean identity"),
        ("rgb,Identitty\na.png,7\n", "did you mean identity"),
        ("rgb,caemra\na.png,1\n", "did you mean camera"),
        ("rgb,nri\na.png,b.png\n", "did you mean nir"),
        ("rgb,scenes\na.png,1\n", "did you mean scene"),
        ("rgb,kidn\na.png,person\n", "did you mean kind"),
        (
            "rgb,,camera\na.png,what,1\n",
            "column 2 has no name and holds 'what'; name it or delete it",
        ),
        (
            "path,camera\na.png,1\n",
            "has no column rgb, nir or tir .*; path holds images: rename it rgb, nir or tir",
        ),
        ("a.png,1\nb.png,2\n", "its first row must name the columns"),
        (
            "rgb,identity\na.png,J\xf6rg\n".encode("latin-1"),
            "line 2 is not UTF-8 text; save it as UTF-8",
        ),
        (b"PK\x03\x04rest", "is an Excel workbook or a zip file; save it as CSV"),
        (b"\x1f\x8brest", "is compressed; unpack it first"),
        (b"<!DOCTYPE html>", "is a web page"),
        (
            'rgb,identity\na.png,"Ann\nb.png,Bo\n',
            "line 3 cannot be read as CSV .*is a quotation mark missing",
        ),
        ("", r"has no column rgb, nir or tir \(its columns: none\)"),
    ],
)
def test_what_cannot_be_understood_says_what_to_change(
    folder: Path, content: str | bytes, message: str
) -> None:
    with pytest.raises(SourceError, match=message) as raised:
        opened(folder, content)
    assert "\n" not in raised.value.message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("m.xlsx", "are not read; save it as CSV"),
        ("m.csv.gz", "are not read; unpack it first"),
        ("m.json", "save it as CSV or Parquet"),
    ],
)
def test_other_tables_are_refused_by_name(folder: Path, name: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        opened(folder, PLAIN, name)
    with pytest.raises(SourceError, match=r"gone.csv: .*No such file"):
        open_source(str(folder / "gone.csv"))


def test_tab_separated_files_are_read_by_their_name(folder: Path) -> None:
    assert facts(*samples(opened(folder, PLAIN.replace(",", "\t"), "m.tsv"))) == (
        "rgb+nir",
        "7",
        1,
        {},
    )


def test_what_was_taken_as_what_is_said(folder: Path) -> None:
    content = ",rgb,pid,camera,shade,colour\n0,a.png,7.0,NA,x,red\n1,b.png,,2.0,,\n"
    source = opened(folder, content)
    assert [facts(sample) for sample in samples(source)] == [
        ("rgb", "7", None, {"shade": "x", "colour": "red"}),
        ("rgb", None, 2, {}),
    ]
    assert source.notes == (
        "column pid is read as identity",
        "identity: whole numbers without their .0",
        "camera: 1 cells NA are read as blank",
    )
    assert [str(each) for each in source.not_used] == [
        "1 column without a name (column 1): it holds row numbers",
        "2 columns kept as attributes (shade, colour): not fields of a sample",
    ]
    assert source.tells == frozenset({"identity", "camera", "shade", "colour"})


def test_names_that_are_attributes_stay_attributes(folder: Path) -> None:
    (sample,) = samples(
        opened(folder, "rgb,color,timestamp,set,path,Na\na.png,red,1700000000,blue,x/y,Na\n")
    )
    assert dict(sample.attributes) == {
        "color": "red",
        "timestamp": 1700000000,
        "set": "blue",
        "path": "x/y",
        "Na": "Na",
    }
    (sample,) = samples(
        opened(folder, "rgb,timestamp,subset,identity\na.png,2026-01-02 03:04,gallery,Na\n")
    )
    assert (sample.time, sample.identity, dict(sample.attributes)) == ("2026-01-02 03:04", "Na", {})


@pytest.mark.parametrize(
    "name", ["times", "role", "thermal", "pid", "Unnamed: 3", "rgb.1", "=1", "plain", "'odd'", " x"]
)
def test_an_attribute_of_any_name_can_be_written_and_read(folder: Path, name: str) -> None:
    (sample,) = samples(opened(folder, f"rgb,{write_header(name)}\na.png,query\n"))
    assert dict(sample.attributes) == {name: "query"}


def test_identities_are_whole_numbers_only_if_all_are(folder: Path) -> None:
    found = samples(opened(folder, "rgb,identity\na.png,7.0\nb.png,v2\n"))
    assert [sample.identity for sample in found] == ["7.0", "v2"]


@pytest.mark.parametrize("cell", ["1.5", "c1", "1_000", "\u0661", "1e3", "true", "9" * 40])
def test_cameras_are_whole_numbers(folder: Path, cell: str) -> None:
    (entry,) = opened(folder, f"rgb,camera\na.png,{cell}\n")
    assert "is not a whole number" in str(entry.error)


def test_an_address_is_not_an_image(folder: Path) -> None:
    (entry,) = opened(folder, "rgb\nhttps://localhost/a.png\n")
    assert "is an address; images must be files" in str(entry.error)


ROLES = """rgb,identity,role
a.png,1,query
b.png,1,Gallery
c.png,2,junk
a.png,,distractor
b.png,3,train
c.png,4,
a.png,,query
b.png,5,guest
"""


@pytest.mark.parametrize(
    ("split", "rows", "left_out"),
    [
        (
            "query",
            ["row 2", "row 7", "row 9"],
            {"gallery": 1, "junk": 1, "distractor": 1, "train": 1},
        ),
        ("gallery", ["row 3", "row 5", "row 7", "row 9"], {"query": 2, "junk": 1, "train": 1}),
        ("train", ["row 6", "row 9"], {"query": 2, "gallery": 1, "junk": 1, "distractor": 1}),
    ],
)
def test_roles_say_who_is_query_and_who_is_in_the_gallery(
    folder: Path, split: str, rows: list[str], left_out: dict[str, int]
) -> None:
    source = opened(folder, ROLES, split=split)
    entries = list(source)
    assert [entry.place for entry in entries] == rows
    assert len(source) == len(rows)
    assert "role: 'guest' is not one of train, val, test, query" in str(entries[-1].error)
    counts = {
        each.what.removeprefix("rows of role "): each.count
        for each in source.not_used
        if "role" in each.what
    }
    assert counts == left_out
    assert any(each.what == "rows without an identity" for each in source.not_used) == (
        split == "query"
    )


def test_a_role_of_another_kind_is_an_attribute(folder: Path) -> None:
    source = opened(folder, "rgb,role,split\na.png,pos,1\nb.png,neg,2\nc.png,query,3\n")
    assert next(dict(sample.attributes) for sample in samples(source)) == {
        "role": "pos",
        "split": 1,
    }
    assert source.notes[0].startswith(
        "column role is an attribute: most of it is none of train, val"
    )


def test_role_and_split_together(folder: Path) -> None:
    rows = "a.png,1,train,\nb.png,1,test,query\nc.png,1,test,gallery\na.png,2,test,\nb.png,3,val,query\n"
    content = "rgb,identity,split,role\n" + rows
    found = {
        split: [e.place for e in opened(folder, content, split=split)]
        for split in ("train", "query", "gallery")
    }
    assert found == {"train": ["row 2"], "query": ["row 3", "row 5"], "gallery": ["row 4", "row 5"]}
    roles = [entry.role for entry in opened(folder, content, split="gallery")]
    assert roles == ["gallery", None]


def test_without_roles_every_split_is_the_whole(folder: Path) -> None:
    sources = [opened(folder, PLAIN, split=split) for split in ("train", "query", "gallery")]
    assert [(len(source), source.name) for source in sources] == [(1, str(folder / "m.csv"))] * 3


def test_a_parquet_table_as_pandas_writes_it(folder: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    table = {
        "__index_level_0__": [0, 1],
        "RGB": ["a.png", "b.png"],
        "pid": [7.0, None],
        "camera": [1.0, float("nan")],
        "Seen": [True, None],
    }
    parquet.write_table(pa.table(table), folder / "m.parquet")
    found = samples(open_source(str(folder / "m.parquet")))
    assert [facts(sample) for sample in found] == [
        ("rgb", "7", 1, {"Seen": True}),
        ("rgb", None, None, {}),
    ]


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("identity", "#REF!", "an error of a spreadsheet's formula"),
        ("identity", "#BEZUG!", "an error of a spreadsheet's formula"),
        ("id", "#DIV/0!", "an error of a spreadsheet's formula"),
        ("identity", "#NOM?", "an error of a spreadsheet's formula"),
        ("identity", "1.23457E+11", "lost its last digits"),
        ("id", '"1,23457e+11"', "lost its last digits"),
        ("camera", '"1,000"', "is not a whole number"),
        ("camera", "1.000", "is not a whole number"),
    ],
)
def test_cells_that_a_spreadsheet_spoiled_are_errors_of_their_row(
    folder: Path, column: str, cell: str, message: str
) -> None:
    bad, good = opened(folder, f"rgb,role,{column}\na.png,gallery,{cell}\nb.png,gallery,7\n")
    assert bad.error is not None
    assert message in str(bad.error)
    assert good.sample is not None


def test_an_identity_that_looks_spoiled_is_exported_so_that_it_is_read() -> None:
    assert read_text(write_text("1.5E+11")) == "1.5E+11"
    assert write_text("1.5E+11") == "'1.5E+11"


def test_whole_numbers_are_alike_with_and_without_their_zero(folder: Path) -> None:
    source = opened(folder, "rgb,identity\na.png,7.0\nb.png,7\nc.png,\n")
    assert [sample.identity for sample in samples(source)] == ["7", "7", None]


def test_numbers_of_rows_in_several_columns_are_not_used(folder: Path) -> None:
    source = opened(folder, "Unnamed: 0.1,Unnamed: 0,rgb\n0,0,a.png\n")
    assert [each.example for each in source.not_used] == ["column 1", "column 2"]
    assert not samples(source)[0].attributes


def test_names_of_rows_without_a_header_are_refused(folder: Path) -> None:
    with pytest.raises(SourceError, match="one cell more than the header, as R writes row names"):
        opened(folder, '"rgb","identity"\n"1","a.png","7"\n"2","b.png","8"\n')


def test_times_in_another_form_are_said(folder: Path) -> None:
    source = opened(folder, "rgb,time\na.png,31.01.2026 12:00\nb.png,2026-01-31 12:00:00\n")
    assert [
        note
        for note in source.notes
        if note.startswith("time: 1 cells (31.01.2026 12:00) are not ISO 8601 times")
    ]
