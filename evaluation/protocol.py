"""The protocol of an evaluation: which gallery items a query is compared with, and whether a source
can be measured by it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final

from trireid.samples import Sample, SourceError
from trireid.samples.source import Entry, NotUsed, Source

#: How much an error tells of what was passed over.
_SHOWN: Final = 3


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Which gallery items a query is compared with.

    The field's way: all but those of the query's identity and camera. `by_scene`: and scene instead
    (MSVR310). `other_cameras`: all but those of the query's camera, whatever their identity. A
    sample without a camera (or scene) is a camera of its own.
    """

    by_scene: bool = False
    other_cameras: bool = False

    def group(self, sample: Sample, place: str) -> Hashable:
        """Return the camera or scene of a sample, equal for two samples of one and no others."""
        known = sample.scene if self.by_scene and not self.other_cameras else sample.camera
        return ("alone", place) if known is None else known

    def __str__(self) -> str:
        if self.other_cameras:
            return "gallery items of the query's own camera are left out"
        group = "scene" if self.by_scene else "camera"
        return f"gallery items of the query's identity and {group} are left out"


def check_measurable(query: Source, gallery: Source, protocol: Protocol) -> None:
    """Check, without decoding an image, that at least one query has a match.

    Stops at the first one, so that a source which draws or cuts its images does so for a few.

    Raises:
        SourceError: No sample can be used or has an identity, no query has a match, or the protocol
            needs cameras and no query has one.
    """
    queries, items = _Labels(query.not_used), _Labels(gallery.not_used)
    for asked, held in zip_longest(query, gallery):
        queries.add(asked, protocol, items)
        items.add(held, protocol, queries)
        if (queries.is_matched or items.is_matched) and (
            queries.has_camera or not protocol.other_cameras
        ):
            return
    raise SourceError(f"{query.name}: {_why(queries, items, protocol)}", "identity")


def _why(queries: _Labels, items: _Labels, protocol: Protocol) -> str:
    for part, what in ((queries, "query"), (items, "gallery")):
        if not part.usable:
            rejected = f"; {part.rejected} rejected, {part.first}" if part.rejected else ""
            passed = "".join(f"; not used: {each}" for each in part.not_used[:_SHOWN])
            return f"no sample in it can be used as {what}{rejected}{passed}"
        if not part.groups:
            return (
                f"none of {part.usable} samples of the {what} has an identity, so nothing can be"
                " measured; name them in a column identity, by folders, or by --pattern"
            )
    if protocol.other_cameras and not queries.has_camera:
        return "no query has a camera, which --other-cameras needs; leave it out, or name cameras"
    return (
        f"no query has a match: none of {queries.identified} queries has its identity in the"
        " gallery under another camera or scene"
    )


@dataclass
class _Labels:
    """The groups of each identity on one side, and how many samples there are."""

    not_used: Sequence[NotUsed]
    groups: dict[str, set[Hashable]] = field(default_factory=dict)
    usable: int = 0
    identified: int = 0
    rejected: int = 0
    first: str = ""
    has_camera: bool = False
    is_matched: bool = False

    def add(self, entry: Entry | None, protocol: Protocol, others: _Labels) -> None:
        """Count an entry, and note whether it matches one of the other side."""
        if entry is None:
            return
        if entry.sample is None:
            self.rejected += 1
            self.first = (
                self.first
                or f"{entry.place}: {entry.error.message if entry.error else 'holds no sample'}"
            )
            return
        self.usable += 1
        if entry.sample.identity is None:
            return
        self.identified += 1
        self.has_camera = self.has_camera or entry.sample.camera is not None
        group = protocol.group(entry.sample, entry.place)
        self.groups.setdefault(entry.sample.identity, set()).add(group)
        self.is_matched = self.is_matched or bool(
            others.groups.get(entry.sample.identity, set()) - {group}
        )


def encode_labels(*sides: list[Hashable]) -> Iterator[list[int]]:
    """Yield each side's labels as whole numbers that are equal where the labels are."""
    known: dict[Hashable, int] = {}
    for side in sides:
        yield [known.setdefault(label, len(known)) for label in side]
