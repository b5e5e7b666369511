"""A person's rights: what an item is kept for and until when, and all that is held of one person."""

from __future__ import annotations

import json
import sqlite3
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trireid.cli
from tests.conftest import encode_image, make_sample
from trireid.gallery import Gallery, index_source
from trireid.gallery.person import export_identity
from trireid.gallery.store import FILE
from trireid.inference import Embedder
from trireid.samples import GalleryError, Sample
from trireid.samples.sources import open_source

LATER, BEFORE = "2999-01-01T00:00:00Z", "2020-01-01T00:00:00+02:00"


def test_an_item_past_its_expiry_is_not_found(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = [("gone", BEFORE), ("kept", LATER), ("open", None)]
    gallery.add(
        [
            make_sample(n, id=id_, identity="Ann", expires=expires)
            for n, (id_, expires) in enumerate(samples)
        ]
    )
    assert {hit.id for hit in gallery.search(make_sample(0), k=10)} == {"kept", "open"}
    own_camera = gallery.search(make_sample(0, camera=3), k=10, other_cameras=True)
    assert {hit.id for hit in own_camera} == {"kept", "open"}
    assert [
        hit.id for hit in gallery.search(make_sample(0), k=1, by_identity=True, rerank=True)
    ] != ["gone"]
    monkeypatch.setattr(time, "time", lambda: 40_000_000_000.0)
    assert {hit.id for hit in gallery.search(make_sample(0), k=10)} == {"open"}


def test_items_are_filtered_by_purpose_and_expiry(gallery: Gallery) -> None:
    gallery.add(
        [
            make_sample(0, id="a", purpose="access", expires=LATER),
            make_sample(1, id="b", purpose="study"),
        ]
    )
    assert [
        hit.id for hit in gallery.search(make_sample(1), k=10, where={"purpose": "access"})
    ] == ["a"]
    assert [
        hit.id
        for hit in gallery.search(
            make_sample(1), k=10, where={"expires": {"lt": "2999-01-01T02:00:00+01:00"}}
        )
    ] == ["a"]
    assert [hit.id for hit in gallery.search(make_sample(1), k=10, where={"expires": None})] == [
        "b"
    ]


@pytest.mark.parametrize("expires", ["tomorrow", "", "2027-13-01", "12:00"])
def test_an_expiry_that_is_no_time_is_refused(gallery: Gallery, expires: str) -> None:
    with pytest.raises(GalleryError, match=r"expires: .* is not an ISO 8601 time") as error:
        gallery.add([make_sample(0, id="a", expires=expires)])
    assert (error.value.field, error.value.code, len(gallery)) == ("expires", "invalid", 0)


def test_manifests_bring_purpose_and_expiry(tmp_path: Path, gallery: Gallery) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.png").write_bytes(encode_image(ord(name)))
    rows = f"a.png,access,{LATER}\nb.png,,{BEFORE}\nc.png,,soon\n"
    (tmp_path / "m.csv").write_text("rgb,purpose,expires\n" + rows)
    report = index_source(open_source(str(tmp_path / "m.csv")), gallery)
    assert report.added == 2
    assert [place for place, _ in report.rejected] == ["row 4"]
    assert [hit.id for hit in gallery.search(Sample(rgb=encode_image(ord("b"))), k=10)] == ["a.png"]


def test_an_expired_item_that_comes_again_without_an_expiry_is_found(
    tmp_path: Path, gallery: Gallery
) -> None:
    (tmp_path / "a.png").write_bytes(encode_image(3))
    (tmp_path / "m.csv").write_text(f"rgb,identity,expires\na.png,Ann,{BEFORE}\n")
    (tmp_path / "again.csv").write_text("rgb,identity\na.png,Ann\n")
    for name, found in (
        ("m.csv", []),
        ("m.csv", []),
        ("again.csv", ["a.png"]),
        ("again.csv", ["a.png"]),
    ):
        index_source(open_source(str(tmp_path / name)), gallery)
        assert [hit.id for hit in gallery.search(Sample(rgb=encode_image(3)), k=10)] == found
    assert len(gallery) == 1


@pytest.mark.parametrize(
    "name",
    [
        "rgb",
        "nir",
        "tir",
        "id",
        "identity",
        "camera",
        "scene",
        "time",
        "kind",
        "purpose",
        "expires",
        " nir",
    ],
)
def test_attributes_are_not_called_like_fields(gallery: Gallery, name: str) -> None:
    with pytest.raises(GalleryError, match=f"attributes: '{name}' is the name of a field") as error:
        gallery.add([make_sample(0, id="a", attributes={name: "/home/me/secret.png"})])
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
        gallery.add([make_sample(0, id="a", attributes={"coat": "red"})])
    as_version_2(folder)
    with Gallery.open(folder) as gallery:
        gallery.add([make_sample(1, id="b", purpose="study", expires=BEFORE)])
        (hit,) = gallery.search(make_sample(1), k=10)
        assert (hit.id, hit.attributes) == ("a", {"coat": "red"})


@pytest.fixture
def people(tmp_path: Path, embedder: Embedder) -> Path:
    """Three items of Ann, kept, in files and bare, one of Bob; a removal of each of the two is in
    the audit.
    """
    folder = tmp_path / "a.gallery"
    (tmp_path / "ann.png").write_bytes(encode_image(50))
    (tmp_path / "gone.png").write_bytes(encode_image(51))
    with Gallery.open(folder, embedder) as gallery:
        known: dict[str, Any] = {
            "camera": 2,
            "scene": "s",
            "time": "2026-01-01",
            "kind": "person",
            "purpose": "access",
        }
        gallery.add(
            [
                make_sample(
                    0, id="kept", identity="Ann", attributes={"coat": "red"}, expires=LATER, **known
                )
            ],
            keep=True,
        )
        gallery.add([Sample(id="file", rgb=tmp_path / "ann.png", identity="Ann")])
        gallery.add([Sample(id="gone", tir=tmp_path / "gone.png", identity="Ann")])
        gallery.add(
            [make_sample(3, id="bob", identity="Bob"), make_sample(4, id="old", identity="Eve")],
            keep=True,
        )
        gallery.remove(identity="Eve")
    (tmp_path / "gone.png").unlink()
    return folder


def test_all_that_is_held_of_a_person_is_found(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trireid.cli.main(["gallery", "find", str(people), "--identity", "Ann", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    kept, file, gone = found["items"]
    assert (kept["id"], kept["camera"], kept["scene"], kept["kind"]) == ("kept", 2, "s", "person")
    assert (kept["purpose"], kept["expires"], kept["attributes"]) == (
        "access",
        LATER,
        {"coat": "red"},
    )
    assert datetime.fromisoformat(kept["added"]).year >= 2026
    assert [(modality, image["is_kept"]) for modality, image in kept["images"].items()] == [
        (modality, True) for modality in ("rgb", "nir", "tir")
    ]
    assert (file["images"]["rgb"]["path"], file["images"]["rgb"]["bytes"]) == (
        str(tmp_path / "ann.png"),
        len(encode_image(50)),
    )
    assert gone["images"]["tir"]["bytes"] is None
    assert found["audit"] == []
    assert trireid.cli.main(["gallery", "find", str(people), "--identity", "Ann"]) == 0
    out = capsys.readouterr().out
    for part in (
        "item kept",
        "access",
        "2999",
        '{"coat": "red"}',
        str(tmp_path / "ann.png"),
        "kept inside",
    ):
        assert part in out
    assert "bob" not in out.lower()


def test_a_person_who_is_not_held_is_one_line(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["find"], ["export", "-o", str(tmp_path / "out")]):
        assert (
            trireid.cli.main(
                ["gallery", arguments[0], str(people), "--identity", "Zoe", *arguments[1:]]
            )
            == 2
        )
        out = capsys.readouterr()
        assert (out.out, out.err.count("\n")) == ("", 1)
        assert "holds nothing of identity 'Zoe'" in out.err
    assert not (tmp_path / "out").exists()
    assert trireid.cli.main(["gallery", "find", str(people), "--identity", "Eve", "--json"]) == 1
    out = capsys.readouterr()
    assert [line["action"] for line in json.loads(out.out)["audit"]] == ["remove"]
    assert "holds no item of identity 'Eve'" in out.err


def test_a_persons_export_holds_theirs_alone_with_every_image(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert (
        trireid.cli.main(["gallery", "export", str(people), "--identity", "Ann", "-o", str(out)])
        == 1
    )
    assert "not copied: item 3: tir" in capsys.readouterr().err
    entries = [entry for entry in open_source(str(out / "manifest.csv")) if entry.sample]
    assert [(entry.sample.id, entry.sample.identity) for entry in entries if entry.sample] == [
        ("kept", "Ann"),
        ("file", "Ann"),
    ]
    assert (out / "pictures" / "2-rgb.png").read_bytes() == encode_image(50)
    assert {path.name for path in (out / "thumbnails").iterdir()} == {
        *(f"1-{m}.jpg" for m in ("rgb", "nir", "tir")),
        "2-rgb.jpg",
        "3-tir.jpg",
    }
    assert np.load(out / "embeddings.npy").shape == (3, 192)
    for path in (out, *out.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0


def test_a_persons_export_copies_no_file_that_is_no_image(people: Path, tmp_path: Path) -> None:
    (tmp_path / "ann.png").write_bytes(b"a secret that a store names")
    count, missing = export_identity(people, "Ann", tmp_path / "out")
    assert (count, len(missing)) == (3, 2)
    assert not any(
        b"secret" in path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()
    )


def test_the_audit_is_printed(people: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert trireid.cli.main(["gallery", "audit", str(people), "--json"]) == 0
    (line,) = json.loads(capsys.readouterr().out)["audit"]
    assert (line["action"], line["what"]["identity"], line["what"]["removed"]) == (
        "remove",
        "Eve",
        1,
    )
    assert trireid.cli.main(["gallery", "audit", str(people)]) == 0
    assert "  remove  " in capsys.readouterr().out


def test_a_manifest_may_not_call_an_attribute_like_a_field(
    tmp_path: Path, gallery: Gallery
) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.png").write_bytes(encode_image(ord(name)))
    (tmp_path / "m.csv").write_text("rgb,'nir\na.png,/etc/passwd\nb.png,\n")
    report = index_source(open_source(str(tmp_path / "m.csv")), gallery)
    assert (report.added, [place for place, _ in report.rejected]) == (1, ["row 2"])
    assert "attributes: 'nir' is the name of a field" in report.rejected[0][1]
