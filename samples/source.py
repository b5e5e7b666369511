"""A source of samples: entries that hold a sample, or the error that keeps them from being one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from operator import length_hint
from os import PathLike, fspath
from typing import Any, Literal

from trireid.samples.errors import SourceError, TrireidError
from trireid.samples.sample import Sample
from trireid.samples.text import normalize_sample, normalize_text

#: The part that a sample plays in the field's protocols.
Role = Literal["train", "query", "gallery", "distractor"]


@dataclass(frozen=True)
class Entry:
    """One location of a source: `place` names it (`row 7`, a file), and it holds a sample or an
    error.

    `name`: what to call a sample that has no id of its own, if that is not the place. `role`: the
    part that the sample plays if the source says so, else None: it is a query and in the gallery. A
    distractor is in the gallery and not a query; so is a sample without an identity.
    """

    place: str
    sample: Sample | None = None
    error: TrireidError | None = None
    name: str | None = None
    role: Role | None = None


@dataclass(frozen=True)
class NotUsed:
    """Something that was given and is not used: `what`, how many, why, and one `example` of it."""

    what: str
    count: int
    why: str
    example: str | None = None

    def __str__(self) -> str:
        example = f" ({self.example})" if self.example else ""
        return f"{self.count} {self.what}{example}: {self.why}"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"what": self.what, "count": self.count, "why": self.why, "example": self.example}


@dataclass(frozen=True)
class Source:
    """A source of `total` entries (0: unknown); iterate it as often as you like.

    `not_used`: what was given and is passed over; `notes`: how the source was read, in sentences
    for its user; `tells`: the fields of a sample that the source speaks of, by name (`attributes`
    for these as a whole), None for all of them.
    """

    name: str
    total: int
    entries: Callable[[], Iterator[Entry]]
    not_used: tuple[NotUsed, ...] = ()
    notes: tuple[str, ...] = ()
    tells: frozenset[str] | None = None

    def __iter__(self) -> Iterator[Entry]:
        return self.entries()

    def __len__(self) -> int:
        return self.total


def read_samples(samples: Iterable[Sample], name: str = "samples") -> Source:
    """Make a source of any samples: a list, or a generator, which is read once.

    Args:
        samples: A sample without an id is named by the path of its first image, if it has one.
        name: The source's name in messages.
    """

    def entries() -> Iterator[Entry]:
        for number, sample in enumerate(samples):
            yield read_entry(_locate(sample, number), partial(_require_sample, sample))

    return Source(name, length_hint(samples), entries)


def _locate(sample: object, number: int) -> str:
    if isinstance(sample, Sample) and sample.present:
        image = sample.image(sample.present[0])
        if isinstance(image, str | PathLike):
            return fspath(image)
    return f"sample {number}"


def _require_sample(sample: object) -> Sample:
    if isinstance(sample, Sample):
        return sample
    raise SourceError(f"a source of samples gave {type(sample).__name__}; give Sample objects")


def read_lazily(name: str, places: list[str], read: Callable[[str], Sample]) -> Source:
    """A source that makes each sample when it is taken; a TrireidError of `read` becomes that
    entry's error.
    """

    def entries() -> Iterator[Entry]:
        for place in places:
            yield read_entry(place, partial(read, place))

    return Source(name, len(places), entries)


def read_entry(
    place: str, read: Callable[[], Sample], name: str | None = None, role: Role | None = None
) -> Entry:
    """Make one entry of what `read` gives, its text in NFC; its TrireidError or OSError becomes the
    entry's error.
    """
    try:
        return Entry(place, normalize_sample(read()), name=normalize_text(name), role=role)
    except OSError as error:  # a name too long, a folder that may not be looked into
        problem = SourceError(f"{error.filename or place}: {error.strerror}", place)
        return Entry(place, error=problem, role=role)
    except TrireidError as error:
        return Entry(place, error=error, role=role)
