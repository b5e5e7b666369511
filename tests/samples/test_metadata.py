"""`ItemMetadata`: one type from which forms, tables, filters and the store take their fields."""

from __future__ import annotations

from dataclasses import fields

import pytest

from trireid.gallery.filters import COLUMNS
from trireid.gallery.items import Item, ItemRecord
from trireid.gallery.schema import SCHEMA
from trireid.samples import ItemMetadata, Sample, TrireidError
from trireid.samples.metadata import METADATA, TEXTS
from trireid.samples.readers import columns
from trireid.serving import requests
from trireid.serving.openapi import document
from trireid.serving.schemas import EnrollForm

VALUES = {
    "identity": "Ann",
    "camera": 2,
    "scene": "gate",
    "time": "2026-01-31T12:00:00Z",
    "kind": "person",
    "purpose": "access",
    "expires": "2999-01-31T12:00:00Z",
    "attributes": {"coat": "red"},
}


def test_the_fields_are_these() -> None:
    assert tuple(VALUES) == METADATA
    assert TEXTS == ("identity", "scene", "time", "purpose", "expires")
    with pytest.raises(TrireidError, match="kind must be one of person, vehicle, not 'boat'"):
        ItemMetadata(kind="boat")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", METADATA)
def test_each_field_reaches_every_layer(name: str) -> None:
    for each in (Sample, Item, ItemRecord):
        assert name in {field.name for field in fields(each)}
    form = document()["components"]["schemas"]["EnrollForm"]["properties"]
    assert form[name]["description"]
    assert f" {name} " in SCHEMA.replace(",", " ").replace("\n", " ")
    if name != "attributes":
        assert name in COLUMNS
        assert name in columns.FIELDS


def test_a_client_sends_all_of_it_and_a_form_reads_it_back() -> None:
    sample = Sample(id="a1", rgb=b"image", **VALUES)  # type: ignore[arg-type]
    sent = requests.enroll(sample).fields
    form = EnrollForm.model_validate(dict(sent))
    assert form.model_dump(include={*METADATA}) == VALUES == sample.get_metadata()
