"""Clients at saturation, as cheap as they can be made: each sends its next request as soon as it
has an answer.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_RETRY: Final = re.compile(rb"\r\nretry-after: *(\d+)\r\n", re.IGNORECASE)
_HUNG_UP: Final = "hung up"
_REST: Final = 0.2
#: Seconds that an answer may take after the last request was sent.
_LAST: Final = 60.0


@dataclass
class Tally:
    """Answers: how often each status, and the milliseconds that answers of status 200 took;
    `seconds` of wall time and `cpu_seconds` of this process.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @property
    def throughput(self) -> float:
        """Answers of status 200 per second."""
        return len(self.milliseconds) / self.seconds

    def percentiles(self) -> dict[str, float]:
        """Of the milliseconds."""
        shares = {"p50": 50, "p90": 90, "p99": 99, "max": 100}
        values = np.percentile(self.milliseconds or [float("nan")], list(shares.values()))
        return {name: round(float(value), 1) for name, value in zip(shares, values, strict=True)}


def saturate(port: int, requests: Sequence[bytes], clients: int, seconds: float) -> Tally:
    """Let clients ask for some seconds, and wait for the answers that are under way then."""
    tally = Tally()
    began, used = time.perf_counter(), time.process_time()
    asyncio.run(_saturate(port, requests, clients, seconds, tally))
    tally.seconds, tally.cpu_seconds = time.perf_counter() - began, time.process_time() - used
    return tally


async def _saturate(
    port: int, requests: Sequence[bytes], clients: int, seconds: float, tally: Tally
) -> None:
    loop = asyncio.get_running_loop()
    until, following = loop.time() + seconds, itertools.cycle(requests)
    await asyncio.wait_for(
        asyncio.gather(*(_one(port, following, until, tally) for _ in range(clients))),
        timeout=seconds + _LAST,
    )


async def _one(port: int, following: Iterator[bytes], until: float, tally: Tally) -> None:
    """A client until the time is over; if the server hangs up, it connects again."""
    loop = asyncio.get_running_loop()
    while loop.time() < until:
        over: asyncio.Future[None] = loop.create_future()
        try:
            transport, _ = await loop.create_connection(
                partial(_Client, following, until, tally, over), "127.0.0.1", port
            )
        except OSError:
            tally.statuses["no connection"] += 1
            await asyncio.sleep(_REST)
            continue
        await over
        transport.close()


class _Client(asyncio.Protocol):
    def __init__(
        self, following: Iterator[bytes], until: float, tally: Tally, over: asyncio.Future[None]
    ) -> None:
        self.following, self.until, self.tally, self.over = following, until, tally, over
        self.loop = asyncio.get_running_loop()
        self.answer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.began = time.perf_counter()
        self.transport.write(next(self.following))

    def data_received(self, data: bytes) -> None:
        self.answer += data
        head = self.answer.find(b"\r\n\r\n")
        if head < 0:
            return
        length = _LENGTH.search(self.answer, 0, head + 2)
        if length is None or len(self.answer) < head + 4 + int(length[1]):
            return
        status = self.answer[9:12].decode()
        self.tally.statuses[status] += 1
        if status == "200":
            self.tally.milliseconds.append(1000 * (time.perf_counter() - self.began))
        retry = _RETRY.search(self.answer, 0, head + 2)
        self.answer.clear()
        if self.loop.time() >= self.until:
            self.finish()
        elif retry:
            self.loop.call_later(int(retry[1]), self.ask_again)
        else:
            self.ask()

    def ask_again(self) -> None:
        if self.over.done() or self.loop.time() >= self.until:
            self.finish()
        else:
            self.ask()

    def connection_lost(self, _: Exception | None) -> None:
        if not self.over.done():
            self.tally.statuses[_HUNG_UP] += 1
        self.finish()

    def finish(self) -> None:
        if not self.over.done():
            self.over.set_result(None)
