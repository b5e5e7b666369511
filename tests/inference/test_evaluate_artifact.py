"""`trireid evaluate` on data as people have it: what is absent, what counts, what is not used, what
is found beforehand.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import trireid.cli
from tests.conftest import encode_image
from trireid.inference import onnx_runtime
from trireid.samples import MODALITIES


@dataclass
class Output:
    """Output of `trireid evaluate`."""

    code: int
    out: str
    err: str

    @property
    def found(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def names(self) -> set[str]:
        return {row["modalities"] for row in self.found["rows"]}

    def not_used(self, what: str) -> list[dict[str, Any]]:
        return [each for each in self.found["not_used"] if what in each["what"]]


Run = Callable[..., Output]


@pytest.fixture
def run(artifact: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def evaluate(source: object, *options: object) -> Output:
        code = trireid.cli.main(
            ["evaluate", str(source), "--model", str(artifact), *map(str, options)]
        )
        out, err = capsys.readouterr()
        return Output(
            code,
            out,
            "".join(line for line in err.splitlines(keepends=True) if "sample/s" not in line),
        )

    return evaluate


@pytest.fixture
def unrun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if anything is embedded."""

    def refuse(*_: object) -> None:
        pytest.fail("something was embedded")

    monkeypatch.setattr(onnx_runtime.OnnxEmbedder, "run", refuse)


