"""A person's rights: what an item is kept for and until when, and all that is held of one person."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from gallery import Gallery, index
from gallery.store import FILE
from samples import GalleryError, Sample
from samples.sources import open_source
from tests.conftest import encoded, triplet

LATER, BEFORE = "2999-01-01T00:00:00Z", "2020-01-01T00:00:00+02:00"


def test_an_item_past_its_expiry_is_not_found(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [("gone", BEFORE), ("kept", LATER), ("open", None)]
    gallery.add([triplet(n, id=id_, identity="Ann", expires=expires) for n, (id_, expires) in enumerate(samples)])
    assert {hit.id for hit in gallery.search(triplet(0), 10)} == {"kept", "open"}
    own_camera = gallery.search(triplet(0, camera=3), 10, other_cameras=True)
    assert {hit.id for hit in own_camera} == {"kept", "open"}
    assert [hit.id for hit in gallery.search(triplet(0), 1, by_identity=True, rerank=True)] != ["gone"]
    monkeypatch.setattr(time, "time", lambda: 40_000_000_000.0)
    assert {hit.id for hit in gallery.search(triplet(0), 10)} == {"open"}


def test_items_are_filtered_by_purpose_and_expiry(gallery: Gallery) -> None:
    gallery.add([triplet(0, id="a", purpose="access", expires=LATER), triplet(1, id="b", purpose="study")])
    assert [hit.id for hit in gallery.search(triplet(1), 10, {"purpose": "access"})] == ["a"]
    assert [hit.id for hit in gallery.search(triplet(1), 10, {"expires": {"lt": "2999-01-01T02:00:00+01:00"}})] == ["a"]
    assert [hit.id for hit in gallery.search(triplet(1), 10, {"expires": None})] == ["b"]


@pytest.mark.parametrize("expires", ["tomorrow", "", "2027-13-01", "12:00"])
def test_an_expiry_that_is_no_time_is_refused(gallery: Gallery, expires: str) -> None:
    with pytest.raises(GalleryError, match=r"expires: .* is not an ISO 8601 time") as error:
        gallery.add([triplet(0, id="a", expires=expires)])
    assert (error.value.field, error.value.code, len(gallery)) == ("expires", "invalid", 0)


def test_manifests_bring_purpose_and_expiry(tmp_path: Path, gallery: Gallery) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.png").write_bytes(encoded(ord(name)))
    rows = f"a.png,access,{LATER}\nb.png,,{BEFORE}\nc.png,,soon\n"
    (tmp_path / "m.csv").write_text("rgb,purpose,expires\n" + rows)
    report = index(open_source(str(tmp_path / "m.csv")), gallery)
    assert report.added == 2
    assert [place for place, _ in report.faults] == ["row 4"]
    assert [hit.id for hit in gallery.search(Sample(rgb=encoded(ord("b"))), 10)] == ["a.png"]


@pytest.mark.parametrize(
    "name", ["rgb", "nir", "tir", "id", "identity", "camera", "scene", "time", "kind", "purpose", "expires", " nir"]
)
def test_attributes_are_not_called_like_fields(gallery: Gallery, name: str) -> None:
    with pytest.raises(GalleryError, match=f"attributes: '{name}' is the name of a field") as error:
        gallery.add([triplet(0, id="a", attributes={name: "/home/me/secret.png"})])
    assert (error.value.field, error.value.code, len(gallery)) == ("attributes", "invalid", 0)


def as_version_2(folder: Path) -> None:
    """Take from a store what version 3 added."""
    database = sqlite3.connect(folder / FILE)
    database.execute("DROP INDEX items_expiry")
    for column in ("purpose", "expires", "expiry"):
        database.execute(f"ALTER TABLE items DROP COLUMN {column}")
    database.execute("UPDATE meta SET value = '2' WHERE name = 'version'")
    database.commit()
    database.close()


def test_a_store_of_version_2_becomes_one_of_this_version(tmp_path: Path, embedder: Any) -> None:
    folder = tmp_path / "a.gallery"
    with Gallery.open(folder, embedder) as gallery:
        gallery.add([triplet(0, id="a", attributes={"coat": "red"})])
    as_version_2(folder)
    with Gallery.open(folder) as gallery:
        gallery.add([triplet(1, id="b", purpose="study", expires=BEFORE)])
        (hit,) = gallery.search(triplet(1), 10)
        assert (hit.id, hit.attributes) == ("a", {"coat": "red"})
