"""The bare loop: decode, embed in batches, search, in this process and without HTTP, over the same
images.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.load.queries import K
from trireid.gallery import Gallery, read_artifact_path
from trireid.inference import Embedder, load_artifact
from trireid.inference.embedder import Cameras, Embeddings, Images, Present, Tokens, pixels
from trireid.samples import Sample


@dataclass(frozen=True)
class Bare:
    """Queries per second by the number of threads that run the loop, and the milliseconds of CPU
    that each took; milliseconds of one query alone (median), and of one thread's query in a batch
    by stage.
    """

    throughput: dict[int, float]
    cpu: dict[int, float]
    alone: float
    stages: dict[str, float]

    @property
    def best(self) -> float:
        """The most queries per second that any number of threads made."""
        return max(self.throughput.values())

    @property
    def cpu_of_best(self) -> float:
        """Milliseconds of CPU a query there."""
        return self.cpu[max(self.throughput, key=self.throughput.__getitem__)]


class _Ahead(Embedder):
    """The embedder that a gallery asks: it gives out what one forward pass over a whole batch has
    made.
    """

    def __init__(self, inner: Embedder) -> None:
        super().__init__(inner.path, inner.card)
        self.inner, self.made = inner, dict[int, tuple[NDArray[np.float32], NDArray[np.int64]]]()

    @property
    def runtime(self) -> str:
        return self.inner.runtime

    def run(self, images: Images, camera: Cameras, present: Present) -> tuple[Embeddings, Tokens]:
        return self.inner.run(images, camera, present)

    def embed_with_tokens(self, samples: Sequence[Sample]) -> tuple[Embeddings, Tokens]:
        embedding, tokens = self.made[id(samples[0])]
        return embedding[None], tokens[None]


class Loop:
    """The loop over a gallery that is open only for it."""

    def __init__(self, folder: Path) -> None:
        self.ahead = _Ahead(load_artifact(read_artifact_path(folder)))
        self.gallery = Gallery.open(folder, self.ahead)
        self.seconds = dict.fromkeys(("decode", "embed", "search"), 0.0)

    def run(self, samples: Sequence[Sample]) -> None:
        """Answer a batch."""
        begun = [time.perf_counter()]
        inputs = pixels(samples, self.ahead.card)
        begun.append(time.perf_counter())
        embeddings, tokens = self.ahead.run(*inputs)
        begun.append(time.perf_counter())
        self.ahead.made.update(
            {id(each): (embeddings[i], tokens[i]) for i, each in enumerate(samples)}
        )
        for each in samples:
            self.gallery.search(each, k=K)
        begun.append(time.perf_counter())
        for name, first, then in zip(self.seconds, begun, begun[1:], strict=False):
            self.seconds[name] += then - first


def run_bare_loop(
    folder: Path,
    queries: Sequence[Sample],
    batch: int,
    seconds: float,
    threads: Sequence[int] = (1, 2),
) -> Bare:
    """Run the loop for some seconds with each number of threads, then one query at a time."""
    loop = Loop(folder)
    loop.run(queries[:batch])
    throughput, cpu, stages = {}, {}, dict[str, float]()
    for number in threads:
        loop.seconds, used = dict.fromkeys(loop.seconds, 0.0), time.process_time()
        done, took = _spin(loop, queries, batch, number, seconds)
        throughput[number], cpu[number] = done / took, 1000 * (time.process_time() - used) / done
        stages = stages or {name: 1000 * spent / done for name, spent in loop.seconds.items()}
    alone = []
    for each in itertools.islice(itertools.cycle(queries), 100):
        begun = time.perf_counter()
        loop.run([each])
        alone.append(1000 * (time.perf_counter() - begun))
    loop.gallery.close()
    return Bare(throughput, cpu, median(alone), stages)


def _spin(
    loop: Loop, queries: Sequence[Sample], batch: int, threads: int, seconds: float
) -> tuple[int, float]:
    """Return the number of answered queries, and the seconds that they took."""
    batches = [
        queries[start : start + batch] for start in range(0, len(queries) - batch + 1, batch)
    ]
    following, lock = itertools.cycle(batches), threading.Lock()
    began = time.perf_counter()

    def work(_: Any) -> int:
        done = 0
        while time.perf_counter() < began + seconds:
            with lock:
                chosen = next(following)
            loop.run(chosen)
            done += len(chosen)
        return done

    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(work, range(threads)))
    return done, time.perf_counter() - began
