"""Every search is of one state of the gallery, whatever is added, removed, replaced, merged and
trained at the same time.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import encode_image
from tests.gallery.crash_worker import NoNetwork, embedding, indexed, item, nearest
from trireid.gallery import Gallery, Hit, live_index
from trireid.gallery.index import VectorIndex, vector_index
from trireid.samples import MODALITIES, Sample

LASTING = Counter(f"i{n}" for n in range(200))
#: How many others come and go together.
OTHERS = 30
#: How often each of the threads gets to do its work, unless time is over before.
ENOUGH, SECONDS = 25, 20
QUERIES = (Sample(rgb=encode_image(0), tir=encode_image(1)), Sample(rgb=encode_image(0)))


class Alike(NoNetwork):
    """All samples look the same."""

    def embed_with_tokens(
        self, samples: Sequence[Sample]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        return np.tile(embedding("q"), (len(samples), 1)), np.empty((len(samples), 3, 0), np.int64)


class Traffic:
    """Threads at work on one gallery that two processes, say, have open; what they find wrong is in
    `errors`.
    """

    def __init__(self, folder: Path, subsets: Sequence[tuple[str, ...]], memory: str) -> None:
        self.subsets, self.errors, self.done = subsets, list[str](), Counter[str]()
        self.here = Gallery.open(folder, Alike(), memory=memory)
        self.here.add_items([item(f"i{n}", "lasting", self.subset(n)) for n in range(len(LASTING))])
        self.there = Gallery.open(folder, Alike())
        self._over = threading.Event()

    def subset(self, number: int) -> tuple[str, ...]:
        return self.subsets[number % len(self.subsets)]

    def replace(self, number: int) -> None:
        """One item by another of the same id and, later, of other modalities."""
        self.here.add_items(
            [item(f"i{number % len(LASTING)}", "lasting", self.subset(number // len(LASTING)))]
        )

    def come_and_go(self, number: int) -> None:
        if number % 2:
            self.there.add_items(
                [item(f"o{number}-{n}", "other", self.subset(n)) for n in range(OTHERS)]
            )
        else:
            self.there.remove(identity="other")

    def search(self, number: int) -> None:
        where: dict[str, Any] | None = (
            {"identity": ["lasting", str(number)]} if number % 3 else None
        )
        hits = self.here.search(QUERIES[number % 2], k=1000, where=where, rerank=number % 5 == 0)
        self.errors += self.wrong(hits, (0,) if where else (0, OTHERS))

    def wrong(self, hits: Sequence[Hit], others: Sequence[int]) -> list[str]:
        found = Counter(hit.id for hit in hits)
        missing, twice, more = (
            LASTING - found,
            found - Counter(set(found)),
            len(set(found) - set(LASTING)),
        )
        right = not missing and not twice and more in others
        return (
            [] if right else [f"{len(missing)} missing, {len(twice)} twice, {more} of the others"]
        )

    def run(self) -> None:
        steps = (self.replace, self.come_and_go, self.search, self.search)
        threads = [threading.Thread(target=self._repeat, args=[step]) for step in steps]
        for thread in threads:
            thread.start()
        until = time.monotonic() + SECONDS
        while (
            not self.errors
            and min(self.done[step.__name__] for step in steps) < ENOUGH
            and time.monotonic() < until
        ):
            time.sleep(0.05)
        self._over.set()
        for thread in threads:
            thread.join()
        self.there.close()
        self.here.close()

    def _repeat(self, step: Callable[[int], None]) -> None:
        try:
            while not self._over.is_set():
                self.done[step.__name__] += 1
                step(self.done[step.__name__])
        except BaseException as error:
            self.errors.append(repr(error))
            raise


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thresholds so low that merging and training happen all the time."""
    for name, value in {"STALE_AT_LEAST": 40, "SAMPLE": 100, "BATCH": 8}.items():
        monkeypatch.setattr(vector_index, name, value)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("memory", "crossover", "mixed"),
    [
        ("float32", 10_000, False),
        ("float32", 150, False),
        ("float16", 10_000, True),
        ("int8", 150, True),
    ],
)
def test_every_search_is_of_one_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: str, crossover: int, mixed: bool
) -> None:
    monkeypatch.setattr(live_index, "VectorIndex", partial(VectorIndex, crossover=crossover))
    subsets = [MODALITIES, ("rgb",), ("rgb", "tir")] if mixed else [MODALITIES]
    traffic = Traffic(tmp_path / "a.gallery", subsets, memory)
    traffic.run()
    assert traffic.errors == []
    # on a slow machine, too
    assert min(traffic.done[step] for step in ("replace", "come_and_go", "search")) > 3


def test_searches_go_on_with_what_was_while_much_is_taken_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, go = threading.Event(), threading.Event()
    with Gallery.open(tmp_path / "a.gallery", NoNetwork()) as gallery:
        gallery.add_items([item("first", "p")])
        add = VectorIndex.add

        def slow(self: VectorIndex, *given: Any) -> None:
            add(self, *given)
            reached.set()
            assert go.wait(20)

        monkeypatch.setattr(VectorIndex, "add", slow)
        adding = threading.Thread(
            target=gallery.add_items,
            args=[[item(f"i{n}", "p") for n in range(live_index.MUCH + 1)]],
        )
        adding.start()
        assert reached.wait(20)
        assert [known.id for _, known in nearest(gallery, "i7", 5)] == ["first"]
        go.set()
        adding.join()
        assert nearest(gallery, "i7")[0][1].id == "i7"


def test_an_index_that_fails_midway_is_rebuilt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Gallery.open(tmp_path / "a.gallery", NoNetwork()) as gallery:
        gallery.add_items([item("first", "p")])

        def full(self: VectorIndex, keys: Any) -> None:
            raise MemoryError("planted")

        with monkeypatch.context() as patch:
            patch.setattr(VectorIndex, "remove", full)
            with pytest.raises(MemoryError):
                # durable, but not taken in
                gallery.add_items([item("second", "p"), item("first", "q")])
        assert {known.identity for _, known in nearest(gallery, "second", 9)} == {"p", "q"}
        gallery.add_items([item("third", "p")])
        assert indexed(gallery) == 3
    with pytest.raises(Exception, match="is closed"), gallery.read():
        pass
