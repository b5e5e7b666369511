"""The gallery: enrolled samples that a query is matched against.

Truth in the store, speed in the view of it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from trireid.gallery.compaction import compact_store
from trireid.gallery.enrolling import make_item
from trireid.gallery.erasure import WAIT, Erasure
from trireid.gallery.filters import Condition
from trireid.gallery.hits import Hit, SearchResult
from trireid.gallery.images import prepare, with_contents
from trireid.gallery.index_cache import INDEX_CACHE, save_index_cache
from trireid.gallery.items import Item, StoredImage, count_bytes
from trireid.gallery.limits import check_limits
from trireid.gallery.live_index import MUCH, LiveIndex
from trireid.gallery.maintenance import Maintenance
from trireid.gallery.merging import Merged, Merger, Offer, collect_marks, is_known
from trireid.gallery.metadata import (
    Settings,
    artifact_path,
    check_network,
    describe_network,
    gallery_name,
    is_gallery,
    make_no_gallery_error,
    parse_settings,
    refuse_other_folder,
    update_settings,
)
from trireid.gallery.read_session import ReadSession
from trireid.gallery.removal import remove_items, select, select_ids
from trireid.gallery.reserve import keep_reserve, require_reserve, with_reserve
from trireid.gallery.retention import check_share
from trireid.gallery.search_params import SearchParams
from trireid.gallery.searching import Query, Search
from trireid.gallery.store import Store
from trireid.inference import Embedder, load_artifact
from trireid.inference.embedded import warn_of_default
from trireid.inference.embedder import BATCH
from trireid.samples import Sample
from trireid.samples.depth import Depth, LoggedNotes, read_by_notes
from trireid.samples.errors import GalleryClosedError, GalleryError, GalleryMovedError

#: A gallery of at least that many items saves its index when it is closed.
WORTH_SAVING: Final = 5_000
Load = Callable[[Path], Embedder]

log = logging.getLogger(__name__)


class Gallery:
    """A folder `NAME.gallery` of enrolled samples and one network's embeddings of them.

    Safe for several threads and processes: searches go on while one of them writes, each of them
    over one state of the gallery, which is what all have committed when it begins (while much is
    being taken in at once: what it was before).
    """

    def __init__(
        self, folder: Path, embedder: Embedder, settings: Settings, load: Load = load_artifact
    ) -> None:
        self.folder, self.embedder, self.settings, self._load = folder, embedder, settings, load
        self._notes = LoggedNotes(settings.thermal)
        self._writing, self._reading = threading.RLock(), threading.RLock()
        self._writer, self._reader, self._erasure = Store(folder), Store(folder), Erasure(folder)
        self._closed = False
        try:
            # a store that cannot be is one error, before an erasure warns of it
            self._writer.position()
            if not self._writer.read_only:
                # before a saved index is read that may hold what was removed
                self._erasure.finish(is_brief=True)
            self._live = self._follow_store()
        except BaseException:
            self._close_stores()
            raise
        self._maintenance = (
            None if self._writer.read_only else Maintenance(folder, self._erasure, self)
        )
        if self._maintenance is not None and self._erasure.pending:
            self._maintenance.hurry()
        warn_of_default(embedder.card.fingerprint)

    @classmethod
    def open(
        cls,
        path: str | PathLike[str],
        embedder: Embedder | None = None,
        *,
        create: bool = True,
        quantization: str | None = None,
        memory: str | None = None,
        recall: float | None = None,
        thermal: str | None = None,
        load: Load = load_artifact,
    ) -> Gallery:
        """Open a gallery; with an embedder it is created where absent (unless `create` is off),
        without one its recorded artifact is loaded.

        `quantization` (`float32`, `float16`, `int8`; `memory` is its old name) and `recall` (of the
        ten nearest, 0.99 at first) are remembered in the gallery if they are given, as is
        `thermal`, how 16-bit images are read
        (`auto`, `8bit`, `stretch`, `counts:LOW:HIGH`; see `trireid.samples.depth`). `load` opens
        the recorded artifact, and that of another network which the gallery moves to while it is
        open. Raises GalleryError where the folder holds no gallery or one of another network,
        ArtifactError where the recorded artifact is gone.
        """
        folder = Path(path)
        if not is_gallery(folder):
            if embedder is None or not create:
                raise make_no_gallery_error(folder)
            refuse_other_folder(folder)
            Store.create(folder, describe_network(embedder))
        depth = None if thermal is None else str(Depth.parse(thermal))
        meta = update_settings(
            folder,
            {
                "memory": memory if quantization is None else quantization,
                "recall": None if recall is None else str(recall),
                "thermal": depth,
            },
        )
        embedder = embedder or load(artifact_path(meta))
        check_network(folder, meta, embedder)
        return cls(folder, embedder, parse_settings(meta), load)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the gallery.

        Everything acknowledged is on disk already; a large index is saved for the next opening.
        """
        if self._closed:
            return
        if self._maintenance is not None:
            self._maintenance.stop()
            self._erasure.finish(WAIT)
        if self._worth_saving():
            self._save_if_possible()
        with self._writing, self._reading:
            self._closed = True
            self._live.close()
            self._close_stores()

    @property
    def name(self) -> str:
        """The name of this gallery."""
        return gallery_name(self.folder)

    def __len__(self) -> int:
        with self._reading:
            return len(self._reader)

    def add(
        self, samples: Sequence[Sample], *, keep: bool = False, replace: bool = True
    ) -> list[str]:
        """Embed and add samples in one transaction, durable on return; returns their ids.

        An id that is there is replaced; a sample without one gets a random one. `keep` holds the
        images' bytes in the gallery; files are kept by reference either way. Raises ImageError
        for a bad image, and without `replace` GalleryError (code `exists`) for an id that is
        there; then it adds none.
        """
        for sample in samples:  # before a network is put to work
            check_limits(sample)
        while True:
            generation = self.generation
            prepared, embeddings = self._prepare(samples, keep)
            try:
                return self.add_embedded(
                    prepared, embeddings, keep=keep, generation=generation, replace=replace
                )
            except GalleryMovedError:  # to another network, while this one embedded
                self.live_index()

    def _prepare(
        self, samples: Sequence[Sample], keep: bool
    ) -> tuple[list[Sample], NDArray[np.float32]]:
        """Decode each image once, for the network and for the store; embed in batches."""
        embedder, prepared = self.embedder, list[Sample]()
        embeddings = np.empty((len(samples), embedder.card.dimension), np.float32)
        for start in range(0, len(samples), BATCH):
            part = samples[start : start + BATCH]
            with embedder.time_decoding(), read_by_notes(self._notes):
                pairs = [
                    prepare(each, with_contents(each), embedder.card.fitting, keep=keep)
                    for each in part
                ]
            embeddings[start : start + len(part)] = embedder.embed([shown for _, shown in pairs])
            prepared += [each for each, _ in pairs]
        return prepared, embeddings

    def add_embedded(
        self,
        samples: Sequence[Sample],
        embeddings: NDArray[np.float32],
        *,
        keep: bool = False,
        generation: int | None = None,
        replace: bool = True,
    ) -> list[str]:
        """As `add`, with embeddings float32 [B, D] made by this gallery's network, when its
        `generation` was this.

        Raises GalleryMovedError where the gallery has moved to another network since, and
        ImageError, code `no_direction`, where an embedding is not finite or has length 0.
        """
        items = [
            make_item(sample, row, keep) for sample, row in zip(samples, embeddings, strict=True)
        ]
        return self.add_items(items, generation=generation, replace=replace)

    def add_items(
        self, items: Sequence[Item], *, generation: int | None = None, replace: bool = True
    ) -> list[str]:
        """As `add_embedded`, with all that is stored of each sample."""
        for item in items:
            check_limits(item)
        generation = self.live_index().position.generation if generation is None else generation
        self._require_reserve(items)
        with ExitStack() as stack:
            with self._writing, self._writer.transaction():
                replaced = self._writer.add(items, generation, replace=replace)
                if len(items) > MUCH:  # searches go on with what was until it is taken in
                    stack.enter_context(self._enter())
            self.live_index()
        if replaced:
            self._erase()
        return [item.id for item in items]

    def merge(self, offers: Sequence[Offer], *, generation: int, own: Set[str]) -> list[Merged]:
        """Take what a source offers in one transaction, durable on return.

        Args:
            offers: Items, with embeddings made when this was the gallery's `generation`, or none if
                one is there.
            generation: As `add_embedded` takes it.
            own: The ids that the same source has brought before.

        Raises:
            GalleryMovedError: The gallery has moved to another network since.
        """
        self._require_reserve([offer.item for offer in offers])
        with self._writing, self._writer.transaction():
            if self._writer.generation() != generation:
                raise GalleryMovedError(self.folder)
            merger = Merger(self._writer, generation, self.embedder.card.cameras > 0, own)
            merged = [merger.merge(offer) for offer in offers]
            updated = [each.id for each in merged if each.outcome == "updated"]
            if updated:
                self._writer.audit("update", {"ids": updated, "updated": len(updated)})
        self.live_index()
        if any(each.outcome in ("replaced", "updated") for each in merged):
            self._erase()
        return merged

    def collect_marks(self) -> set[str]:
        """The mark of the images that are embedded, as `merging.make_mark` makes it."""
        with self._reading:
            return collect_marks(self._reader, self.embedder.card.cameras > 0)

    def is_known(self, sample: Sample, tells: frozenset[str] | None = None) -> bool:
        """Whether an item has a sample's id and those facts that its source tells (None: all)."""
        with self._reading:
            return is_known(self._reader, sample, tells)

    @property
    def generation(self) -> int:
        """How often the gallery has moved to another network, from 1."""
        return self._live.position.generation

    def remove(self, *, ids: Sequence[str] | None = None, identity: str | None = None) -> int:
        """Remove items by their ids, or all of an identity; returns how many there were.

        On return no search finds them, and no file of the gallery holds their rows, embeddings and
        images any more, unless a reader was in the way for over a second: then `erasure_pending`
        holds until that is done. A line of the audit stays.
        """
        if (ids is None) == (identity is None):
            raise GalleryError("give either ids or an identity to remove", "ids")
        with self._reading:
            what = select(self._reader, ids=ids, identity=identity)
        return self._remove(*what)

    def remove_older(self, days: float, *, force: bool = False) -> int:
        """Remove items that are older than `days`; returns how many there were.

        An item's age is by the earlier of its `time`, if that is ISO 8601, and when it was added.
        More than half of the gallery is refused with a GalleryError, and nothing removed, unless
        `force` is given.
        """
        with self._reading:
            what = select(self._reader, older_than_days=days)
        return self._forget(*what, force)

    def retain(self, *, force: bool = False) -> int:
        """Remove what has expired, and what is older than the gallery keeps items (`keep_days`);
        refuses as `remove_older`.
        """
        with self._reading:
            what = select(self._reader)
        return self._forget(*what, force)

    def list_matching(
        self,
        *,
        ids: Sequence[str] | None = None,
        identity: str | None = None,
        older_than_days: float | None = None,
    ) -> list[str]:
        """The ids of what `remove`, `remove_older`, or with no argument `retain`, would remove, in
        the order of adding.
        """
        with self._reading:
            return select_ids(
                self._reader, ids=ids, identity=identity, older_than_days=older_than_days
            )

    @property
    def erasure_pending(self) -> bool:
        """Whether a file of the gallery may still hold something that was removed or replaced; it
        is being worked at.
        """
        return self._erasure.pending

    def audit(self) -> list[tuple[str, str, dict[str, Any]]]:
        """List what was removed or moved, oldest first: when (UTC), what was done, to what.

        Images are in no line.
        """
        with self._reading:
            return self._reader.read_audit()

    def search(
        self, sample: Sample | Sequence[Sample], params: SearchParams | None = None, **options: Any
    ) -> list[Hit]:
        """Find the items that are most like a query, best first.

        Compared are the modalities that query and item both have; an item that shares none is not a
        hit.

        Args:
            sample: The query, or several samples of one identity (a tracklet), whose embeddings are
                averaged.
            params: The options of the search.
            options: Single options by name, in place of those in `params`: the fields of
                `SearchParams`.

        Returns:
            At most `k` hits.

        Raises:
            GalleryError: An option is unknown or cannot be.
            ImageError: An image cannot be read.
        """
        return self.answer(sample, params, **options).hits

    def answer(
        self, sample: Sample | Sequence[Sample], params: SearchParams | None = None, **options: Any
    ) -> SearchResult:
        """As `search`, and what the network made of the query."""
        params = SearchParams.merge(params, options)
        samples = [sample] if isinstance(sample, Sample) else list(sample)
        if not samples:
            raise GalleryError("a query needs one sample at least", "sample")
        while True:
            segments = self._live.segments
            search = Search(self.embedder.card.kind, samples, params)
            with read_by_notes(self._notes):
                query = Query.average(samples, *self.embedder.embed_with_tokens(samples), segments)
            with self._enter() as (live, session):
                is_same = live.segments is segments
                found = search.find(session, live.calibration, query) if is_same else None
            if found is not None:  # else the gallery has moved to another network since
                hits = search.rank(session, query, found)
                return SearchResult(
                    hits=hits, selected_patches=query.selected_patches, embedding=query.embedding
                )

    def image(self, key: int, modality: str) -> StoredImage | None:
        """Load what is kept of one image of an item; `key`: of a hit."""
        with self._reading:
            return self._reader.image(key, modality)

    def ids(self) -> set[str]:
        """Every item's id."""
        with self._reading:
            return self._reader.load_ids()

    def digests(self) -> dict[str, str]:
        """The digest of every item's images, and the item's id: to know exact duplicates."""
        with self._reading:
            return self._reader.digests()

    def save_index(self) -> bool:
        """Save the index next to the store, so that the next opening need not build it.

        Returns:
            False if a removal overtook the saving, and nothing was saved.
        """
        with self.read() as session:
            snapshot, position = session.snapshot, session.position
        return save_index_cache(self.folder, snapshot, position, self._writer, self._writing)

    def compact(self) -> None:
        """Give back the space of what was removed, and forget which keys that was.

        Searches go on; writers wait.
        """
        with self._writing:
            with_reserve(self.folder, self._compact)
        self._erase(WAIT)
        if len(self) >= WORTH_SAVING:
            self._save_if_possible()

    def _compact(self) -> None:
        with self._writer.transaction():
            self._writer.forget_removals()
        compact_store(self._writer)

    def live_index(self) -> LiveIndex:
        """Return the live index, up to date with the store: a new one if the gallery has moved to
        another network.
        """
        while True:
            live = self._live
            try:
                live.follow()
            except GalleryMovedError:
                self._renew(live)
            else:
                return live

    @contextmanager
    def read(self) -> Iterator[ReadSession]:
        """Open a session that reads the store and the index at one and the same position."""
        with self._enter() as (_, session):
            yield session

    @contextmanager
    def _enter(self) -> Iterator[tuple[LiveIndex, ReadSession]]:
        with ExitStack() as stack:
            while True:
                live = self._live
                try:
                    session = stack.enter_context(live.read())
                    break
                except GalleryMovedError:
                    self._renew(live)
            yield live, session

    def _renew(self, old: LiveIndex) -> None:
        """Replace a live index that can no longer be used."""
        with self._writing, self._reading:
            if self._closed:
                raise GalleryClosedError(f"{self.folder}: is closed", str(self.folder))
            if self._live is old:  # no other thread was faster
                self._reload()
                old.close()

    def _close_stores(self) -> None:
        for store in (self._writer, self._reader, self._erasure):
            store.close()

    def _reload(self) -> None:
        meta = self._reader.meta()
        if meta["fingerprint"] != self.embedder.card.fingerprint:
            self.embedder = self._load(artifact_path(meta))
            check_network(self.folder, meta, self.embedder)
        self._live = self._follow_store()

    def check_writable(self) -> None:
        """Raise GalleryError (code `read_only`) if the gallery may only be read."""
        self._writer.check_writable()

    def _follow_store(self) -> LiveIndex:
        return LiveIndex(
            self.folder,
            self.embedder.card,
            quantization=self.settings.quantization,
            recall=self.settings.recall,
        )

    def _worth_saving(self) -> bool:
        if self._writer.read_only:
            return False
        return len(self._live.index) >= WORTH_SAVING and not (
            self._live.is_restored and (self.folder / INDEX_CACHE).is_file()
        )

    def _remove(self, what: Condition, audited: Mapping[str, Any]) -> int:
        with self._writing:
            removed = remove_items(self._writer, what, audited)
        self.live_index()
        if removed:
            self._erase(WAIT)
        return removed

    def _forget(self, what: Condition, audited: Mapping[str, Any], force: bool) -> int:
        """Remove what is past its age: everything that goes by age or expiry goes through here."""
        if not force:
            with self._writing:
                check_share(self._writer, what)
        return self._remove(what, audited)

    def _require_reserve(self, items: Sequence[Item]) -> None:
        """Raise GalleryError where the disk has no space for what a removal of one of these items
        would write.
        """
        require_reserve(self.folder, max((2 * count_bytes(item) for item in items), default=0))

    def _erase(self, wait: float = 0.0) -> None:
        """Finish the erasure within `seconds`, or leave it to maintenance.

        No lock is held, so that others go on.
        """
        if not self._erasure.finish(wait, is_brief=True) and self._maintenance is not None:
            self._maintenance.hurry()
        keep_reserve(self.folder)

    def _save_if_possible(self) -> None:
        """Save the index; a disk that is full costs the next opening time, and nothing else."""
        try:
            self.save_index()
        except OSError as error:
            log.warning("%s: the index was not saved: %s", self.folder, error.strerror)
