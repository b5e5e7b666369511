"""Filling a gallery from a SOURCE in batches: each batch durable before the next, bad entries set aside in a report."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tqdm import tqdm

from gallery.gallery import Gallery
from gallery.pictures import digest
from samples import TrireidError
from samples.source import Entry, Source

BATCH: Final = 32
REPORTS: Final = "reports"


@dataclass
class IndexReport:
    """What became of a source's entries. `faults`: (place, message) of each one set aside; `path`: the report, where any."""

    added: int = 0
    known: int = 0
    faults: list[tuple[str, str]] = field(default_factory=list)
    path: Path | None = None


def index(source: Source, gallery: Gallery, *, resume: bool = False) -> IndexReport:
    """Add a source's samples to a gallery, with a progress bar on stderr.

    Pictures that the gallery already holds (exact duplicates) are passed over, so that indexing again after an interruption
    embeds nothing twice; `resume` passes over known ids without even reading their pictures. Entries with a fault, and
    pictures that cannot be read, are written to a CSV report inside the gallery and do not stop the rest.
    """
    report = IndexReport()
    with tqdm(total=len(source), desc=f"indexing {source.name}", unit="sample", mininterval=0.5) as bar:
        for batch, passed in _batches(source, gallery, resume, report):
            _add(gallery, batch, report)
            bar.update(passed)
    if report.faults:
        report.path = _write_report(gallery.folder / REPORTS, report)
    return report


def _add(gallery: Gallery, batch: list[Entry], report: IndexReport) -> None:
    """Add a batch at once; if a picture in it is bad, its entries one by one, so that only the bad one is set aside."""
    try:
        gallery.add([entry.sample for entry in batch if entry.sample is not None])
        report.added += len(batch)
    except TrireidError as fault:
        if len(batch) == 1:
            report.faults.append((batch[0].place, fault.message))
            return
        for entry in batch:
            _add(gallery, [entry], report)


def _batches(source: Source, gallery: Gallery, resume: bool, report: IndexReport) -> Iterator[tuple[list[Entry], int]]:
    """Batches of new entries that hold a sample, each with the number of entries gone through for it."""
    ids, digests = gallery.ids(), set(gallery.digests())
    batch: list[Entry] = []
    passed = 0
    for entry in source:
        passed += 1
        if entry.sample is None:
            report.faults.append((entry.place, entry.fault.message if entry.fault else "holds no sample"))
        elif (resume and entry.sample.id in ids) or (mark := digest(entry.sample)) in digests:
            report.known += 1
        else:
            digests.add(mark)
            batch.append(entry)
        if len(batch) == BATCH:
            yield batch, passed
            batch, passed = [], 0
    if passed:
        yield batch, passed


def _write_report(folder: Path, report: IndexReport) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"index-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.csv"
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("place", "fault"))
        writer.writerows(report.faults)
    os.replace(temporary, path)
    return path
