"""Filters: what means the same finds the same, and what no item can be is refused by name."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trireid.cli
from tests.conftest import make_sample
from tests.gallery.test_searching import people, query, stored
from trireid.gallery import Gallery
from trireid.gallery.attribute_filters import equals, ranges
from trireid.gallery.stats import stats
from trireid.gallery.store import Store
from trireid.samples import GalleryError

__all__ = ["people"]

FIELDS: dict[str, Any] = {
    "identity": "7",
    "camera": 3,
    "scene": "s",
    "time": "2026-05-01T12:00:00Z",
    "kind": "vehicle",
}


def found(gallery: Gallery, where: dict[str, Any]) -> set[str]:
    return {hit.id for hit in gallery.search(query("q"), k=100, where=where)}


@pytest.fixture
def filled(people: Gallery) -> Gallery:
    """One item with every field, and some whose attributes are text, numbers, true and null."""
    values: dict[str, Any] = {
        "int": 3,
        "text": "3",
        "real": 1.5,
        "real text": "1.5",
        "true": True,
        "true text": "true",
    }
    values |= {
        "zeros": "03",
        "word": "red",
        "float": 3.0,
        "one": 1,
        "null": None,
        "large": 2**60,
        "list": ["red"],
    }
    people.add_items([stored("fields", **FIELDS, purpose="access", expires="2999-01-01")])
    people.add_items(
        [
            stored(name, attributes={"a": value, "coat colour": "x"})
            for name, value in values.items()
        ]
    )
    return people


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (3, {"int", "text", "float"}),
        ("3", {"int", "text", "float"}),
        (3.0, {"int", "text", "float"}),
        ("3.0", {"int", "text", "float"}),
        (np.int64(3), {"int", "text", "float"}),
        (1.5, {"real", "real text"}),
        ("1.5", {"real", "real text"}),
        ("03", {"zeros"}),
        ("red", {"word"}),
        ("Red", set()),
        (True, {"true", "true text"}),
        ("true", {"true", "true text"}),
        ("True", {"true", "true text"}),
        (False, set()),
        (1, {"one"}),
        (2**60, {"large"}),
        (str(2**60), {"large"}),
        (["3", 1.5], {"int", "text", "float", "real", "real text"}),
        ([True, "red"], {"true", "true text", "word"}),
        ([], set()),
        (None, {"null", "fields"}),
        ({"gte": 3}, {"int", "text", "float", "large"}),
        ({"gte": "3"}, {"int", "text", "float", "large"}),
        ({"gt": 1, "lt": "3"}, {"real", "real text"}),
        ({"gte": "r", "lt": "s"}, {"word"}),
        ({"lt": 2}, {"one", "real", "real text"}),
    ],
)
def test_text_and_number_are_alike_in_attributes(
    filled: Gallery, wanted: Any, expected: set[str]
) -> None:
    assert found(filled, {"a": wanted}) == expected


@pytest.mark.parametrize(
    "where",
    [
        {"camera": 3},
        {"camera": "3"},
        {"camera": 3.0},
        {"camera": ["3", 4]},
        {"camera": {"gte": "3", "lt": 3.5}},
        {"identity": 7},
        {"identity": 7.0},
        {"identity": [6, "7"]},
        {"kind": ["vehicle"]},
        {"kind": "vehicle", "time": "2026-05-01T12:00:00"},
        {"time": "2026-05-01T14:00:00+02:00"},
        {"time": ["2026-05-01T14:00:00+02:00", "frame 7"]},
        {"time": {"gte": "2026-05-01", "lt": "2026-05-02"}},
        {"expires": {"gt": "2998-01-01"}},
        {"purpose": "access"},
        {"scene": {"gte": "s", "lte": "s"}},
    ],
)
def test_fields_are_compared_as_what_they_are(filled: Gallery, where: dict[str, Any]) -> None:
    assert found(filled, where) == {"fields"}


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (
            {"kind": "Person"},
            'where.kind: "Person" is not a kind; kinds are person, vehicle; did you mean person?',
        ),
        ({"kind": ["person", "dog"]}, 'where.kind: "dog" is not a kind'),
        ({"kind": 3}, "where.kind: 3 is not a kind"),
        ({"kind": {"gte": "p"}}, "where.kind: has no range"),
        ({"camera": "front"}, 'where.camera: "front" is not a camera; cameras are whole numbers'),
        ({"camera": 2.5}, "where.camera: 2.5 is not a camera"),
        ({"camera": True}, "where.camera: true is not a camera"),
        ({"camera": [1, "left"]}, 'where.camera: "left" is not a camera'),
        ({"camera": {"gte": "low"}}, 'where.camera: "low" is not a camera'),
        ({"time": {"gte": "yesterday"}}, 'where.time: "yesterday" is not an ISO 8601 time'),
        ({"time": {"gte": "2026-01-01", "lt": "May"}}, 'where.time: "May" is not an ISO 8601 time'),
        ({"time": {"gte": 1767225600}}, "where.time: 1767225600 is not an ISO 8601 time"),
        ({"time": 1767225600}, "where.time: 1767225600 is not an ISO 8601 time"),
        ({"expires": "soon"}, 'where.expires: "soon" is not an ISO 8601 time'),
        ({"identity": True}, "where.identity: true cannot be an item's identity"),
        ({"identity": {"gte": None}}, "where.identity: expected text, a number"),
        (
            {"cammera": 1},
            "where.cammera: no item has an attribute of this name; did you mean camera?",
        ),
        (
            {"Camera": 1},
            "where.Camera: no item has an attribute of this name; did you mean camera?",
        ),
        ({"coat color": "x"}, "did you mean coat colour?; fields"),
        (
            {"zzz": 1},
            "fields: id, identity, camera, scene, time, kind, purpose, expires; attributes: a,"
            " coat colour",
        ),
        ({"zzz": None}, "where.zzz: no item has"),
        ({"zzz": {"gte": 1}, "camera": 3}, "where.zzz: no item has"),
        ({"a": {"gte": True}}, "where.a: a range goes from"),
        ({"a": {"from": 1}}, "where.a: a range takes gt, gte, lt, lte, not from"),
        ({"attributes": {"a": 3}}, "where.attributes: is not a field to filter by"),
        ({"rgb": "a.png"}, "where.rgb: is not a field to filter by"),
    ],
)
def test_what_no_item_can_be_is_refused_by_name(
    filled: Gallery, where: dict[str, Any], said: str
) -> None:
    with pytest.raises(GalleryError) as caught:
        found(filled, where)
    assert said in caught.value.message
    assert "\n" not in caught.value.message
    assert (caught.value.field, caught.value.code) == ("where", "invalid")


def test_an_empty_gallery_takes_any_attributes_name(people: Gallery) -> None:
    assert found(people, {"colour": "red"}) == set()
    with pytest.raises(GalleryError, match="kinds are"):
        found(people, {"kind": "Person"})


def test_the_names_of_attributes_follow_every_process(people: Gallery) -> None:
    people.add_items(
        [stored("a", attributes={"coat": "red"}), stored("b", attributes={"coat": "red", "hat": 1})]
    )
    with pytest.raises(GalleryError, match=r"attributes: coat, hat$"):
        found(people, {"bag": 1})
    with Gallery.open(people.folder, people.embedder) as other:
        other.add_items([stored("c", attributes={"bag": 2})])
        assert found(people, {"bag": 1}) == set()
        other.remove(ids=["b"])
    assert found(people, {"coat": "blue"}) == set()
    with pytest.raises(GalleryError, match=r"attributes: bag, coat$"):
        found(people, {"hat": 1})
    people.remove(ids=["a"])
    with pytest.raises(GalleryError, match=r"attributes: bag$"):
        found(people, {"coat": "red"})


def test_the_names_are_read_once_and_not_where_something_is_found(
    people: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    run = Store.run

    def noted(self: Store, text: str, *values: Any) -> list[Any]:
        asked.append(text)
        return run(self, text, *values)

    monkeypatch.setattr(Store, "run", noted)
    people.add_items([stored("a", attributes={"coat": "red"})])
    assert found(people, {"coat": "red"}) == {"a"}
    assert not [text for text in asked if "each.key" in text]
    for colour in ("blue", "green", "black"):
        assert found(people, {"coat": colour}) == set()
    assert len([text for text in asked if "each.key" in text]) == 1


def test_of_too_many_names_none_is_refused(
    people: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trireid.gallery.attribute_names.MOST_NAMES", 5)
    people.add_items([stored("a", attributes={f"n{i}": i for i in range(6)})])
    assert found(people, {"other": 1}) == set()


def test_a_long_list_of_names_is_cut(people: Gallery) -> None:
    people.add_items([stored("a", attributes={f"n{i:03}": i for i in range(200)})])
    with pytest.raises(GalleryError, match=r"n019 and 180 more$"):
        found(people, {"zzz": 1})


def test_an_item_without_a_kind_is_of_the_networks(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In hits, in filters and in what the gallery tells of itself."""
    kind = gallery.embedder.card.kind
    assert kind == "person"
    gallery.add(
        [
            make_sample(0, id="none"),
            make_sample(1, id="vehicle", kind="vehicle"),
            make_sample(2, id="person", kind="person"),
        ]
    )
    assert {hit.id: hit.kind for hit in gallery.search(make_sample(0))} == {
        "none": "person",
        "vehicle": "vehicle",
        "person": "person",
    }
    assert {hit.id for hit in gallery.search(make_sample(0), where={"kind": "person"})} == {
        "none",
        "person",
    }
    assert {hit.id for hit in gallery.search(make_sample(0), where={"kind": None})} == set()
    assert stats(gallery.folder)["by_kind"] == {"person": 2, "vehicle": 1}


