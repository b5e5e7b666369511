"""Adding what a source says: new items, new facts of items with the same images, or nothing new.

An item is known by its id and its images. The same of both with other facts is an update, which
keeps the embedding; another id with the same images is another item, unless the source gave it no
id and nothing else to tell it by: then it is a copy.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from trireid.gallery.filters import COLUMNS, parse_instant
from trireid.gallery.items import Item, ItemRecord, StoredImage
from trireid.gallery.store import Store
from trireid.gallery.stored_values import check_texts, limit_length
from trireid.samples import Sample
from trireid.samples.text import list_forms, normalize_text

#: `contradicted`: the facts are not those that the same source gave of these images before;
#: `repeated`: its id is that of other images of the same source; `gone`: the item whose embedding
#: was to be taken is there no more.
Outcome = Literal["added", "replaced", "updated", "known", "contradicted", "repeated", "gone"]
_FACTS: Final = tuple(name for name in COLUMNS if name != "id")


@dataclass(frozen=True)
class Offer:
    """An item that is offered; `item.embedding` is empty if that of an item with the same images is
    to be taken.

    `is_named`: its id is its own, and not the name of its place in a source. `tells`: the fields
    and attributes that its source speaks of, None for all; others stay as they are.
    """

    item: Item
    is_named: bool
    tells: frozenset[str] | None = None


@dataclass(frozen=True)
class Merged:
    """The outcome of an offer, and the id of the item that now stands for it."""

    outcome: Outcome
    id: str


@dataclass(frozen=True)
class _HeldItem:
    known: ItemRecord
    digest: str


class Merger:
    """Takes offers into a store, within a transaction.

    `own`: the ids that the same source has brought before.
    """

    def __init__(self, store: Store, generation: int, has_cameras: bool, own: Set[str]) -> None:
        self._store, self._generation, self._has_cameras = store, generation, has_cameras
        # new: of this transaction, also those found as they are
        self._own, self._new = own, set[str]()

    def merge(self, offer: Offer) -> Merged:
        """Take one offer."""
        item, held = self._find_place(offer)
        if (
            held is None
            and not offer.is_named
            and (copy := self._find_copy(item, offer.tells)) is not None
        ):
            return Merged("known", copy)
        if held is None:
            return self._insert(item, "added")
        if held.digest != item.digest:
            if held.known.id in self._own or held.known.id in self._new:
                return Merged("repeated", held.known.id)
            return self._insert(item, "replaced")
        facts = _merge_facts(held.known, item, offer.tells)
        if facts == _facts(held.known):
            self._new.add(held.known.id)
            return Merged("known", held.known.id)
        if not offer.is_named and (held.known.id in self._own or held.known.id in self._new):
            return Merged("contradicted", held.known.id)
        return self._update(held, replace(item, **facts))

    def _find_place(self, offer: Offer) -> tuple[Item, _HeldItem | None]:
        """The item, and the one that has its id.

        A name that other images have gets a part of the digest behind it.
        """
        item, held = offer.item, self._find_held(offer.item.id)
        if held is not None and not offer.is_named and held.digest != item.digest:
            item = replace(item, id=f"{item.id}#{item.digest[:8]}")
            held = self._find_held(item.id)
        return item, held

    def _find_held(self, id_: str) -> _HeldItem | None:
        return next(
            iter(
                _load_held(
                    self._store,
                    "id IN (SELECT value FROM json_each(?))",
                    json.dumps(list_forms(id_)),
                )
            ),
            None,
        )

    def _find_copy(self, item: Item, tells: frozenset[str] | None) -> str | None:
        """The id of an item with the same images and facts."""
        for held in _load_held(self._store, "digest = ?", item.digest):
            if _merge_facts(held.known, item, tells) == _facts(held.known):
                return held.known.id
        return None

    def _insert(self, item: Item, outcome: Outcome) -> Merged:
        whole = item if item.embedding.size else self._with_embedding(item)
        if whole is None:
            return Merged("gone", item.id)
        self._store.add([whole], self._generation)
        self._new.add(item.id)
        return Merged(outcome, item.id)

    def _update(self, held: _HeldItem, item: Item) -> Merged:
        """Replace an item by itself with other facts: its images, and its age, stay."""
        key = held.known.key
        embedding = (
            item.embedding
            if item.embedding.size
            else self._store.embeddings([key], self._generation)[key]
        )
        images, added = (
            _with_paths(self._store.images(key), item.images),
            self._store.read_added_at(key),
        )
        self._store.remove_keys([key])
        self._store.add([replace(item, embedding=embedding, images=images)], self._generation)
        self._store.run("UPDATE items SET added = ? WHERE id = ?", [added, item.id])
        self._new.add(item.id)
        return Merged("updated", item.id)

    def _with_embedding(self, item: Item) -> Item | None:
        """The item with the embedding and the images of another one with the same images."""
        camera = "AND camera IS ?" if self._has_cameras else ""
        values = [item.digest, item.camera] if self._has_cameras else [item.digest]
        rows = self._store.run(f"SELECT key FROM items WHERE digest = ? {camera} LIMIT 1", values)
        if not rows:
            return None
        key = rows[0][0]
        images = _with_paths(self._store.images(key), item.images)
        return replace(
            item, embedding=self._store.embeddings([key], self._generation)[key], images=images
        )


def make_mark(digest: str, camera: int | None, has_cameras: bool) -> str:
    """Return what two samples share if one embedding is both's: the images, and the camera if the
    network sees it.
    """
    return f"{digest} {camera}" if has_cameras else digest


def collect_marks(store: Store, has_cameras: bool) -> set[str]:
    """Return the marks of all items."""
    rows = store.run(f"SELECT {limit_length('digest')}, camera FROM items")
    check_texts(store.folder, (digest for digest, _ in rows), "an item's digest")
    return {make_mark(digest, camera, has_cameras) for digest, camera in rows}


def is_known(store: Store, sample: Sample, tells: frozenset[str] | None) -> bool:
    """Return whether an item has a sample's id and facts; its images are not looked at."""
    for held in _load_held(
        store, "id IN (SELECT value FROM json_each(?))", json.dumps(list_forms(str(sample.id)))
    ):
        return _merge_facts(held.known, sample, tells) == _facts(held.known)
    return False


