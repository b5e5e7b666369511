"""The network in the server's own process against the network as a BentoML service of its own: the
same callers, in turns.

    python -m benchmarks.embedder_service [--callers 1] [--rounds 3] [--seconds 10]

In process: `trireid.serving.batching.BatchingEmbedder`, as the service has it. On its own: a
BentoML service with a batchable API, in another process, that the callers reach as BentoML's
services reach each other, with pixels as they leave decoding. Prints calls per second and the
median latency. With 16 callers BentoML 1.4.39 loses connections between the two
(ServerDisconnectedError), and the second way cannot be measured.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from statistics import median
from typing import Any, Final

import anyio
import bentoml
import numpy as np
from bentoml.exceptions import BentoMLException
from numpy.typing import NDArray

from trireid.inference import load_artifact
from trireid.serving.batching import BatchingEmbedder

_MOST_CALLERS: Final = 64
_BATCH: Final = 8
_TRIES: Final = 60
Call = Callable[[], Awaitable[NDArray[np.float32]]]


@bentoml.service(name="embedder", workers=1, traffic={"timeout": 60})
class EmbedderService:
    """The default network behind a batchable API."""

    def __init__(self) -> None:
        """Load it."""
        self.embedder = load_artifact("person-tiny")

    @bentoml.api(  # type: ignore[untyped-decorator]
        batchable=True, max_batch_size=_BATCH, max_latency_ms=60_000
    )
    def embed(self, images: np.ndarray) -> np.ndarray:
        """Pixels uint8 [B, 3, H, W, 3] -> float32 [B, D]."""
        return _embed(self.embedder, images)


@bentoml.service(name="callers", workers=1, traffic={"timeout": 600})
class CallersService:
    """Callers of both ways, in a process that serves, as ours does."""

    remote = bentoml.depends(EmbedderService)

    def __init__(self) -> None:
        """Load the network here, too."""
        self.own = BatchingEmbedder(load_artifact("person-tiny"), _BATCH, 2)

    @bentoml.api  # type: ignore[untyped-decorator]
    async def measure(self, way: str, callers: int, seconds: float) -> list[float]:
        """Measure calls per second and the median latency in milliseconds."""
        images = np.random.default_rng(0).integers(
            0, 256, (1, 3, *self.own.card.image_size, 3), dtype=np.uint8
        )
        limiter = anyio.CapacityLimiter(_MOST_CALLERS)

        async def own() -> NDArray[np.float32]:
            return await anyio.to_thread.run_sync(_embed, self.own, images, limiter=limiter)

        async def remote() -> NDArray[np.float32]:
            found: NDArray[np.float32] = await self.remote.to_async.embed(images=images)
            return found

        assert np.abs(await own() - await remote()).max() < 1e-5
        return list(
            await measure_load(
                {"in process": own, "a service of its own": remote}[way], callers, seconds
            )
        )


def _embed(embedder: Any, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = embedder.run(
        images, np.full(len(images), -1), np.ones((len(images), 3), bool)
    )[0]
    return found


async def measure_load(call: Call, callers: int, seconds: float) -> tuple[float, float]:
    """Measure calls per second and the median latency in milliseconds, of callers that each wait
    for their answer.
    """
    taken: list[float] = []
    until = time.perf_counter() + seconds

    async def work() -> None:
        while (began := time.perf_counter()) < until:
            await call()
            taken.append(time.perf_counter() - began)

    async with anyio.create_task_group() as group:
        for _ in range(callers):
            group.start_soon(work)
    return len(taken) / seconds, 1000 * median(taken)


@contextmanager
def run_services() -> Iterator[str]:
    """Run the services in processes of their own; yield their address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "bentoml",
        "serve",
        "benchmarks.embedder_service:CallersService",
        "--port",
        str(port),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        bentoml.SyncHTTPClient(url, server_ready_timeout=120).close()
        yield url
    finally:
        process.terminate()
        process.wait(30)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.embedder_service")
    options.add_argument("--callers", type=int, default=1)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=float, default=10.0)
    given = options.parse_args()
    with run_services() as url, bentoml.SyncHTTPClient(url, timeout=600) as client:
        for _ in range(_TRIES):  # the service on its own may start later than the one that is asked
            with suppress(BentoMLException):
                client.measure(way="in process", callers=1, seconds=1.0)
                break
            time.sleep(1)
        for _ in range(given.rounds):
            for way in ("in process", "a service of its own"):
                rate, latency = client.measure(
                    way=way, callers=given.callers, seconds=given.seconds
                )
                print(
                    f"{given.callers} callers, {way}: {rate:.1f} calls/s, median {latency:.1f} ms",
                    flush=True,
                )


if __name__ == "__main__":
    main()
