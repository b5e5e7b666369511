"""Text that looks the same is the same: stored in NFC, and found and erased in whatever form it is
asked for or was stored.
"""

from __future__ import annotations

import sqlite3
import unicodedata
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import encode_image
from trireid.gallery import Gallery, index_source
from trireid.gallery.person import find_identity
from trireid.inference import Embedder
from trireid.samples import Sample, TrireidError
from trireid.samples.sources import open_source

NFC = unicodedata.normalize("NFC", "Zo\u00eb M\u00fcller")
NFD = unicodedata.normalize("NFD", NFC)
assert NFC != NFD


def rows(gallery: Gallery, query: str) -> list[Any]:
    with closing(sqlite3.connect(gallery.folder / "gallery.db")) as database:
        return database.execute(query).fetchall()


@pytest.mark.parametrize("given", [NFC, NFD], ids=["NFC", "NFD"])
def test_text_is_stored_composed(gallery: Gallery, given: str) -> None:
    sample = Sample(
        id=f"id {given}",
        rgb=encode_image(1),
        identity=given,
        scene=given,
        purpose=given,
        attributes={given: [given, {given: 1}]},
    )
    assert gallery.add([sample]) == [f"id {NFC}"]
    assert rows(gallery, "SELECT id, identity, scene, purpose FROM items") == [
        (f"id {NFC}", NFC, NFC, NFC)
    ]
    (hit,) = gallery.search(Sample(rgb=encode_image(1)), k=1)
    assert dict(hit.attributes) == {NFC: [NFC, {NFC: 1}]}


@pytest.mark.parametrize("stored", [NFC, NFD], ids=["stored NFC", "stored NFD"])
@pytest.mark.parametrize("asked", [NFC, NFD], ids=["asked NFC", "asked NFD"])
def test_what_an_older_store_holds_is_found_replaced_and_erased(
    tmp_path: Path, embedder: Embedder, stored: str, asked: str
) -> None:
    with Gallery.open(tmp_path / "a.gallery", embedder) as gallery:
        gallery.add([Sample(id="x", rgb=encode_image(1)), Sample(id="z", rgb=encode_image(2))])
    with closing(sqlite3.connect(tmp_path / "a.gallery" / "gallery.db")) as database:
        values = [stored, stored, stored, f'{{"{stored}": "{stored}"}}']
        database.execute(
            "UPDATE items SET id = ?, identity = ?, scene = ?, attributes = ? WHERE id = 'x'",
            values,
        )
        database.commit()
    with Gallery.open(tmp_path / "a.gallery") as gallery:
        for where in (
            {"identity": asked},
            {"identity": ["no", asked]},
            {"scene": asked},
            {asked: asked},
            {asked: [asked]},
        ):
            assert len(gallery.search(Sample(rgb=encode_image(1)), k=9, where=where)) == 1, where
        assert len(find_identity(gallery.folder, asked)["items"]) == 1
        gallery.add([Sample(id=asked, rgb=encode_image(3), identity=asked)])
        assert (len(gallery), gallery.ids()) == (2, {NFC, "z"})
        assert gallery.remove(identity=asked) == 1
        gallery.add([Sample(id=asked, rgb=encode_image(3))])
        assert gallery.remove(ids=[asked]) == 1
        assert gallery.ids() == {"z"}


def test_a_manifest_and_a_folder_in_either_form_name_the_same_items(
    tmp_path: Path, gallery: Gallery
) -> None:
    for number, form in enumerate((NFC, NFD)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "a.png").write_bytes(encode_image(1))
        (folder / "m.csv").write_text(
            f"rgb,id,identity,{form}\na.png,{form},{form},{form}\n", encoding="utf-8"
        )
        report = index_source(open_source(str(folder / "m.csv")), gallery)
        assert (report.added, report.known) == (1 - number, number)
        (folder / "crops" / form).mkdir(parents=True)
        (folder / "crops" / form / "a.png").write_bytes(encode_image(2))
        report = index_source(open_source(str(folder / "crops")), gallery)
        assert (report.added, report.known) == (1 - number, number)
    assert rows(gallery, "SELECT id, identity FROM items ORDER BY key") == [
        (NFC, NFC),
        (f"{NFC}/a.png", NFC),
    ]


def test_two_attributes_that_become_one_are_refused(gallery: Gallery) -> None:
    with pytest.raises(TrireidError, match="differ only in how their letters are composed"):
        gallery.add([Sample(rgb=encode_image(1), attributes={NFC: 1, NFD: 2})])
