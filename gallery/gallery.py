"""The gallery: enrolled samples that a query is matched against. Truth in the store, speed in the index."""

from __future__ import annotations

import operator
import os
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from assets import DEFAULTS, default_artifact
from export import Embedder, load_artifact
from gallery.index import VectorIndex
from gallery.pictures import digest, stored_pictures
from gallery.store import FILE, Item, Position, Store, StoredPicture
from gallery.where import checked_text, condition
from samples import GalleryError, Sample

SUFFIX: Final = ".gallery"
MAX_K: Final = 1000
_CAMERA_LIMIT: Final = 2**63


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One answer to a query. `score`: cosine similarity in [-1, 1]; `images`: modality -> where its picture is."""

    rank: int
    id: str
    identity: str | None
    score: float
    camera: int | None
    time: str | None
    kind: str | None
    attributes: Mapping[str, Any]
    images: Mapping[str, str]


class Gallery:
    """A folder `NAME.gallery` of enrolled samples and one network's embeddings of them.

    Safe for several threads; several processes may have it open, each sees what the others commit at its next search.
    """

    def __init__(self, folder: Path, store: Store, embedder: Embedder) -> None:
        self.folder, self.embedder, self._store = folder, embedder, store
        self._lock = threading.RLock()
        self._index = VectorIndex(embedder.card.dimension)
        self._position = Position()
        self._catch_up()

    @classmethod
    def open(cls, path: str | PathLike[str], embedder: Embedder | None = None, *, create: bool = True) -> Gallery:
        """Open a gallery; with an embedder it is created where absent (unless `create` is off), without one its recorded
        artifact is loaded.

        Raises GalleryError where the folder holds no gallery or one of another network, ArtifactError where the recorded
        artifact is gone.
        """
        folder = Path(path)
        if not is_gallery(folder):
            if embedder is None or not create:
                raise _no_gallery(folder)
            _refuse_foreign(folder)
            Store.create(folder, _meta(embedder))
        store = Store(folder)
        try:
            meta = store.meta()
            embedder = embedder or load_artifact(_artifact_path(meta))
            _check_network(folder, meta, embedder)
            return cls(folder, store, embedder)
        except BaseException:
            store.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the store. Everything acknowledged is on disk already."""
        with self._lock:
            self._index.close()
            self._store.close()

    @property
    def name(self) -> str:
        """What this gallery is called."""
        return gallery_name(self.folder)

    def __len__(self) -> int:
        with self._lock:
            return len(self._store)

    def add(self, samples: Sequence[Sample], *, keep: bool = False) -> list[str]:
        """Embed and add samples in one transaction, durable on return; returns their ids.

        An id that is there is replaced; a sample without one gets a random one. `keep` holds the pictures' bytes in the
        gallery; files are kept by reference either way. Raises PictureError for a bad picture, and then adds none.
        """
        return self.add_embedded(samples, self.embedder.embed(samples), keep=keep)

    def add_embedded(self, samples: Sequence[Sample], embeddings: NDArray[np.float32], *, keep: bool = False) -> list[str]:
        """As `add`, with embeddings float32 [B, D] made by this gallery's network."""
        items = [_item(sample, row, keep) for sample, row in zip(samples, embeddings, strict=True)]
        with self._lock:
            self._store.add(items)
            self._catch_up()
        return [item.id for item in items]

    def remove(self, *, ids: Sequence[str] | None = None, identity: str | None = None) -> int:
        """Remove items by their ids, or all of an identity; returns how many there were. Durable on return."""
        if (ids is None) == (identity is None):
            raise GalleryError("give either ids or an identity to remove", "ids")
        with self._lock:
            removed = self._store.remove(condition({"id": list(ids)} if ids is not None else {"identity": identity}))
            self._catch_up()
        return removed

    def search(
        self, sample: Sample, k: int = 10, where: Mapping[str, Any] | None = None, *, other_cameras: bool = False
    ) -> list[Hit]:
        """The k best hits (1 to 1000), best first, among the items that `where` lets pass.

        `other_cameras` leaves out the items of the query's own camera, which the sample must then have. Raises GalleryError
        for a bad k or filter, PictureError for a bad picture.
        """
        _check_k(k)
        if other_cameras and sample.camera is None:
            raise GalleryError("other_cameras needs the query's own camera", "camera")
        own = sample.camera if other_cameras else None
        filtered = None if where is None else condition(where)
        embedding = self.embedder.embed([sample])[0]
        return self._search(embedding, k, filtered, own)

    def picture(self, key: int, modality: str) -> StoredPicture | None:
        """What is kept of one picture of an item; `key` as in a hit's `images`."""
        with self._lock:
            return self._store.picture(key, modality)

    def ids(self) -> set[str]:
        """Every item's id."""
        with self._lock:
            return self._store.known_ids()

    def digests(self) -> dict[str, str]:
        """The digest of every item's pictures, and the item's id: to know exact duplicates."""
        with self._lock:
            return self._store.digests()

    def _search(self, embedding: NDArray[np.float32], k: int, filtered: Any, own_camera: int | None) -> list[Hit]:
        with self._lock:
            self._catch_up()
            among = self._among(filtered, own_camera)
            scores, keys = self._index.search(embedding[None], k, among)
            known = self._store.known(keys[0].tolist())
        found = [(known[key], float(score)) for key, score in zip(keys[0].tolist(), scores[0], strict=True) if key in known]
        return [
            Hit(
                rank=rank,
                id=item.id,
                identity=item.identity,
                score=max(-1.0, min(1.0, score)),
                camera=item.camera,
                time=item.time,
                kind=item.kind,
                attributes=item.attributes,
                images={
                    modality: f"/pictures/{quote(self.name, safe='')}/{item.key}/{modality}" for modality in item.modalities
                },
            )
            for rank, (item, score) in enumerate(found, start=1)
        ]

    def _among(self, filtered: Any, own_camera: int | None) -> NDArray[np.int64] | None:
        if filtered is None and own_camera is None:
            return None
        sql, values = filtered or ("1", [])
        if own_camera is not None:
            sql, values = f"({sql}) AND camera IS NOT ?", [*values, own_camera]
        return self._store.keys((sql, values))

    def _catch_up(self) -> None:
        """Bring the index to where the store is: own writes and those of other processes."""
        changes = self._store.changes(self._position, self.embedder.card.dimension)
        self._index.remove(changes.removed)
        self._index.add(changes.keys, changes.embeddings)
        self._position = changes.position


