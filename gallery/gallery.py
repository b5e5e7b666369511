"""The gallery: enrolled samples that a query is matched against. Truth in the store, speed in the view of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from evaluation import rerank
from export import Embedder, load_artifact
from gallery.calibration import Calibration
from gallery.enrolling import item_of
from gallery.hits import Answer, Hit, first_of_each_identity, hit, ranked
from gallery.items import Item, Known, StoredPicture
from gallery.place import (
    Settings,
    artifact_path,
    check_network,
    description,
    gallery_name,
    is_gallery,
    no_gallery,
    refuse_foreign,
    settings_of,
    settled,
)
from gallery.scoring import mask_of
from gallery.snapshot import SNAPSHOT, drop_snapshot, save_snapshot
from gallery.store import Store
from gallery.view import View
from gallery.where import Condition, condition
from samples import MODALITIES, GalleryError, Modality, Sample

MAX_K: Final = 1000
#: Re-ranking looks at so many of the best.
SHORTLIST: Final = 200
#: A gallery of so many items or more saves its index when it is closed.
WORTH_A_SNAPSHOT: Final = 5_000
_ATTEMPTS: Final = 8
_DAY: Final = 86_400.0
Load = Callable[[Path], Embedder]


class Gallery:
    """A folder `NAME.gallery` of enrolled samples and one network's embeddings of them.

    Safe for several threads and processes: searches go on while one of them writes, and each sees at its next search what the
    others have committed.
    """

    def __init__(self, folder: Path, embedder: Embedder, settings: Settings, load: Load = load_artifact) -> None:
        self.folder, self.embedder, self.settings, self._load = folder, embedder, settings, load
        self._writing, self._reading = threading.RLock(), threading.RLock()
        self._writer, self._reader = Store(folder), Store(folder)
        try:
            self._view = self._viewed()
        except BaseException:
            self._close_stores()
            raise

    @classmethod
    def open(
        cls,
        path: str | PathLike[str],
        embedder: Embedder | None = None,
        *,
        create: bool = True,
        memory: str | None = None,
        recall: float | None = None,
        load: Load = load_artifact,
    ) -> Gallery:
        """Open a gallery; with an embedder it is created where absent (unless `create` is off), without one its recorded
        artifact is loaded.

        `memory` (`float32`, `float16`, `int8`) and `recall` (of the ten nearest, 0.99 at first) are remembered in the gallery
        where they are given. `load` opens the recorded artifact, and that of another network which the gallery moves to while
        it is open. Raises GalleryError where the folder holds no gallery or one of another network, ArtifactError where the
        recorded artifact is gone.
        """
        folder = Path(path)
        if not is_gallery(folder):
            if embedder is None or not create:
                raise no_gallery(folder)
            refuse_foreign(folder)
            Store.create(folder, description(embedder))
        meta = settled(folder, {"memory": memory, "recall": None if recall is None else str(recall)})
        embedder = embedder or load(artifact_path(meta))
        check_network(folder, meta, embedder)
        return cls(folder, embedder, settings_of(meta), load)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the gallery. Everything acknowledged is on disk already; a large index is saved for the next opening."""
        self._view.close()
        if self._worth_saving():
            self.snapshot()
        with self._writing, self._reading:
            self._close_stores()

    @property
    def name(self) -> str:
        """What this gallery is called."""
        return gallery_name(self.folder)

    def __len__(self) -> int:
        with self._reading:
            return len(self._reader)

    def add(self, samples: Sequence[Sample], *, keep: bool = False) -> list[str]:
        """Embed and add samples in one transaction, durable on return; returns their ids.

        An id that is there is replaced; a sample without one gets a random one. `keep` holds the pictures' bytes in the
        gallery; files are kept by reference either way. Raises PictureError for a bad picture, and then adds none.
        """
        return self.add_embedded(samples, self.embedder.embed(samples), keep=keep)

    def add_embedded(self, samples: Sequence[Sample], embeddings: NDArray[np.float32], *, keep: bool = False) -> list[str]:
        """As `add`, with embeddings float32 [B, D] made by this gallery's network."""
        return self.add_items([item_of(sample, row, keep) for sample, row in zip(samples, embeddings, strict=True)])

    def add_items(self, items: Sequence[Item]) -> list[str]:
        """As `add`, with all that is stored of each sample."""
        with self._writing:
            self._writer.add(items, self._view.position.generation)
        self.view(wait=True)
        return [item.id for item in items]

    def remove(self, *, ids: Sequence[str] | None = None, identity: str | None = None) -> int:
        """Remove items by their ids, or all of an identity; returns how many there were.

        On return they are gone for good: rows, embeddings, pictures, and the index's snapshot; a line of the audit stays.
        """
        if (ids is None) == (identity is None):
            raise GalleryError("give either ids or an identity to remove", "ids")
        where: dict[str, Any] = {"id": list(ids)} if ids is not None else {"identity": identity}
        return self._remove(condition(where), where)

    def remove_older(self, days: float) -> int:
        """Remove what is older than so many days, by its `time` where that is ISO 8601, else by when it was added."""
        if not days > 0:
            raise GalleryError(f"days must be over 0, not {days}", "days")
        limit = time.time() - days * _DAY
        return self._remove(("coalesce(instant, added) < ?", [limit]), {"older_than_days": days})

    def audit(self) -> list[tuple[str, str, dict[str, Any]]]:
        """What was removed or moved, oldest first: when (UTC), what was done, to what. Pictures are in no line."""
        with self._reading:
            return self._reader.audited()

    def search(
        self,
        sample: Sample | Sequence[Sample],
        k: int = 10,
        where: Mapping[str, Any] | None = None,
        *,
        other_cameras: bool = False,
        rerank: bool = False,
        by_identity: bool = False,
        min_score: float | None = None,
    ) -> list[Hit]:
        """The k best hits (1 to 1000), best first, among the items that `where` lets pass.

        `sample`: the query, or several pictures of one (a tracklet), whose embeddings are averaged. Compared are the
        modalities that query and item both have; an item that shares none is no hit. `other_cameras` leaves out the items of
        the query's own camera, which the sample must then have; `rerank` orders the 200 best by k-reciprocal re-ranking;
        `by_identity` gives the best hit of each identity; `min_score` leaves out what scores less. Raises GalleryError for a
        bad k or filter, PictureError for a bad picture.
        """
        return self.answer(
            sample, k, where, other_cameras=other_cameras, rerank=rerank, by_identity=by_identity, min_score=min_score
        ).hits

    def answer(
        self,
        sample: Sample | Sequence[Sample],
        k: int = 10,
        where: Mapping[str, Any] | None = None,
        *,
        other_cameras: bool = False,
        rerank: bool = False,
        by_identity: bool = False,
        min_score: float | None = None,
    ) -> Answer:
        """As `search`, and what the network made of the query."""
        _check_k(k)
        samples = [sample] if isinstance(sample, Sample) else list(sample)
        filters = _Filter(None if where is None else condition(where), _own_cameras(samples) if other_cameras else None)
        query = self._query(samples)
        shown = max(k, SHORTLIST) if rerank else k
        found = self._found(query, shown, filters)
        while by_identity and len(found) == shown and len(first_of_each_identity([one for _, one in found])) < k:
            shown *= 2
            found = self._found(query, shown, filters)
        if rerank:
            found = self._reranked(query, found)
        hits = [one for _, one in found if min_score is None or one.score >= min_score]
        hits = ranked((first_of_each_identity(hits) if by_identity else hits)[:k])
        return Answer(hits=hits, kept=query.kept, embedding=query.embedding)

    def picture(self, key: int, modality: str) -> StoredPicture | None:
        """What is kept of one picture of an item; `key` as in a hit's `images`."""
        with self._reading:
            return self._reader.picture(key, modality)

    def ids(self) -> set[str]:
        """Every item's id."""
        with self._reading:
            return self._reader.known_ids()

    def digests(self) -> dict[str, str]:
        """The digest of every item's pictures, and the item's id: to know exact duplicates."""
        with self._reading:
            return self._reader.digests()

    def snapshot(self) -> bool:
        """Save the index beside the store, so that the next opening need not build it; False where a removal came between."""
        self.view(wait=True)
        with self._writing:
            return save_snapshot(self.folder, self._writer, self._view.index, self._view.position)

    def compact(self) -> None:
        """Give back the space of what was removed, and forget which keys that was. Searches go on; writers wait."""
        with self._writing:
            with self._writer.transaction():
                self._writer.forget_removals()
            self._writer.run("VACUUM")
            self._writer.truncate_log()
        drop_snapshot(self.folder)
        if len(self) >= WORTH_A_SNAPSHOT:
            self.snapshot()

    def view(self, *, wait: bool = False) -> View:
        """The view of the store as it is now, a new one where the gallery has moved to another network.

        Without `wait` it may lack what another thread is just bringing in.
        """
        if not self._view.catch_up(wait=wait):
            with self._writing, self._reading:
                if not self._view.catch_up(wait=True):  # no other thread has done it meanwhile
                    self._view.close()
                    self._reload()
        return self._view

    def _close_stores(self) -> None:
        self._writer.close()
        self._reader.close()

    def _reload(self) -> None:
        meta = self._reader.meta()
        if meta["fingerprint"] != self.embedder.card.fingerprint:
            self.embedder = self._load(artifact_path(meta))
            check_network(self.folder, meta, self.embedder)
        self._view = self._viewed()

    def _viewed(self) -> View:
        options = {"memory": self.settings.memory, "recall": self.settings.recall}
        self._calibration = Calibration()
        return View(self.folder, self._reader, self._reading, self.embedder.card, **options)

    def _worth_saving(self) -> bool:
        index = self._view.index
        return len(index) >= WORTH_A_SNAPSHOT and not (self._view.restored and (self.folder / SNAPSHOT).is_file())

    def _remove(self, what: Condition, audited: Mapping[str, Any]) -> int:
        with self._writing:
            removed = self._writer.remove(what, audited)
            if removed:
                drop_snapshot(self.folder)
        self.view(wait=True)
        return removed

    def _query(self, samples: Sequence[Sample]) -> _Query:
        """The mean embedding of a query's pictures, each segment over those that have it."""
        if not samples:
            raise GalleryError("a query needs one sample at least", "sample")
        view = self.view()
        embeddings, tokens = self.embedder.look(samples)
        segments = view.segments
        masks = [mask_of(each.present) & segments.seen for each in samples]
        there = np.stack([segments.columns(mask) for mask in masks])
        mean = (embeddings * there).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
        return _Query(samples, view, mean.astype(np.float32), int(np.bitwise_or.reduce(masks)), _kept(samples[0], tokens[0]))

    def _found(self, query: _Query, k: int, filters: _Filter) -> list[tuple[int, Hit]]:
        """The k best by key, of one state of the store: what was removed while it was searched for is searched for again."""
        for attempt in range(_ATTEMPTS):
            view = self.view(wait=attempt > 0)
            if view is not query.view:
                query = self._query(query.samples)  # the gallery has moved to another network since
            passing, without = self._sets(filters, view.position.key)
            try:
                scores, keys = view.search(query.embedding, query.mask, k, passing, without)
            except GalleryError:
                if view is self.view(wait=True) or attempt == _ATTEMPTS - 1:
                    raise
                continue  # it moved in the middle of the search
            with self._reading:
                known = self._reader.known(keys.tolist())
            if len(known) == len(keys):
                break
        pairs = zip(keys.tolist(), scores.tolist(), strict=True)
        return self._hits(query, [(key, known[key], score) for key, score in pairs if key in known])

    def _hits(self, query: _Query, found: Sequence[tuple[int, Known, float]]) -> list[tuple[int, Hit]]:
        with self._reading:
            probability = self._calibration.of(self._view, self._reader, query.mask)
        hits = [(key, hit(self.name, item, score)) for key, item, score in found]
        if probability is None:
            return hits
        return [(key, replace(one, probability=probability(one.score))) for key, one in hits]

    def _sets(self, filters: _Filter, last: int) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
        """The keys that pass a filter, and those that are left out."""
        with self._reading:
            where, cameras = filters.where, filters.own_cameras
            passing = None if where is None else self._view.filters.passing(where, last)
            without = None if cameras is None else self._view.filters.passing(condition({"camera": cameras}), last)
        return passing, without

    def _reranked(self, query: _Query, found: Sequence[tuple[int, Hit]]) -> list[tuple[int, Hit]]:
        """Source: Zhong et al. (CVPR 2017), over the query and its shortlist."""
        if len(found) < 2:
            return list(found)
        vectors, masks = self._view.vectors(np.array([key for key, _ in found], np.int64))
        reduced = self._view.segments.reduced(vectors, masks & query.mask)
        distance = rerank(self._view.segments.reduced(query.embedding[None], np.array([query.mask])), reduced)[0]
        return [found[place] for place in np.argsort(distance, kind="stable")]


@dataclass(frozen=True)
class _Query:
    """A query's samples, and by the network of a view their embedding float32 [D], the modalities they have, as a mask, and the
    kept patches of the first.
    """

    samples: Sequence[Sample]
    view: View
    embedding: NDArray[np.float32]
    mask: int
    kept: dict[Modality, list[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Filter:
    """A condition that items must meet, and the cameras whose items are left out."""

    where: Condition | None
    own_cameras: list[int] | None


def _own_cameras(samples: Sequence[Sample]) -> list[int]:
    cameras = sorted({sample.camera for sample in samples if sample.camera is not None})
    if not cameras:
        raise GalleryError("other_cameras needs the query's own camera", "camera")
    return cameras


def _kept(sample: Sample, tokens: NDArray[np.int64]) -> dict[Modality, list[int]]:
    """The kept patches of the modalities that a sample has, of tokens int64 [3, K]."""
    of_each = {modality: tokens[MODALITIES.index(modality)].tolist() for modality in sample.present}
    return {modality: patches for modality, patches in of_each.items() if patches}


def _check_k(k: int) -> None:
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= MAX_K:
        raise GalleryError(f"k must be a whole number from 1 to {MAX_K}, not {k!r}", "k")
