"""The report on a source's entries, for people and for programs."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trireid.samples import GalleryError
from trireid.samples.atomic_write import make_private, replace_file
from trireid.samples.cells import write_text
from trireid.samples.source import NotUsed


@dataclass
class IndexReport:
    """The report on a source's entries.

    `added`, of which `replaced` took the place of an item with the same id and other images;
    `updated`: items whose images were there, and which have other facts now; `known`: nothing new,
    of which `copies` are exact copies of other entries of this source; `embedded`: samples that the
    network was run for; `rejected`: (place, message) of each that was rejected, in the source's
    order; `path`: the file that lists them, if there are any. `not_used`: what was given and is
    passed over; `notes`: how the source was read.
    """

    added: int = 0
    replaced: int = 0
    updated: int = 0
    known: int = 0
    copies: int = 0
    embedded: int = 0
    rejected: list[tuple[str, str]] = field(default_factory=list)
    path: Path | None = None
    not_used: list[NotUsed] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        added = f"{self.added} added" + (
            f" ({self.replaced} of them replaced)" if self.replaced else ""
        )
        updated = f", {self.updated} updated" if self.updated else ""
        copies = f" ({self.copies} of them exact copies within the source)" if self.copies else ""
        return f"{added}{updated}, {self.known} known{copies}, {len(self.rejected)} rejected"

    def to_json(self) -> dict[str, Any]:
        """Return the report as `trireid index --json` prints it."""
        counts = ("added", "replaced", "updated", "known", "copies", "embedded")
        return {
            **{name: getattr(self, name) for name in counts},
            "rejected": [{"location": place, "error": message} for place, message in self.rejected],
            "report": None if self.path is None else str(self.path),
            "notes": self.notes,
            "not_used": [each.to_json() for each in self.not_used],
        }

    def remarks(self) -> Iterator[str]:
        """Yield how the source was read and what is not used, a line each."""
        yield from self.notes
        yield from (f"not used: {each}" for each in self.not_used)

    def write(self, folder: Path) -> None:
        """Write what was rejected to a file of its own in a folder, and note its path."""
        if folder.is_symlink():
            raise GalleryError(
                f"{folder}: is a symbolic link; remove it, so that reports stay in the gallery",
                str(folder),
            )
        make_private(folder)
        path = folder / f"index-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.csv"
        with (
            replace_file(path, private=True) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(("location", "error"))
            writer.writerows(
                (write_text(place), write_text(error)) for place, error in self.rejected
            )
        self.path = path