def gallery_name(folder: str | PathLike[str]) -> str:
    """What a gallery in this folder is called: the folder's name without `.gallery`."""
    return Path(os.path.abspath(folder)).name.removesuffix(SUFFIX)


def _check_k(k: int) -> None:
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= MAX_K:
        raise GalleryError(f"k must be a whole number from 1 to {MAX_K}, not {k!r}", "k")


def _refuse_foreign(folder: Path) -> None:
    """A gallery is only ever made in a new or empty folder: no folder of the user's is littered by a slip.

    What another process leaves there while it makes the same gallery does not count.
    """
    if folder.exists() and (not folder.is_dir() or any(not path.name.startswith(FILE) for path in folder.iterdir())):
        raise GalleryError(f"{folder}: is there, and is no gallery; name a new or empty folder", str(folder))


def _meta(embedder: Embedder) -> dict[str, str]:
    card = embedder.card
    return {"artifact": embedder.source, "fingerprint": card.fingerprint, "model": card.name, "dimension": str(card.dimension)}


def _check_network(folder: Path, meta: Mapping[str, str], embedder: Embedder) -> None:
    card = embedder.card
    if meta["fingerprint"] != card.fingerprint:
        raise GalleryError(
            f"{folder}: was filled by network {meta['model']} ({meta['fingerprint'][:12]}), not by {card.name}"
            f" ({card.fingerprint[:12]}); open it with its own, or fill another gallery",
            str(folder),
        )


def _item(sample: Sample, embedding: NDArray[np.float32], keep: bool) -> Item:
    camera = None if sample.camera is None else operator.index(sample.camera)
    if camera is not None and not -_CAMERA_LIMIT <= camera < _CAMERA_LIMIT:
        raise GalleryError(f"camera: {camera} is out of range", "camera")
    for name in ("id", "identity", "scene", "time"):
        if getattr(sample, name) is not None:
            checked_text(getattr(sample, name), name)
    return Item(
        id=uuid.uuid4().hex if sample.id is None else sample.id,
        embedding=embedding,
        digest=digest(sample),
        identity=sample.identity,
        camera=camera,
        scene=sample.scene,
        time=sample.time,
        kind=sample.kind,
        attributes=sample.attributes,
        pictures=stored_pictures(sample, keep),
    )


def is_gallery(path: str | PathLike[str]) -> bool:
    """Whether the folder holds a gallery."""
    return (Path(path) / FILE).is_file()


def artifact_of(path: str | PathLike[str]) -> Path:
    """The artifact file that a gallery was filled with. Raises GalleryError where the folder holds no gallery."""
    return _artifact_path(_meta_of(Path(path)))


def fingerprint_of(path: str | PathLike[str]) -> str:
    """The fingerprint of the network that a gallery was filled with. Raises GalleryError where it holds no gallery."""
    return _meta_of(Path(path))["fingerprint"]


def _meta_of(folder: Path) -> dict[str, str]:
    if not is_gallery(folder):
        raise _no_gallery(folder)
    store = Store(folder)
    try:
        return store.meta()
    finally:
        store.close()


def _no_gallery(folder: Path) -> GalleryError:
    return GalleryError(f"{folder}: no gallery there; fill one with `trireid index SOURCE --gallery {folder}`", str(folder))


def _artifact_path(meta: Mapping[str, str]) -> Path:
    """The file of the recorded artifact: the name of an embedded default, or an absolute path."""
    recorded = meta["artifact"]
    return default_artifact(recorded) if recorded in DEFAULTS else Path(recorded)
