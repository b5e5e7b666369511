"""Indexing again: new facts reach the gallery without embedding again, and each run reports what it
did itself.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import trireid.cli
from tests.conftest import encode_image, make_sample
from trireid.gallery import Gallery, IndexReport, index_source
from trireid.gallery.indexing import BATCH
from trireid.gallery.reembedding import reembed
from trireid.inference import Embedder
from trireid.samples import GalleryError, Sample
from trireid.samples.source import Entry, Source
from trireid.samples.sources import open_source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("a", "b", "c")):
        (tmp_path / f"{name}.png").write_bytes(encode_image(number))
    (tmp_path / "copy.png").write_bytes(encode_image(0))
    return tmp_path


def table(folder: Path, text: str) -> Source:
    (folder / "m.csv").write_text(text)
    return open_source(str(folder / "m.csv"))


def source_of(samples: Sequence[Sample]) -> Source:
    entries = [Entry(f"place {number}", sample) for number, sample in enumerate(samples)]
    return Source("test", len(entries), lambda: iter(entries))


def counts(report: IndexReport) -> tuple[int, int, int, int, int]:
    return report.added, report.replaced, report.updated, report.known, len(report.rejected)


def labels(gallery: Gallery) -> dict[str, tuple[str | None, int | None, dict[str, Any]]]:
    hits = gallery.search(Sample(rgb=encode_image(0)), k=100)
    return {hit.id: (hit.identity, hit.camera, dict(hit.attributes)) for hit in hits}


@pytest.mark.parametrize(
    "ids", [("id,", "x,", "y,"), ("", "", "")], ids=["with ids", "named by path"]
)
def test_a_corrected_manifest_updates_what_is_there(
    folder: Path, gallery: Gallery, embedded: list[int], ids: tuple[str, str, str]
) -> None:
    head, x, y = ids
    first = f"{head}rgb,identity,camera,shade\n{x}a.png,Ann,1,red\n{y}b.png,Bo,1,blue\n"
    assert counts(index_source(table(folder, first), gallery)) == (2, 0, 0, 0, 0)
    vectors = [hit.score for hit in gallery.search(Sample(rgb=encode_image(7)), k=2)]
    del embedded[:]
    report = index_source(
        table(folder, first.replace("Ann", "Anna").replace("red", "green")), gallery
    )
    assert counts(report) == (0, 0, 1, 1, 0)
    assert (embedded, report.embedded) == ([], 0)
    assert sorted(labels(gallery).values()) == [
        ("Anna", 1, {"shade": "green"}),
        ("Bo", 1, {"shade": "blue"}),
    ]
    assert [hit.score for hit in gallery.search(Sample(rgb=encode_image(7)), k=2)] == vectors
    assert labels(gallery).keys() == ({"x", "y"} if x else {"a.png", "b.png"})
    assert len(gallery.search(Sample(rgb=encode_image(0)), k=9, where={"identity": "Anna"})) == 1
    assert not gallery.search(Sample(rgb=encode_image(0)), k=9, where={"identity": "Ann"})


def test_a_network_that_sees_the_camera_embeds_again_where_it_changes(
    folder: Path, gallery: Gallery, embedder: Embedder, embedded: list[int]
) -> None:
    assert embedder.card.cameras > 0
    index_source(table(folder, "rgb,id,camera\na.png,x,1\nb.png,y,1\n"), gallery)
    del embedded[:]
    report = index_source(table(folder, "rgb,id,camera\na.png,x,2\nb.png,y,1\n"), gallery)
    assert (counts(report), sum(embedded)) == ((0, 0, 1, 1, 0), 1)
    query = Sample(rgb=folder / "a.png", camera=2)
    assert gallery.search(query, k=1)[0].score == pytest.approx(1, abs=1e-5)


def test_a_network_without_cameras_does_not(
    folder: Path, tmp_path: Path, successor: Embedder
) -> None:
    with Gallery.open(tmp_path / "g.gallery", successor) as gallery:
        has_cameras = successor.card.cameras > 0
        index_source(table(folder, "rgb,id,camera\na.png,x,1\n"), gallery)
        report = index_source(table(folder, "rgb,id,camera\na.png,x,2\n"), gallery)
        assert (report.updated, report.embedded) == (1, int(has_cameras))


def test_two_ids_with_the_same_images_are_two_items(folder: Path, gallery: Gallery) -> None:
    text = "rgb,id,identity\na.png,i1,Ann\ncopy.png,i2,Bob\n"
    report = index_source(table(folder, text), gallery)
    assert (counts(report), report.embedded) == ((2, 0, 0, 0, 0), 1)
    assert labels(gallery) == {"i1": ("Ann", None, {}), "i2": ("Bob", None, {})}
    report = index_source(table(folder, text + "a.png,i3,Cy\n"), gallery)
    assert (counts(report), report.embedded) == ((1, 0, 0, 2, 0), 0)
    assert gallery.image(_key(gallery, "i3"), "rgb") is not None
    score = {hit.id: hit.score for hit in gallery.search(Sample(rgb=encode_image(0)), k=9)}
    assert score["i3"] == score["i1"] == pytest.approx(1, abs=1e-5)


def _key(gallery: Gallery, id_: str) -> int:
    (hit,) = gallery.search(Sample(rgb=encode_image(0)), k=1, where={"id": id_})
    return hit.key


def test_copies_within_a_source_are_counted_as_such(folder: Path, gallery: Gallery) -> None:
    report = index_source(
        table(folder, "rgb,identity\na.png,Ann\ncopy.png,Ann\nb.png,Bo\n"), gallery
    )
    assert (counts(report), report.copies) == ((2, 0, 0, 1, 0), 1)
    assert str(report) == "2 added, 1 known (1 of them exact copies within the source), 0 rejected"
    again = index_source(table(folder, "rgb,identity\na.png,Ann\nb.png,Bo\n"), gallery)
    assert (counts(again), again.copies) == ((0, 0, 0, 2, 0), 0)


def test_copies_with_other_facts_are_items_of_their_own(folder: Path, gallery: Gallery) -> None:
    assert counts(
        index_source(table(folder, "rgb,identity\na.png,Ann\ncopy.png,Bob\n"), gallery)
    ) == (2, 0, 0, 0, 0)
    assert {identity for identity, *_ in labels(gallery).values()} == {"Ann", "Bob"}


def test_rows_that_contradict_each_other_are_named(folder: Path, gallery: Gallery) -> None:
    report = index_source(table(folder, "rgb,identity\na.png,Ann\nb.png,Bo\na.png,Bob\n"), gallery)
    assert counts(report) == (2, 0, 0, 0, 1)
    assert report.rejected == [
        ("row 4", "has the images of a.png, and other facts; correct one, or give each an id")
    ]
    assert labels(gallery)["a.png"][0] == "Ann"


def test_what_a_source_does_not_tell_stays(folder: Path, gallery: Gallery) -> None:
    text = "rgb,identity,camera,shade,size\na.png,Ann,1,red,3\n"
    index_source(table(folder, text), gallery)
    report = index_source(table(folder, "rgb,camera,shade\na.png,1,blue\n"), gallery)
    assert counts(report) == (0, 0, 1, 0, 0)
    assert labels(gallery) == {"a.png": ("Ann", 1, {"shade": "blue", "size": 3})}
    (folder / "crops").mkdir()
    (folder / "a.png").rename(folder / "crops" / "a.png")
    report = index_source(open_source(str(folder / "crops")), gallery)
    assert counts(report) == (0, 0, 0, 1, 0)
    (folder / "crops" / "a.png").rename(folder / "a.png")
    report = index_source(table(folder, "rgb,identity,camera,shade\na.png,,1,\n"), gallery)
    assert counts(report) == (0, 0, 1, 0, 0)
    assert labels(gallery) == {"a.png": (None, 1, {"size": 3})}


def test_an_update_keeps_images_age_and_what_is_kept_inside(folder: Path, gallery: Gallery) -> None:
    gallery.add([Sample(id="x", rgb=encode_image(0), identity="Ann")], keep=True)
    before = _row(gallery, "x")
    index_source(source_of([Sample(id="x", rgb=encode_image(0), identity="Anna")]), gallery)
    assert _row(gallery, "x") == before
    kept = gallery.image(_key(gallery, "x"), "rgb")
    assert kept is not None
    assert kept.data == encode_image(0)
    assert kept.thumbnail


def _row(gallery: Gallery, id_: str) -> Any:
    return gallery._reader.run("SELECT added, digest, present FROM items WHERE id = ?", [id_])


def test_resume_reads_again_only_where_the_facts_are_new(
    folder: Path, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    index_source(table(folder, "rgb,id,identity\na.png,x,Ann\nb.png,y,Bo\n"), gallery)
    (folder / "b.png").write_bytes(b"not read")
    report = index_source(
        table(folder, "rgb,id,identity\na.png,x,Anna\nb.png,y,Bo\n"), gallery, resume=True
    )
    assert counts(report) == (0, 0, 1, 1, 0)
    assert labels(gallery)["x"][0] == "Anna"


def test_an_image_that_was_replaced_on_the_way_is_embedded_again(
    folder: Path, gallery: Gallery
) -> None:
    index_source(table(folder, "rgb,id\na.png,x\n"), gallery)
    report = index_source(table(folder, "rgb,id\nb.png,x\ncopy.png,y\n"), gallery)
    assert counts(report) == (2, 1, 0, 0, 0)
    assert labels(gallery).keys() == {"x", "y"}
    assert gallery.search(Sample(rgb=encode_image(0)), k=1)[0].id == "y"


def test_after_a_move_to_another_network_facts_are_updated_alike(
    folder: Path, gallery: Gallery, successor: Embedder
) -> None:
    index_source(table(folder, "rgb,id,identity\na.png,x,Ann\n"), gallery)
    reembed(gallery.folder, successor)
    gallery.live_index()
    report = index_source(table(folder, "rgb,id,identity\na.png,x,Anna\n"), gallery)
    assert counts(report) == (0, 0, 1, 0, 0)
    assert gallery.search(Sample(rgb=encode_image(0)), k=1)[0].identity == "Anna"


def test_two_runs_at_once_report_what_each_did_itself(tmp_path: Path, artifact: Path) -> None:
    """Two processes' worth of galleries over one folder, the second begun before the first has
    written.
    """
    samples = [make_sample(i, id=str(i), identity="Ann") for i in range(3 * BATCH)]
    reports: list[IndexReport] = []
    begin = threading.Barrier(2)

    def run() -> None:
        with Gallery.open(tmp_path / "g.gallery") as gallery:
            begin.wait(60)
            reports.append(index_source(source_of(samples), gallery))

    from trireid.inference import load_artifact

    Gallery.open(tmp_path / "g.gallery", load_artifact(artifact)).close()
    runs = [threading.Thread(target=run) for _ in range(2)]
    for each in runs:
        each.start()
    for each in runs:
        each.join(120)
    assert len(reports) == 2
    assert sum(report.added for report in reports) == 3 * BATCH
    assert sum(report.known for report in reports) == 3 * BATCH
    assert [report.replaced + report.updated + report.copies for report in reports] == [0, 0]


def test_the_report_in_json_is_all_that_stdout_holds(
    folder: Path, tmp_path: Path, artifact: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "m.csv").write_text(",rgb,pid,shade\n0,a.png,Ann,red\n1,gone.png,Bo,\n")
    arguments = [
        "index",
        str(folder / "m.csv"),
        "--gallery",
        str(tmp_path / "j.gallery"),
        "--model",
        str(artifact),
    ]
    assert trireid.cli.main([*arguments, "--kind", "person", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["added"], told["updated"], told["known"], told["embedded"], told["items"]) == (
        1,
        0,
        0,
        1,
        1,
    )
    assert told["rejected"] == [
        {"location": "row 3", "error": f"rgb: {folder}/gone.png does not exist"}
    ]
    assert told["notes"] == ["column pid is read as identity"]
    assert [each["what"] for each in told["not_used"]] == [
        "column without a name",
        "columns kept as attributes",
        "option --kind",
    ]
    assert Path(told["report"]).is_file()


def test_the_list_of_what_was_not_used_ends_the_command(
    tmp_path: Path, artifact: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crops = tmp_path / "crops"
    crops.mkdir()
    for name in ("a.png", "b.heic", "._a.png"):
        (crops / name).write_bytes(encode_image(0))
    arguments = [
        "index",
        str(crops),
        "--gallery",
        str(tmp_path / "j.gallery"),
        "--model",
        str(artifact),
    ]
    assert trireid.cli.main(arguments) == 0
    told = capsys.readouterr()
    assert told.out.endswith("1 added, 0 known, 0 rejected; holds 1\n")
    assert told.err.splitlines()[-2:] == [
        "not used: 1 hidden files and folders (._a.png): names that begin with a dot are passed"
        " over",
        "not used: 1 .heic files (b.heic): this image format is not read; convert them to JPEG or"
        " PNG",
    ]
    assert "1 embedded" in told.err


def test_a_source_without_images_makes_no_gallery(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crops = tmp_path / "crops"
    crops.mkdir()
    (crops / "a.avif").write_bytes(b"")
    (crops / "m.csv").write_text("rgb\n")
    for source, gone in ((crops, 1), (crops / "m.csv", 1), (tmp_path / "nowhere", 2)):
        assert (
            trireid.cli.main(["index", str(source), "--gallery", str(tmp_path / "g.gallery")])
            == gone
        )
    assert "1 .avif files" in capsys.readouterr().err
    assert not (tmp_path / "g.gallery").exists()


def test_an_id_that_a_source_gives_twice_is_rejected_and_not_replaced(
    folder: Path, gallery: Gallery
) -> None:
    source = table(folder, "rgb,identity,id\na.png,Ann,7\nb.png,Bob,7\n")
    for _ in range(2):
        report = index_source(source, gallery)
        assert report.rejected == [
            ("row 3", "id 7 is that of other images of this source, too; give each its own id")
        ]
    assert {name: fact[0] for name, fact in labels(gallery).items()} == {"7": "Ann"}
    assert counts(index_source(table(folder, "rgb,identity,id\nb.png,Bob,7\n"), gallery)) == (
        1,
        1,
        0,
        0,
        0,
    )


def test_a_gallery_that_may_only_be_read_is_refused_before_anything_is_read(
    folder: Path, tmp_path: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Gallery.open(tmp_path / "g.gallery", embedder) as gallery:
        monkeypatch.setattr(gallery._writer, "read_only", True)
        with pytest.raises(GalleryError, match="read-only") as error:
            index_source(source_of([Sample(rgb=folder / "a.png")]), gallery)
    assert error.value.code == "read_only"
    assert not (tmp_path / "g.gallery" / "reports").exists()


def test_items_and_queries_of_a_gallery_are_read_alike(
    folder: Path, tmp_path: Path, embedder: Embedder
) -> None:
    path = tmp_path / "g.gallery"
    Gallery.open(path, embedder, thermal="stretch").close()
    # it is empty: it may still choose
    with Gallery.open(path, embedder, thermal="8bit") as gallery:
        gallery.add([Sample(rgb=folder / "a.png")])
    with pytest.raises(GalleryError, match="its items were read by 8bit"):
        Gallery.open(path, embedder, thermal="stretch")
    Gallery.open(path, embedder, thermal="8bit").close()


@pytest.mark.parametrize(("number", "code"), [("EACCES", 2), ("EROFS", 2), ("EIO", 1)])
def test_a_place_that_may_not_be_written_is_an_error_of_what_was_given(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: str,
    code: int,
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(getattr(errno, number), os.strerror(getattr(errno, number)), "there")

    monkeypatch.setattr(Gallery, "open", refuse)
    (folder / "m.csv").write_text("rgb\na.png\n")
    assert (
        trireid.cli.main(["index", str(folder / "m.csv"), "--gallery", str(folder / "g.gallery")])
        == code
    )
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"trireid: there: {os.strerror(getattr(errno, number))}")
