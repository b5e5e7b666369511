"""Adaptive batching: requests that wait at the same time share one forward pass.

There is no thread for it and no delay: of the threads that wait, as many as there may be passes at
once run the network on what has gathered by then, and the others get their rows of what comes out.
A request that comes alone runs at once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trireid.inference import Embedder
from trireid.inference.embedder import (
    Cameras,
    Embeddings,
    Images,
    Present,
    Tokens,
    check_directions,
    pixels,
)
from trireid.samples import Sample
from trireid.serving.deadline import deadline_exceeded, time_left
from trireid.serving.timings import measure


@dataclass(eq=False)
class _Job:
    """Samples that wait for the network, and what became of them."""

    inputs: tuple[Images, Cameras, Present]
    taken: bool = False
    done: bool = False
    outputs: tuple[Embeddings, Tokens] | None = None
    error: BaseException | None = None

    def __len__(self) -> int:
        return len(self.inputs[0])

    def result(self) -> tuple[Embeddings, Tokens]:
        if self.outputs is None:
            raise self.error or RuntimeError("the forward pass gave nothing")
        return self.outputs


class BatchingEmbedder(Embedder):
    """An embedder whose callers, in many threads, share forward passes of at most `most` samples,
    `passes` at the same time.

    `embed` and `look` raise BusyError where the caller's deadline passes before its turn comes.
    `batched` is told the size of each forward pass.
    """

    def __init__(
        self,
        inner: Embedder,
        most: int,
        passes: int = 1,
        batched: Callable[[int], None] = lambda size: None,
    ) -> None:
        super().__init__(inner.path, inner.card)
        self._inner, self._most, self._batched = inner, most, batched
        self._free = passes
        self._changed = threading.Condition()
        self._waiting: deque[_Job] = deque()

    @property
    def runtime(self) -> str:
        """The runtime and device."""
        return self._inner.runtime

    def run(self, images: Images, camera: Cameras, present: Present) -> tuple[Embeddings, Tokens]:
        """The graph itself: see `Embedder.run`. Shares its forward pass with others that wait."""
        job = _Job((images, camera, present))
        with measure("embed"):
            with self._changed:
                self._waiting.append(job)
            while batch := self._take_turn(job):
                self._forward(batch)
        return job.result()

    def stages(self, images: Images, camera: Cameras, present: Present) -> dict[str, NDArray[Any]]:
        """See `Embedder.stages`."""
        return self._inner.stages(images, camera, present)

    def embed_with_tokens(self, samples: Sequence[Sample]) -> tuple[Embeddings, Tokens]:
        """See `Embedder.embed_with_tokens`; for a few samples."""
        with self.time_decoding():
            inputs = pixels(samples, self.card)
        outputs = self.run(*inputs)
        check_directions(outputs[0], samples)
        return outputs

    def time_decoding(self) -> AbstractContextManager[None]:
        """See `Embedder.decoding`."""
        return measure("decode")

    def _take_turn(self, job: _Job) -> list[_Job]:
        """Wait until the job is done, or until it is on this thread to run the network: the jobs
        that it is to run.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: job.taken or self._free, time_left()):
                self._waiting.remove(job)
                raise deadline_exceeded()
            if job.taken:
                self._changed.wait_for(lambda: job.done)
            if job.done:
                return []
            self._free -= 1
            return self._gather_batch()

    def _gather_batch(self) -> list[_Job]:
        """The jobs that come next: as many as fit into one forward pass, one at least."""
        batch = [self._waiting.popleft()]
        total = len(batch[0])
        while self._waiting and total + len(self._waiting[0]) <= self._most:
            total += len(self._waiting[0])
            batch.append(self._waiting.popleft())
        for job in batch:
            job.taken = True
        return batch

    def _forward(self, batch: Sequence[_Job]) -> None:
        try:
            images, camera, present = (
                np.concatenate(parts) for parts in zip(*(job.inputs for job in batch), strict=True)
            )
            self._batched(len(images))
            embeddings, tokens = self._inner.run(images, camera, present)
            starts = np.cumsum([0, *map(len, batch)])
            for job, start in zip(batch, starts[:-1].tolist(), strict=True):
                job.outputs = embeddings[start : start + len(job)], tokens[start : start + len(job)]
        except BaseException as error:
            for job in batch:
                job.error = error
        finally:
            with self._changed:
                self._free += 1
                for job in batch:
                    job.done = True
                self._changed.notify_all()