def test_the_command_names_key_and_value(
    filled: Gallery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twice = ('{"camera": 1, "camera": 2}', '--where: "camera" is named twice')
    for text, said in (twice, ("[1]", "--where: must be an object")):
        code = trireid.cli.main(
            ["search", "--gallery", str(filled.folder), "--rgb", "x.png", "--where", text]
        )
        assert (code, said in capsys.readouterr().err) == (2, True)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.integers(-5, 5),
            st.floats(-5, 5),
            st.booleans(),
            st.text("01.-ae", max_size=4),
            st.none(),
        ),
        min_size=1,
    ),
    st.one_of(st.integers(-5, 5), st.floats(-5, 5), st.text("01.-ae", max_size=4)),
)
def test_a_range_and_its_rest_are_all_that_can_be_compared(values: list[Any], bound: Any) -> None:
    """Each value is under a bound, like it, or over it: one of the three where both are numbers or
    both are text.
    """
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE items (key INTEGER PRIMARY KEY, attributes TEXT)")
    database.executemany(
        "INSERT INTO items (attributes) VALUES (?)",
        [(json.dumps({"a": value}),) for value in values],
    )

    def keys(condition: tuple[str, list[Any]]) -> set[int]:
        return {
            key
            for (key,) in database.execute(
                f"SELECT key FROM items WHERE {condition[0]}", condition[1]
            )
        }

    path = '$."a"'
    less, equal, more = (
        keys(ranges(path, [("<", bound)])),
        keys(equals(path, [bound])),
        keys(ranges(path, [(">", bound)])),
    )
    assert len(less) + len(equal) + len(more) == len(less | equal | more)
    either = less | equal | more
    for key, value in enumerate(values, start=1):
        if value is None or isinstance(value, bool):
            assert key not in either
        elif type(value) is type(bound) is int or type(value) is type(bound) is float:
            assert key in either
    database.close()
