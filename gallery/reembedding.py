"""Moving a gallery to another network: its items are embedded again from their images, while it
goes on being searched.

The new embeddings fill a second table, in batches that survive an interruption; items that are
enrolled while it runs are embedded, too. When nothing is left, one transaction makes the second
table the gallery's, and every process that has the gallery open changes over at its next search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from trireid.gallery.erasure import WAIT, Erasure
from trireid.gallery.metadata import describe_network, parse_settings
from trireid.gallery.schema import vectors_table
from trireid.gallery.store import Store
from trireid.inference import Embedder
from trireid.samples import GalleryError, Sample, TrireidError
from trireid.samples.depth import LoggedNotes, read_by_notes
from trireid.samples.printable import printable

BATCH: Final = 32
#: The number of last items that are embedded while writers wait.
_LAST: Final = 64
_SHOWN: Final = 5
Waiting = tuple[int, str, int | None]
Lost = dict[int, tuple[str, str]]
Row = tuple[int, NDArray[np.float32]]


@dataclass
class ReembedReport:
    """`moved`: items with an embedding by the new network; `lost`: (id, why) of those without
    images that can be read; `erasure_pending`: the old embeddings are still in a file, until a
    process that has the gallery open has cleared it.
    """

    moved: int = 0
    lost: list[tuple[str, str]] = field(default_factory=list)
    erasure_pending: bool = False


def reembed(folder: Path, embedder: Embedder, *, drop_lost: bool = False) -> ReembedReport:
    """Move a gallery to the network of `embedder`, with a progress bar; may be interrupted, and
    goes on where it was.

    Images come from the files that were enrolled, or from inside the gallery where they were
    kept. Items whose images cannot be read any more keep the gallery where it is, and a
    GalleryError names them, unless `drop_lost` has them removed.
    """
    store = Store(folder)
    try:
        return _Move(store, embedder, drop_lost).run()
    finally:
        store.close()


class _Move:
    """One move, from the generation that is to the next."""

    def __init__(self, store: Store, embedder: Embedder, drop_lost: bool) -> None:
        self.store, self.embedder, self.drop_lost = store, embedder, drop_lost
        self.meta = store.meta()
        self.notes = LoggedNotes(parse_settings(self.meta).thermal)
        self.next = store.generation() + 1
        self.report = ReembedReport()

    def run(self) -> ReembedReport:
        if self.meta["fingerprint"] == self.embedder.card.fingerprint:
            raise GalleryError(
                f"{self.store.folder}: has embeddings of {self.meta['model']} already", "model"
            )
        self._begin()
        lost: Lost = {}
        waiting = self._list_waiting(lost)
        bar: tqdm[Any]
        with tqdm(
            total=len(waiting),
            desc=printable(f"embedding {self.store.folder.name} again"),
            unit="item",
            mininterval=0.5,
        ) as bar:
            while len(waiting) > _LAST:
                for start in range(0, len(waiting), BATCH):
                    part = waiting[start : start + BATCH]
                    rows = self._embed(part, lost)
                    with self.store.transaction():
                        self._put(rows)
                    bar.update(len(part))
                waiting = self._list_waiting(lost)  # items that were enrolled since
            with self.store.transaction():
                self._put(self._embed(self._list_waiting(lost), lost))
                self._change_over(lost)
            bar.update(len(waiting))
        self.report.erasure_pending = not _erase(self.store.folder)
        return self.report

    def _begin(self) -> None:
        """Make the second table, or take up the one that a move to the same network left."""
        wanted = self.embedder.card.fingerprint
        with self.store.transaction():
            if self.meta.get("moving_to") != wanted:
                self.store.run(f"DROP TABLE IF EXISTS vectors_{self.next}")
                self.store.run("INSERT OR REPLACE INTO meta VALUES ('moving_to', ?)", [wanted])
            self.store.run(vectors_table(self.next))

    def _list_waiting(self, lost: Lost) -> list[Waiting]:
        """Key, id and camera of the items without an embedding by the new network."""
        rows = self.store.run(
            "SELECT key, id, camera FROM items WHERE key NOT IN (SELECT key FROM"
            f" vectors_{self.next}) ORDER BY key"
        )
        return [row for row in rows if row[0] not in lost]

    def _embed(self, items: Sequence[Waiting], lost: Lost) -> list[Row]:
        """The keys with their new embeddings; an item whose images cannot be read is lost, not
        its batch.
        """
        if not items:
            return []
        try:
            with read_by_notes(self.notes):
                embeddings = self.embedder.embed([self._sample(*each) for each in items])
        except TrireidError as error:
            if len(items) == 1:
                key, id_, _ = items[0]
                lost[key] = id_, error.message
                return []
            return [row for each in items for row in self._embed([each], lost)]
        return [(key, embedding) for (key, _, _), embedding in zip(items, embeddings, strict=True)]

    def _sample(self, key: int, id_: str, camera: int | None) -> Sample:
        images: dict[str, Any] = {}
        for image in self.store.images(key):
            images[image.modality] = image.data if image.data is not None else image.path
        if not images or None in images.values():
            raise GalleryError(
                f"{id_}: its images are neither kept in the gallery nor in files", id_
            )
        return Sample(id=id_, camera=camera, **images)

    def _put(self, rows: Sequence[Row]) -> None:
        statement = (
            f"INSERT OR IGNORE INTO vectors_{self.next} SELECT key, ? FROM items WHERE key = ?"
        )
        for key, embedding in rows:  # an item may have been removed since
            self.store.run(statement, [np.ascontiguousarray(embedding, np.float32).tobytes(), key])

    def _change_over(self, lost: Lost) -> None:
        """Within a transaction: from here on the second table is the gallery's."""
        lost = {key: lost[key] for (key,) in self.store.run("SELECT key FROM items") if key in lost}
        if lost and not self.drop_lost:
            shown = "; ".join(why for _, why in list(lost.values())[:_SHOWN])
            raise GalleryError(
                f"{self.store.folder}: stays with {self.meta['model']}: the images of {len(lost)}"
                " items cannot be read"
                f" ({shown}); bring them back, or have these items removed (--drop-lost)",
                "images",
            )
        self.store.remove_keys(list(lost))
        self.report.lost = list(lost.values())
        values = {**describe_network(self.embedder), "generation": str(self.next)}
        for name, value in values.items():
            self.store.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", [name, value])
        self.store.run("DELETE FROM meta WHERE name = 'moving_to'")
        self.store.run(f"DROP TABLE vectors_{self.next - 1}")
        self.report.moved = len(self.store)
        self.store.audit(
            "reembed",
            {"from": self.meta["model"], "to": values["model"], "items": self.report.moved},
        )


def _erase(folder: Path) -> bool:
    """Clear the old embeddings from every file, as far as readers let it."""
    erasure = Erasure(folder)
    try:
        return erasure.finish(WAIT)
    finally:
        erasure.close()
