"""Sizes: what an item may take, what an answer may, and what still works on a full disk."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import encode_image, make_sample
from tests.gallery.crash_worker import NoNetwork, indexed, item, nearest
from tests.gallery.test_durability import filled, wait_until_erased
from tests.gallery.test_erasure import small_disk
from trireid.gallery import Gallery, Hit, index_source
from trireid.gallery.items import Item, StoredImage
from trireid.gallery.limits import MAX_ANSWER, MAX_ATTRIBUTES, limit_answer
from trireid.gallery.reserve import RESERVE, SIZE, disk_full, keep_reserve
from trireid.gallery.store import FILE
from trireid.inference import Embedder
from trireid.samples import GalleryError
from trireid.samples.sources import open_source
from trireid.serving.errors import answer_to


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("attributes", {"note": "x" * MAX_ATTRIBUTES}),
        ("attributes", {"note": "ä" * (MAX_ATTRIBUTES // 2)}),
        ("identity", "x" * 1001),
        ("scene", "x" * 1001),
        ("time", "x" * 1001),
        ("time", "9999-12-31"),
        ("id", "x" * 1001),
    ],
)
def test_what_is_too_large_or_of_a_time_to_come_is_refused(
    tmp_path: Path, field: str, value: Any
) -> None:
    with Gallery.open(tmp_path / "a.gallery", NoNetwork()) as gallery:
        with pytest.raises(GalleryError) as caught:
            gallery.add_items([replace(item("a", "p"), **{field: value})])
        with pytest.raises(GalleryError, match=f"^{field}: "):
            # before the network is asked: this one cannot embed
            gallery.add([make_sample(1, **{field: value})])
        assert (caught.value.field, answer_to(caught.value).status_code) == (field, 422)
        assert len(gallery) == 0
        gallery.add_items(
            [replace(item("a", "p"), attributes={"note": "x" * (MAX_ATTRIBUTES - 12)})]
        )


def test_a_row_of_a_manifest_that_is_too_large_costs_that_row(
    tmp_path: Path, embedder: Embedder
) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.png").write_bytes(encode_image(ord(name)))
    (tmp_path / "m.csv").write_text(
        f"rgb,time,note\na.png,2026-01-01,x\nb.png,9999-12-31,x\nc.png,,{'x' * 20_000}\n"
    )
    with Gallery.open(tmp_path / "a.gallery", embedder) as gallery:
        report = index_source(open_source(str(tmp_path / "m.csv")), gallery)
        assert report.added == len(gallery) == 1
        assert [message.split(":")[0] for _, message in report.rejected] == ["time", "attributes"]


def test_what_an_older_store_holds_is_left_out_of_answers(tmp_path: Path) -> None:
    folder = tmp_path / "a.gallery"
    filled(folder, 4).close()
    database = sqlite3.connect(folder / FILE)
    database.execute(
        "UPDATE items SET attributes = ? WHERE id <> 'i0'", [json.dumps({"note": "x" * 1_000_000})]
    )
    database.commit()
    database.close()
    with Gallery.open(folder, NoNetwork()) as gallery:
        known = {each.id: each for _, each in nearest(gallery, "i1", 4)}
        assert (known["i1"].attributes, known["i1"].attributes_omitted) == ({}, True)
        assert not known["i0"].attributes_omitted


def test_an_answer_is_bounded_however_many_hits_it_has() -> None:
    one = Hit(
        rank=1,
        id="a",
        identity=None,
        score=1,
        camera=None,
        time=None,
        kind=None,
        attributes={"note": "x" * (MAX_ATTRIBUTES - 100)},
        key=1,
        present=(),
    )
    hits = limit_answer([one] * 1000 + [replace(one, attributes={})])
    assert 60 <= sum(not hit.attributes_omitted for hit in hits) <= 66
    assert sum(len(json.dumps(hit.attributes)) for hit in hits) < MAX_ANSWER + 10_000
    assert hits[0].attributes
    assert not hits[-1].attributes_omitted  # it has none to leave out


def test_a_full_disk_is_507_and_names_no_folder_of_the_server() -> None:
    answer = answer_to(disk_full(Path("/srv/galleries/people.gallery")))
    told = json.loads(bytes(answer.body))["error"]
    assert (answer.status_code, told["code"], told["field"]) == (507, "disk_full", None)
    assert "/srv" not in told["message"]


def large(numbers: Sequence[int]) -> list[Item]:
    images = [StoredImage("rgb", b"x" * 40_000)]
    return [replace(item(f"i{n}", f"person {n % 4}"), images=images) for n in numbers]


def add_until_full(gallery: Gallery) -> int:
    """Add 40 items at a time; returns how many there are when the disk is full."""
    for count in range(0, 10_000, 40):
        try:
            gallery.add_items(large(range(count, count + 40)))
        except GalleryError as error:
            return count if error.code == "disk_full" else -1
    return -1


def fill_disk(folder: Path) -> None:
    with (folder / "junk").open("wb", buffering=0) as file:
        for size in (2**20, 4096):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)


def test_on_a_full_disk_items_can_be_removed_and_the_gallery_compacted(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "48m") as disk:
        folder = disk / "a.gallery"
        with Gallery.open(folder, NoNetwork()) as gallery:
            count = add_until_full(gallery)
            fill_disk(disk)
            with pytest.raises(GalleryError, match="the disk is full"):
                gallery.add_items(large([10_001]))
            assert (folder / RESERVE).stat().st_size == SIZE  # adding does not take it
        # its log and shared memory need some room, too
        with Gallery.open(folder, NoNetwork()) as gallery:
            assert gallery.remove(identity="person 1") == count // 4
            wait_until_erased(gallery)
            before = (folder / FILE).stat().st_size
            gallery.compact()
            wait_until_erased(gallery)
            assert (folder / FILE).stat().st_size < 0.8 * before
            assert indexed(gallery) == count - count // 4
            assert keep_reserve(folder)
            gallery.add_items(large([10_002]))
            assert oct((folder / RESERVE).stat().st_mode & 0o777) == "0o600"
        (disk / "junk").unlink()


def test_removal_goes_piece_by_piece_where_the_reserve_does_not_hold_it_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a.gallery"
    with filled(folder, 400) as gallery:
        remove = gallery._writer.remove

        def fails_if_large(condition: Any, audited: Any) -> int:
            if len(gallery._writer.keys(condition)) > 20:
                raise disk_full(folder)
            return remove(condition, audited)

        monkeypatch.setattr(gallery._writer, "remove", fails_if_large)
        assert gallery.remove(identity="person 1") == 100
        assert indexed(gallery) == 300
        assert sum(what["removed"] for _, _, what in gallery.audit()) == 100
