"""Filling a gallery from a SOURCE in batches: each batch durable before the next, bad entries set aside in a report."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tqdm import tqdm

from gallery.gallery import Gallery
from gallery.pictures import digest
from samples import Sample, TrireidError
from samples.durable import draft_of
from samples.source import Entry, Source

BATCH: Final = 32
REPORTS: Final = "reports"


@dataclass
class IndexReport:
    """What became of a source's entries.

    `added`, of which `replaced` took the place of an item with the same id; `known`: exact duplicates of what is there;
    `faults`: (place, message) of each one set aside; `path`: the report, where there is any.
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
    run = _Run(gallery, resume)
    with tqdm(total=len(source), desc=f"indexing {source.name}", unit="sample", mininterval=0.5) as bar:
        for entry in source:
            run.take(entry)
            bar.update()
        run.flush()
    if run.report.faults:
        run.report.path = _write_report(gallery.folder / REPORTS, run.report)
    return run.report


class _Run:
    """One indexing run: what waits to be added, and what the gallery holds already."""

    def __init__(self, gallery: Gallery, resume: bool) -> None:
        self.gallery, self.resume, self.report = gallery, resume, IndexReport()
        self._ids, self._digests = gallery.ids(), set(gallery.digests())
        self._waiting: dict[str, tuple[str, Sample]] = {}  # by digest

    def take(self, entry: Entry) -> None:
        """Add an entry to the batch that waits, or see at once that it is known or faulty."""
        if entry.sample is None:
            self.report.faults.append((entry.place, entry.fault.message if entry.fault else "holds no sample"))
            return
        if self.resume and entry.sample.id in self._ids:
            self.report.known += 1
            return
        try:
            mark = digest(entry.sample)
        except OSError as error:
            self.report.faults.append((entry.place, f"{error.filename}: {error.strerror}"))
            return
        if mark in self._waiting:
            self.flush()  # whether its twin can be read is known only then
        if mark in self._digests:
            self.report.known += 1
            return
        self._waiting[mark] = (entry.place, self._named(entry, mark))
        if len(self._waiting) == BATCH:
            self.flush()

    def flush(self) -> None:
        """Add what waits, in one transaction."""
        self._add(self._waiting)
        self._waiting = {}

    def _named(self, entry: Entry, mark: str) -> Sample:
        """The sample with an id: its own, or its place in the source, told apart where another sample has that id."""
        assert entry.sample is not None
        if entry.sample.id is not None:
            return entry.sample
        name = entry.name or entry.place
        waiting = {sample.id for _, sample in self._waiting.values()}
        return replace(entry.sample, id=f"{name}#{mark[:8]}" if name in self._ids | waiting else name)

    def _add(self, batch: dict[str, tuple[str, Sample]]) -> None:
        """Add a batch at once; if an item of it is bad, one by one, so that only the bad one is set aside."""
        try:
            self.gallery.add([sample for _, sample in batch.values()])
        except TrireidError as fault:
            if fault.code == "store":
                raise  # no item's fault: the disk is full, or another process holds the store
            if len(batch) == 1:
                self.report.faults.append((next(iter(batch.values()))[0], fault.message))
                return
            for mark, one in batch.items():
                self._add({mark: one})
            return
        ids = {str(sample.id) for _, sample in batch.values()}
        self.report.replaced += len(ids & self._ids) + len(batch) - len(ids)
        self.report.added += len(batch)
        self._ids |= ids
        self._digests |= batch.keys()


def _write_report(folder: Path, report: IndexReport) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"index-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.csv"
    with draft_of(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("place", "fault"))
        writer.writerows(report.faults)
    return path
