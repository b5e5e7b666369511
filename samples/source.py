"""A source of samples: entries that hold a sample, or the fault that keeps them from being one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from samples.errors import SourceError, TrireidError
from samples.sample import Sample


@dataclass(frozen=True)
class Entry:
    """One place of a source: `place` names it (`row 7`, a file), and it holds a sample or a fault.

    `name`: what to call a sample that has no id of its own, where that is not the place.
    """

    place: str
    sample: Sample | None = None
    fault: TrireidError | None = None
    name: str | None = None


@dataclass(frozen=True)
class Source:
    """A source of `total` entries; iterate it as often as you like."""

    name: str
    total: int
    entries: Callable[[], Iterator[Entry]]

    def __iter__(self) -> Iterator[Entry]:
        return self.entries()

    def __len__(self) -> int:
        return self.total


def read_lazily(name: str, places: list[str], read: Callable[[str], Sample]) -> Source:
    """A source that makes each sample when it is taken; a TrireidError of `read` becomes that entry's fault."""

    def entries() -> Iterator[Entry]:
        for place in places:
            try:
                yield Entry(place, read(place))
            except OSError as error:
                yield Entry(place, fault=SourceError(f"{error.filename or place}: {error.strerror}", place))
            except TrireidError as fault:
                yield Entry(place, fault=fault)

    return Source(name, len(places), entries)
