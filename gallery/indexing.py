"""Filling a gallery from a SOURCE in batches: images are decoded ahead of the network, each batch
is durable in one step, rejected entries are listed in a report.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, NoReturn, Self

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from trireid.gallery.enrolling import make_item
from trireid.gallery.gallery import Gallery
from trireid.gallery.images import PreparedSample
from trireid.gallery.index_report import IndexReport
from trireid.gallery.ingest import Ingest, Prepared
from trireid.gallery.merging import Merged, Offer, make_mark, no_embedding
from trireid.gallery.prefetch import Prefetch
from trireid.inference.embedder import Cameras, Images, Present
from trireid.samples import Sample
from trireid.samples.depth import ImageNotes
from trireid.samples.errors import StoreError, TrireidError
from trireid.samples.printable import printable
from trireid.samples.source import Entry, Source, read_samples

BATCH: Final = 32
#: How many samples are decoded ahead of the network: enough for the next batch, and one more for
#: when images differ in size.
AHEAD: Final = 2 * BATCH
#: How many entries are written at once, most of which the gallery knows.
MOST: Final = 8 * BATCH
REPORTS: Final = "reports"


def index_source(
    source: Source | Iterable[Sample], gallery: Gallery, *, resume: bool = False
) -> IndexReport:
    """Add the samples of a source, or any samples, to a gallery, with a progress bar on stderr.

    An item whose id and images are there already gets the facts that the source tells, and keeps
    its embedding; if these are the same, too, it is passed over, so that indexing again after an
    interruption embeds nothing twice. `resume` passes over known ids with known facts without even
    reading their images. Entries with an error, and images that cannot be read, are written to a
    CSV report inside the gallery and do not stop the rest.

    Raises:
        GalleryError: The gallery may only be read, or its store cannot take anything (the disk is
            full, another writes).
    """
    gallery.check_writable()
    if not isinstance(source, Source):
        source = read_samples(source)
    tells = source.tells
    marks, notes = gallery.collect_marks(), ImageNotes(gallery.settings.thermal)
    prepare = Ingest(
        gallery.embedder.card,
        lambda sample: resume and sample.id is not None and gallery.is_known(sample, tells),
        marks,
        notes,
    )
    with (
        tqdm(
            total=source.total or None,
            desc=printable(f"indexing {source.name}"),
            unit="sample",
            mininterval=0.5,
        ) as bar,
        Prefetch(prepare, source, threads=count_decoding_threads(), ahead=AHEAD) as entries,
        _Run(gallery, tells, marks, prepare, bar) as run,
    ):
        for each in enumerate(entries):
            run.take(each)
        report = run.finish()
    report.not_used, report.notes = list(source.not_used), [*source.notes, *notes.lines()]
    if report.rejected:
        report.write(gallery.folder / REPORTS)
    return report


def count_decoding_threads() -> int:
    """Count the usable cores: 16 at most, and two at least, for one may wait for a disk."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return max(2, min(cores, 16))


_Numbered = tuple[int, Prepared]  #: with its number in the source


@dataclass(frozen=True)
class _Write:
    """A batch that is being written: `done` ends, or raises, when it is durable."""

    batch: Sequence[_Numbered]
    offers: Sequence[Offer]
    marks: Set[str]
    done: Future[list[Merged]]