def table(folder: Path, header: str, *rows: str) -> Path:
    for i in range(16):
        (folder / f"{i}.png").write_bytes(encode_image(i))
    (folder / "m.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder / "m.csv"


def of_modality(folder: Path, modality: str) -> Path:
    return table(
        folder, f"{modality},identity,camera", *(f"{i}.png,{i // 2},{i % 2}" for i in range(8))
    )


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("options", [(), ("--missing",)], ids=["whole", "missing"])
def test_rows_are_called_by_the_modalities_that_are_there(
    tmp_path: Path, run: Run, modality: str, options: tuple[str, ...]
) -> None:
    output = run(of_modality(tmp_path, modality), *options, "--json")
    assert output.names == {modality}
    assert len(output.found["rows"]) == 3
    assert output.found["gallery_modalities"] == output.found["query_modalities"] == {modality: 8}
    assert "rgb+nir+tir" not in output.out
    named = output.not_used("subsets of modalities")
    assert [each["count"] for each in named] == ([6] if options else [])
    for absent in set(MODALITIES) - {modality}:
        assert not options or absent in named[0]["what"]
    assert bool(output.not_used("--missing")) is bool(options)


def test_subsets_are_of_the_modalities_that_are_there(tmp_path: Path, run: Run) -> None:
    rows = [f"{2 * i}.png,{2 * i + 1}.png,{i // 2},{i % 2}" for i in range(6)]
    output = run(table(tmp_path, "nir,tir,identity,camera", *rows), "--missing", "--json")
    assert output.names == {"nir", "tir", "nir+tir"}
    assert output.not_used("subsets of modalities")[0]["what"] == "subsets of modalities with rgb"


def test_samples_without_an_image_of_a_subset_are_not_in_its_rows(tmp_path: Path, run: Run) -> None:
    rows = [f"{2 * i}.png,{f'{2 * i + 1}.png' if i < 4 else ''},{i // 2},{i % 2}" for i in range(6)]
    output = run(table(tmp_path, "rgb,nir,identity,camera", *rows), "--missing", "--json")
    counts = {
        row["modalities"]: (row["queries"], row["gallery_items"]) for row in output.found["rows"]
    }
    assert counts == {"rgb+nir": (6, 6), "rgb": (6, 6), "nir": (4, 4)}
    assert output.not_used("samples without nir")[0]["count"] == 2
    assert output.found["gallery_modalities"] == {"rgb+nir": 4, "rgb": 2}
    assert "gallery images rgb+nir (4), rgb (2)" in run(tmp_path / "m.csv").out


def test_across_modalities_both_sides_are_named(tmp_path: Path, run: Run) -> None:
    rows = ["0.png,,a,1,query", "1.png,,b,1,query", ",2.png,a,2,gallery", ",3.png,b,2,gallery"]
    output = run(table(tmp_path, "nir,rgb,identity,camera,role", *rows), "--missing", "--json")
    assert output.names == {"nir -> rgb"}


def test_the_count_is_of_queries_that_have_a_match(tmp_path: Path, run: Run) -> None:
    rows = [
        "0.png,a,1",
        "1.png,a,2",
        "2.png,a,3",
        "3.png,b,1",
        "4.png,b,1",
        "5.png,c,1",
        "6.png,,1",
        "7.png,,2",
    ]
    source = table(tmp_path, "rgb,identity,camera", *rows)
    output = run(source)
    assert output.code == 0
    assert "3 queries with a match (of 6), 8 gallery items, 2 without an identity" in output.out
    found = run(source, "--json").found
    counts = (
        "queries",
        "queries_given",
        "queries_without_match",
        "without_identity",
        "gallery_items",
    )
    assert [found[name] for name in counts] == [3, 6, 3, 2, 8]


def test_roles_say_who_is_asked_and_who_is_found(tmp_path: Path, run: Run) -> None:
    rows = [
        "0.png,a,1,query",
        "1.png,a,2,gallery",
        "2.png,b,2,gallery",
        "3.png,,2,distractor",
        "4.png,a,2,junk",
    ]
    found = run(table(tmp_path, "rgb,identity,camera,role", *rows), "--json").found
    assert (found["queries"], found["gallery_items"], found["without_identity"]) == (1, 3, 1)
    assert [each["what"] for each in found["not_used"]] == ["rows of role junk"]


def test_queries_that_are_in_the_gallery_too_are_embedded_once(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    embed = onnx_runtime.OnnxEmbedder.run

    def count_run(self: Any, images: Any, camera: Any, present: Any) -> Any:
        counts.append(len(images))
        return embed(self, images, camera, present)

    monkeypatch.setattr(onnx_runtime.OnnxEmbedder, "run", count_run)
    rows = [f"{i}.png,{i // 2},{i % 2},test" for i in range(6)]
    source = table(
        tmp_path, "rgb,identity,camera,role", *rows, "6.png,,3,distractor", "gone.png,1,2,test"
    )
    output = run(source, "--json", "--missing")
    assert (output.code, output.found["queries"], output.found["gallery_items"], sum(counts)) == (
        1,
        6,
        7,
        7,
    )
    assert len(output.found["rejected"]) == 1


@pytest.mark.parametrize(
    "sides", [("query", "gallery"), ("", "")], ids=["roles", "all against all"]
)
def test_other_cameras_leaves_out_the_querys_own_camera_whole(
    tmp_path: Path, run: Run, sides: tuple[str, str]
) -> None:
    """The nearest item is of another identity and the query's own camera: it counts as wrong unless
    that is left out.
    """
    query, gallery = sides
    rows = [
        f"0.png,a,1,{query}",
        f"0.png,b,1,{gallery}",
        f"9.png,a,2,{gallery}",
        f"11.png,b,3,{gallery}",
    ]
    source = table(tmp_path, "rgb,identity,camera,role", *rows)
    plain, others = run(source, "--json").found, run(source, "--other-cameras", "--json").found
    assert plain["rows"][0]["Rank-1"] < others["rows"][0]["Rank-1"]
    assert "identity and camera" in plain["protocol"]
    assert "of the query's own camera" in others["protocol"]


@pytest.mark.parametrize(
    ("header", "rows", "options", "said"),
    [
        (
            "rgb,camera",
            ["0.png,1", "1.png,2"],
            (),
            "none of 2 samples of the query has an identity",
        ),
        ("rgb,identity,camera", ["0.png,a,1", "1.png,a,1"], (), "no query has a match"),
        ("rgb,identity", ["0.png,a", "1.png,b"], (), "no query has a match"),
        ("rgb,identity", ["0.png,a", "1.png,a"], ("--other-cameras",), "no query has a camera"),
        (
            "rgb,identity,camera,role",
            ["0.png,a,1,query", "1.png,b,1,gallery"],
            (),
            "no query has a match",
        ),
        (
            "rgb,identity,camera,role",
            ["0.png,a,1,gallery"],
            (),
            "no sample in it can be used as query",
        ),
    ],
)
@pytest.mark.usefixtures("unrun")
def test_what_cannot_be_measured_is_found_before_embedding(
    tmp_path: Path, run: Run, header: str, rows: list[str], options: tuple[str, ...], said: str
) -> None:
    output = run(table(tmp_path, header, *rows), *options)
    assert (output.code, output.out, output.err.count("\n")) == (2, "", 1)
    assert said in output.err


@pytest.mark.usefixtures("unrun")
def test_a_source_without_images_says_what_it_passed_over(tmp_path: Path, run: Run) -> None:
    (tmp_path / "a.heic").write_bytes(b"x")
    output = run(tmp_path)
    assert (output.code, output.out, output.err.count("\n")) == (2, "", 1)
    assert "no sample in it can be used as query; not used: 1 " in output.err
    assert "a.heic" in output.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--csv", "nowhere/t.csv"), "--csv: the folder"),
        (("--csv", "."), "--csv: . is a folder"),
        (("--plot", "m.csv"), "--plot: m.csv is not a folder"),
        (("--plot", "plots"), "--plot needs matplotlib: pip install 'trireid[plot]'"),
    ],
)
@pytest.mark.usefixtures("unrun")
def test_what_cannot_be_written_is_found_before_embedding(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], said: str
) -> None:
    source = of_modality(tmp_path, "rgb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    output = run(source, *options)
    assert (output.code, output.out, output.err.count("\n")) == (2, "", 1)
    assert said in output.err


def test_the_table_is_written_before_plots(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trireid.inference.evaluation_report.plot_cmc", fail)
    output = run(
        of_modality(tmp_path, "nir"), "--csv", tmp_path / "t.csv", "--plot", tmp_path / "plots"
    )
    assert output.code == 1
    assert "8 queries, 8 gallery items" in output.out
    with (tmp_path / "t.csv").open() as file:
        assert [row["modalities"] for row in csv.DictReader(file)] == ["nir"] * 3


def test_plots_show_the_modalities_that_are_there(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[str] = []
    tiles: list[int] = []
    monkeypatch.setattr(
        "trireid.inference.evaluation_report.plot_cmc", lambda _, title, path: titles.append(title)
    )

    class Sheet:
        def save(self, path: Path) -> None:
            pass

    def rank_list(rows: list[Any]) -> Sheet:
        tiles.extend(
            len(images)
            for images, _, hits in rows
            for images in (images, *(hit.images for hit in hits))
        )
        return Sheet()

    monkeypatch.setattr("trireid.inference.evaluation_report.rank_list", rank_list)
    assert run(of_modality(tmp_path, "tir"), "--plot", tmp_path / "plots").code == 0
    assert titles == [f"tiny on {tmp_path / 'm.csv'}, tir"]
    assert set(tiles) == {1}


def test_what_is_rejected_is_listed_and_exits_with_one(tmp_path: Path, run: Run) -> None:
    (tmp_path / "bad.png").write_bytes(b"bad")
    source = table(
        tmp_path, "rgb,identity,camera", "0.png,a,1", "1.png,a,2", "bad.png,a,3", "gone.png,a,4"
    )
    output = run(source, "--json")
    assert output.code == 1
    assert output.found["set_aside"] == 2
    assert [each["location"] for each in output.found["rejected"]] == ["row 4", "row 5"]
    assert output.err.count("rejected: row ") == 2
    assert run(source).out.startswith("tiny on ")


def test_what_was_given_and_not_used_is_listed(tmp_path: Path, run: Run) -> None:
    header = "rgb,identity,camera,time,coat"
    source = table(tmp_path, header, "0.png,a,1,2026-01-01,red", "1.png,a,2,,blue", "2.png,b,1,,")
    output = run(source, "--json")
    assert output.code == 0
    assert {each["what"]: each["count"] for each in output.found["not_used"]} == {
        "columns kept as attributes": 1,
        "values of time": 1,
    }
    assert "not used: 1 columns kept as attributes (coat)" in output.err


def test_a_folders_names_say_who_is_who(tmp_path: Path, run: Run) -> None:
    for i in range(4):
        (tmp_path / f"{i // 2}_c{i % 2}_{i}.png").write_bytes(encode_image(i))
    found = run(tmp_path, "--pattern", "{identity}_c{camera}_{*}", "--json").found
    assert (found["queries"], [row["modalities"] for row in found["rows"]]) == (4, ["rgb"] * 3)


def test_of_a_data_set_both_parts_say_what_they_pass_over(tmp_path: Path, run: Run) -> None:
    """Market-1501's protocol: junk is left out, distractors are in the gallery, queries meet the
    gallery alone.
    """
    names = {
        "query": ["0001_c1_a.png"],
        "bounding_box_test": ["0001_c2_a.png", "0002_c2_a.png", "0000_c3_a.png", "-1_c2_a.png"],
    }
    for part, images in names.items():
        (tmp_path / part).mkdir()
        (tmp_path / part / f"{part}.txt").write_text("notes")
        for i, name in enumerate(images):
            (tmp_path / part / name).write_bytes(encode_image(i))
    output = run(f"market1501:{tmp_path}", "--json")
    found = output.found
    assert (output.code, found["queries"], found["gallery_items"], found["without_identity"]) == (
        0,
        1,
        3,
        1,
    )
    assert {each["example"] for each in found["not_used"]} >= {"query.txt", "bounding_box_test.txt"}
    assert "images of role junk" in {each["what"] for each in found["not_used"]}


def test_rows_are_called_by_what_counts_as_query(tmp_path: Path, run: Run) -> None:
    """The only thermal image is of a sample without an identity, which is in the gallery alone."""
    rows = ["0.png,,a,1", "1.png,,a,2", ",2.png,,1"]
    output = run(table(tmp_path, "rgb,tir,identity,camera", *rows), "--missing", "--json")
    assert output.names == {"rgb -> rgb+tir", "rgb"}