def no_embedding() -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return what stands for the embedding of an item with the same images."""
    return np.empty(0, np.float32)


def _load_held(store: Store, condition: str, value: str) -> list[_HeldItem]:
    rows = store.run(
        f"SELECT key, {limit_length('digest')} FROM items WHERE {condition} ORDER BY key", [value]
    )
    check_texts(store.folder, (digest for _, digest in rows), "an item's digest")
    known = store.load_records([key for key, _ in rows])
    return [_HeldItem(known[key], digest) for key, digest in rows]


def _facts(each: ItemRecord) -> dict[str, Any]:
    return {name: getattr(each, name) for name in (*_FACTS, "attributes")}


def _merge_facts(
    known: ItemRecord, given: Item | Sample, tells: frozenset[str] | None
) -> dict[str, Any]:
    """The facts of an item after its source has spoken: what it tells, and the others as they are
    known.
    """
    told = set(_FACTS) if tells is None else {*tells, *(["expires"] if _is_expired(known) else [])}
    facts = {
        name: normalize_text(getattr(given if name in told else known, name)) for name in _FACTS
    }
    attributes = normalize_text(dict(given.attributes))
    if tells is not None:
        attributes = {
            name: value for name, value in known.attributes.items() if name not in tells
        } | attributes
    return {**facts, "attributes": _as_stored(attributes)}


def _is_expired(known: ItemRecord) -> bool:
    """Whether an item is past its `expires`: no search finds it, so that bringing it again must not
    leave it so.
    """
    expiry = parse_instant(known.expires)
    return expiry is not None and expiry <= time.time()


def _as_stored(attributes: Mapping[str, Any]) -> Any:
    """Attributes as they come back from a store; what no store takes is left as it is, for it to
    refuse.
    """
    try:
        return json.loads(json.dumps(attributes, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        return attributes


def _with_paths(old: Sequence[StoredImage], new: Sequence[StoredImage]) -> list[StoredImage]:
    """The images of an item, at the paths where they are now."""
    paths = {image.modality: image.path for image in new if image.path is not None}
    return [replace(image, path=paths.get(image.modality, image.path)) for image in old]