class _Run:
    """One indexing run: a batch is collected, another embedded, a third written at the same time.

    `marks`: what the gallery holds, durably; kept up to date. Leaving the `with` block waits for
    the write under way.
    """

    def __init__(
        self,
        gallery: Gallery,
        tells: frozenset[str] | None,
        marks: set[str],
        prepare: Callable[[Entry], Prepared],
        bar: tqdm[NoReturn],
    ) -> None:
        self._gallery, self._tells, self._marks, self._prepare, self._bar = (
            gallery,
            tells,
            marks,
            prepare,
            bar,
        )
        self._generation, self._embedder = gallery.generation, gallery.embedder
        self._report = IndexReport()
        self._rejected: list[tuple[int, str, str]] = []
        self._batch: list[_Numbered] = []
        # of the batch, by mark: those whose images are to be embedded
        self._fresh: dict[str, _Numbered] = {}
        self._own: set[str] = set()  # the ids that this run has written
        self._writing: _Write | None = None
        self._writer = ThreadPoolExecutor(1, "index-writer")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.shutdown()

    def take(self, each: _Numbered) -> None:
        """Take the next entry: it is counted as known, rejected, or waits for a batch, which is
        embedded once it is full.
        """
        sample, error = each[1].sample, each[1].error
        if error is not None:
            self._reject(each, error)
        elif sample is None:
            self._report.known += 1
            self._bar.update()
        else:
            self._collect(each, self._mark(sample))
        if len(self._fresh) == BATCH or len(self._batch) == MOST:
            self._embed()

    def finish(self) -> IndexReport:
        """Embed and write what waits; returns what became of everything."""
        while self._batch or self._writing:
            if self._batch:
                self._embed()
            else:
                self._settle()
        self._report.rejected = [(place, error) for _, place, error in sorted(self._rejected)]
        return self._report

    def _mark(self, sample: PreparedSample) -> str:
        return make_mark(sample.content_digest, sample.camera, self._embedder.card.cameras > 0)

    def _collect(self, each: _Numbered, mark: str) -> None:
        if self._writing is not None and mark in self._writing.marks:
            self._settle()
        if mark not in self._marks and mark not in self._fresh:
            if each[1].inputs is None:  # it was known when it was prepared
                self.take((each[0], self._prepare(each[1].entry)))
                return
            self._fresh[mark] = each
        self._batch.append((each[0], replace(each[1], inputs=None)))

    def _embed(self) -> None:
        """Embed what waits, and start to write it; the write before it ends first."""
        batch, fresh = self._batch, self._fresh
        self._batch, self._fresh = [], {}
        embedded: dict[str, NDArray[np.float32]] = {}
        if fresh:
            images, camera, present = _join(list(fresh.values()))
            embedded = dict(zip(fresh, self._embedder.run(images, camera, present)[0], strict=True))
            self._report.embedded += len(fresh)
            self._bar.set_postfix_str(f"{self._report.embedded} embedded", refresh=False)
        self._settle()
        offered = [
            (each, offer) for each in batch if (offer := self._offer(each, embedded)) is not None
        ]
        batch, offers = [each for each, _ in offered], [offer for _, offer in offered]
        self._writing = _Write(
            batch, offers, fresh.keys(), self._writer.submit(self._merge, offers)
        )

    def _offer(self, each: _Numbered, embedded: Mapping[str, NDArray[np.float32]]) -> Offer | None:
        """Offer an entry to the gallery; an entry that no store can hold is rejected."""
        entry, sample = each[1].entry, _sample(each)
        named = sample if sample.id is not None else replace(sample, id=entry.name or entry.place)
        try:
            item = make_item(named, embedded.get(self._mark(sample), no_embedding()), keep=False)
        except TrireidError as error:
            self._reject(each, error.message)
            return None
        return Offer(item, sample.id is not None, self._tells)

    def _merge(self, offers: Sequence[Offer]) -> list[Merged]:
        return self._gallery.merge(offers, generation=self._generation, own=self._own)

    def _settle(self) -> None:
        """Wait for the write under way; if the store takes no batch with such an item in it, write
        it item by item.
        """
        if self._writing is None:
            return
        writing, self._writing = self._writing, None
        try:
            merged = writing.done.result()
        except TrireidError as error:
            _raise_if_no_items(error)
            for each, offer in zip(writing.batch, writing.offers, strict=True):
                self._write_one(each, offer)
            return
        for each, one in zip(writing.batch, merged, strict=True):
            self._acknowledge(each, one)

    def _write_one(self, each: _Numbered, offer: Offer) -> None:
        try:
            (merged,) = self._merge([offer])
        except TrireidError as error:
            _raise_if_no_items(error)
            self._reject(each, error.message)
            return
        self._acknowledge(each, merged)

    def _acknowledge(self, each: _Numbered, merged: Merged) -> None:
        mark, outcome = self._mark(_sample(each)), merged.outcome
        # the item that had these images was removed or replaced since: embed them
        if outcome == "gone":
            self._marks.discard(mark)
            self.take((each[0], self._prepare(each[1].entry)))
            return
        if outcome == "contradicted":
            self._reject(
                each,
                f"has the images of {merged.id}, and other facts; correct one, or give each an id",
            )
            return
        if outcome == "repeated":
            self._reject(
                each,
                f"id {merged.id} is that of other images of this source, too; give each its own id",
            )
            return
        self._count(merged)
        self._marks.add(mark)
        self._bar.update()

    def _count(self, merged: Merged) -> None:
        report, outcome = self._report, merged.outcome
        report.added += outcome in ("added", "replaced")
        report.replaced += outcome == "replaced"
        report.updated += outcome == "updated"
        report.known += outcome == "known"
        report.copies += outcome == "known" and merged.id in self._own
        self._own.add(merged.id)

    def _reject(self, each: _Numbered, error: str) -> None:
        number, prepared = each
        self._rejected.append((number, prepared.entry.place, error))
        self._bar.update()


def _sample(each: _Numbered) -> PreparedSample:
    sample = each[1].sample
    assert sample is not None
    return sample


def _join(batch: Sequence[_Numbered]) -> tuple[Images, Cameras, Present]:
    inputs = [prepared.inputs for _, prepared in batch if prepared.inputs is not None]
    images, camera, present = zip(*inputs, strict=True)
    return np.concatenate(images), np.concatenate(camera), np.concatenate(present)


def _raise_if_no_items(error: TrireidError) -> None:
    """Raise an error that concerns no single item: the disk is full, another process holds the
    store, or moves it to another network.
    """
    if isinstance(error, StoreError):
        raise error
