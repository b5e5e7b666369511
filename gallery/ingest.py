"""From an entry of a source to the network's and the store's parts of it: each image read once and
decoded once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container
from dataclasses import dataclass, fields
from typing import Any

from trireid.gallery.images import PreparedSample, digest, prepare, references, with_contents
from trireid.gallery.merging import make_mark
from trireid.inference.card import Card
from trireid.inference.embedder import Cameras, Images, Present, pixels
from trireid.samples import Sample, TrireidError
from trireid.samples.budget import FILES
from trireid.samples.depth import ImageNotes, read_by_notes
from trireid.samples.source import Entry


@dataclass(frozen=True)
class Prepared:
    """An entry whose turn it is: `sample` and what the network takes of it, or `error`, or neither
    if it need not be read.

    `inputs` is None if these images have an embedding already.

    `images` uint8 [1, 3, H, W, 3], `camera` int64 [1], `present` bool [1, 3].
    """

    entry: Entry
    error: str | None = None
    sample: PreparedSample | None = None
    inputs: tuple[Images, Cameras, Present] | None = None


class Ingest:
    """Prepares entries for one network, for many threads at once.

    `is_known`: whether a sample need not even be read. Samples whose mark is a known one are not
    decoded. `notes`: how images are read, and what is remarkable of them.
    """

    def __init__(
        self,
        card: Card,
        is_known: Callable[[Sample], bool],
        known_marks: Container[str],
        notes: ImageNotes,
    ) -> None:
        self._card, self._is_known, self._known_marks, self._notes = (
            card,
            is_known,
            known_marks,
            notes,
        )

    def __call__(self, entry: Entry) -> Prepared:
        """Read, recognise and decode an entry's images; whatever is wrong with them is told as
        its error.
        """
        if entry.sample is None:
            return Prepared(entry, entry.error.message if entry.error else "holds no sample")
        try:
            if self._is_known(entry.sample):
                return Prepared(entry)
            with FILES.part(_bytes_on_disk(entry.sample)), read_by_notes(self._notes):
                return self._prepare(entry, entry.sample)
        except TrireidError as error:
            return Prepared(entry, error.message)

    def _prepare(self, entry: Entry, sample: Sample) -> Prepared:
        held = with_contents(sample)
        content_digest = digest(held)
        if make_mark(content_digest, sample.camera, self._card.cameras > 0) in self._known_marks:
            known: dict[str, Any] = {
                each.name: getattr(sample, each.name) for each in fields(Sample)
            }
            stored = references(sample)
            return Prepared(
                entry, sample=PreparedSample(**known, content_digest=content_digest, stored=stored)
            )
        prepared, shown = prepare(sample, held, self._card.fitting, mark=content_digest)
        return Prepared(entry, sample=prepared, inputs=pixels([shown], self._card))


def _bytes_on_disk(sample: Sample) -> int:
    """Of a sample's files; of one that cannot be looked at nothing, for reading it will fail."""
    paths = (
        path for path in map(sample.image, sample.present) if isinstance(path, str | os.PathLike)
    )
    return sum(os.stat(path).st_size for path in paths if os.path.exists(path))
