"""Filling a gallery from a SOURCE in batches: pictures are decoded ahead of the network, each batch is durable in one step,
bad entries are set aside in a report.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, NoReturn, Self

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from export.embedder import Cameras, Images, Present
from gallery.gallery import Gallery
from gallery.pictures import PreparedSample
from gallery.prefetch import Prefetch
from gallery.preparation import Preparation, Prepared
from samples import GalleryError, TrireidError
from samples.cells import write_text
from samples.durable import draft_of, make_private
from samples.printable import printable
from samples.source import Source

BATCH: Final = 32
#: How many samples are decoded ahead of the network: enough for the next batch, and one more for when pictures differ in size.
AHEAD: Final = 2 * BATCH
REPORTS: Final = "reports"


@dataclass
class IndexReport:
    """What became of a source's entries.

    `added`, of which `replaced` took the place of an item with the same id; `known`: exact duplicates of what is there;
    `faults`: (place, message) of each one set aside, in the source's order; `path`: the report, where there is any.
    """

    added: int = 0
    replaced: int = 0
    known: int = 0
    faults: list[tuple[str, str]] = field(default_factory=list)
    path: Path | None = None


def index(source: Source, gallery: Gallery, *, resume: bool = False) -> IndexReport:
    """Add a source's samples to a gallery, with a progress bar on stderr.

    Pictures that the gallery already holds (exact duplicates) are passed over, so that indexing again after an interruption
    embeds nothing twice; `resume` passes over known ids without even reading their pictures. Entries with a fault, and
    pictures that cannot be read, are written to a CSV report inside the gallery and do not stop the rest.
    """
    ids, digests = gallery.ids(), set(gallery.digests())
    prepare = Preparation(gallery.embedder.card, ids if resume else (), digests)
    with (
        tqdm(total=len(source), desc=printable(f"indexing {source.name}"), unit="sample", mininterval=0.5) as bar,
        Prefetch(prepare, source, threads=decoding_threads(), ahead=AHEAD) as entries,
        _Run(gallery, ids, digests, resume=resume, bar=bar) as run,
    ):
        for each in enumerate(entries):
            run.take(each)
        report = run.finish()
    if report.faults:
        report.path = _write_report(gallery.folder / REPORTS, report)
    return report


def decoding_threads() -> int:
    """As many as this process may use cores, 16 at most; two at least, for one may wait for a disk."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(2, min(cores, 16))


_Numbered = tuple[int, Prepared]  #: with its number in the source


@dataclass(frozen=True)
class _Write:
    """A batch that is being written: `done` ends, or raises, when it is durable."""

    batch: Sequence[_Numbered]
    embeddings: NDArray[np.float32]
    done: Future[list[str]]

    def has(self, mark: str) -> bool:
        return any(_sample(each).content_digest == mark for each in self.batch)


class _Run:
    """One indexing run: a batch is collected, another embedded, a third written at the same time.

    `ids`, `digests`: what the gallery holds, durably; kept up to date. Leaving the `with` block waits for the write under way.
    """

    def __init__(self, gallery: Gallery, ids: set[str], digests: set[str], *, resume: bool, bar: tqdm[NoReturn]) -> None:
        self._gallery, self._ids, self._digests, self._resume, self._bar = gallery, ids, digests, resume, bar
        self._generation, self._embedder = gallery.generation, gallery.embedder
        self._report = IndexReport()
        self._faults: list[tuple[int, str, str]] = []
        self._waiting: dict[str, _Numbered] = {}  # by digest
        self._twins: list[_Numbered] = []  # of those that wait: whether they are known shows when those are in
        self._names: set[str] = set()  # that wait, or are being written
        self._writing: _Write | None = None
        self._writer = ThreadPoolExecutor(1, "index-writer")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._writer.shutdown()

    def take(self, each: _Numbered) -> None:
        """Take the next entry: it is counted as known, set aside, or waits for a batch, which is embedded once it is full."""
        sample, fault = each[1].sample, each[1].fault
        if fault is not None:
            self._set_aside(each, fault)
        elif sample is None or self._is_known(sample):
            self._report.known += 1
            self._bar.update()
        elif sample.content_digest in self._waiting:
            self._twins.append(each)
        else:
            self._waiting[sample.content_digest] = self._named(each)
        if len(self._waiting) + len(self._twins) == BATCH:
            self._embed()

    def finish(self) -> IndexReport:
        """Embed and write what waits; returns what became of everything."""
        while self._waiting:
            self._embed()
        self._settle()
        self._report.faults = [(place, fault) for _, place, fault in sorted(self._faults)]
        return self._report

    def _is_known(self, sample: PreparedSample) -> bool:
        if self._writing is not None and self._writing.has(sample.content_digest):
            self._settle()
        return sample.content_digest in self._digests or (self._resume and sample.id in self._ids)

    def _named(self, each: _Numbered) -> _Numbered:
        """The sample with an id: its own, or its place in the source, told apart where another sample has that id."""
        number, prepared = each
        sample, name = _sample(each), prepared.entry.name or prepared.entry.place
        if sample.id is None:
            taken = name in self._ids or name in self._names
            sample = replace(sample, id=f"{name}#{sample.content_digest[:8]}" if taken else name)
        self._names.add(str(sample.id))
        return number, replace(prepared, sample=sample)

    def _embed(self) -> None:
        """Embed what waits, and start to write it; the write before it ends first."""
        batch, twins = list(self._waiting.values()), self._twins
        self._waiting, self._twins = {}, []
        images, camera, present = _joined(batch)
        embeddings, _ = self._embedder.run(images, camera, present)
        self._settle()
        done = self._writer.submit(self._add, [_sample(each) for each in batch], embeddings)
        self._writing = _Write(batch, embeddings, done)
        for twin in twins:
            self.take(twin)

    def _add(self, samples: Sequence[PreparedSample], embeddings: NDArray[np.float32]) -> list[str]:
        return self._gallery.add_embedded(samples, embeddings, generation=self._generation)

    def _settle(self) -> None:
        """Wait for the write under way; if the store takes no batch with such an item in it, write it item by item."""
        if self._writing is None:
            return
        writing, self._writing = self._writing, None
        try:
            writing.done.result()
            self._acknowledge(writing.batch)
        except TrireidError as fault:
            _raise_if_no_items(fault)
            for each, embedding in zip(writing.batch, writing.embeddings, strict=True):
                self._write_one(each, embedding)

    def _write_one(self, each: _Numbered, embedding: NDArray[np.float32]) -> None:
        try:
            self._add([_sample(each)], embedding[None])
        except TrireidError as fault:
            _raise_if_no_items(fault)
            self._names.discard(str(_sample(each).id))
            self._set_aside(each, fault.message)
            return
        self._acknowledge([each])

    def _acknowledge(self, batch: Sequence[_Numbered]) -> None:
        ids = {str(_sample(each).id) for each in batch}
        self._report.replaced += len(ids & self._ids) + len(batch) - len(ids)
        self._report.added += len(batch)
        self._names -= ids
        self._ids |= ids
        self._digests |= {_sample(each).content_digest for each in batch}
        self._bar.update(len(batch))

    def _set_aside(self, each: _Numbered, fault: str) -> None:
        number, prepared = each
        self._faults.append((number, prepared.entry.place, fault))
        self._bar.update()


def _sample(each: _Numbered) -> PreparedSample:
    sample = each[1].sample
    assert sample is not None
    return sample


def _joined(batch: Sequence[_Numbered]) -> tuple[Images, Cameras, Present]:
    inputs = [prepared.inputs for _, prepared in batch if prepared.inputs is not None]
    images, camera, present = zip(*inputs, strict=True)
    return np.concatenate(images), np.concatenate(camera), np.concatenate(present)


def _raise_if_no_items(fault: TrireidError) -> None:
    """Raise a fault that is no item's: the disk is full, another process holds the store, or moves it to another network."""
    if fault.code in ("store", "locked", "moved"):
        raise fault


def _write_report(folder: Path, report: IndexReport) -> Path:
    if folder.is_symlink():
        raise GalleryError(f"{folder}: is a symbolic link; remove it, so that reports stay in the gallery", str(folder))
    make_private(folder)
    path = folder / f"index-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.csv"
    with draft_of(path, private=True) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("place", "fault"))
        writer.writerows((write_text(place), write_text(fault)) for place, fault in report.faults)
    return path
