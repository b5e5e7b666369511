"""Adaptive batching: everybody gets their own rows, in few passes, and nobody waits beyond their
time.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trireid.inference import Embedder
from trireid.inference.embedder import Cameras, Embeddings, Images, Present, Tokens
from trireid.samples.errors import BusyError
from trireid.serving.batching import BatchingEmbedder
from trireid.serving.deadline import deadline


class Network(Embedder):
    """Gives each sample its camera number; takes `seconds` a pass, and fails where a camera is 666."""

    def __init__(self, seconds: float) -> None:
        super().__init__(Path("network.onnx"), None)  # type: ignore[arg-type]
        self.seconds, self.sizes, self.most_at_once, self._at_once = seconds, list[int](), 0, 0

    @property
    def runtime(self) -> str:
        return "a test"

    def run(self, images: Images, camera: Cameras, present: Present) -> tuple[Embeddings, Tokens]:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        time.sleep(self.seconds)
        self.sizes.append(len(images))
        self._at_once -= 1
        if 666 in camera:
            raise RuntimeError("it broke")
        return camera[:, None].astype(np.float32), camera[:, None, None]


def ask(embedder: BatchingEmbedder, *numbers: int) -> list[int]:
    count = len(numbers)
    inputs: tuple[Any, Any, Any] = (
        np.zeros((count, 1)),
        np.array(numbers),
        np.ones((count, 3), bool),
    )
    embeddings, tokens = embedder.run(*inputs)
    assert (embeddings[:, 0] == tokens[:, 0, 0]).all()
    return [int(value) for value in embeddings[:, 0]]


@pytest.mark.parametrize(("most", "passes"), [(1, 1), (8, 1), (8, 2), (1000, 3)])
def test_each_gets_its_own_rows_whatever_shares_its_pass(most: int, passes: int) -> None:
    network = Network(0.002)
    embedder = BatchingEmbedder(network, most, passes)
    wanted = [tuple(range(3 * n, 3 * n + 1 + n % 3)) for n in range(200)]
    with ThreadPoolExecutor(24) as pool:
        got = list(pool.map(lambda numbers: ask(embedder, *numbers), wanted))
    assert [tuple(each) for each in got] == wanted
    assert sum(network.sizes) == sum(map(len, wanted))
    assert max(network.sizes) <= max(most, 3)
    assert network.most_at_once <= passes
    if most > 1:
        assert len(network.sizes) < 200 / 2


def test_one_that_comes_alone_does_not_wait() -> None:
    network = Network(0.0)
    began = time.monotonic()
    assert ask(BatchingEmbedder(network, 64), 5) == [5]
    assert (network.sizes, time.monotonic() - began < 0.5) == ([1], True)


def test_a_pass_that_fails_fails_for_those_in_it_and_for_nobody_after() -> None:
    network = Network(0.05)
    embedder = BatchingEmbedder(network, 4)
    with ThreadPoolExecutor(8) as pool:
        results = [pool.submit(ask, embedder, number) for number in (1, 666, 2, 3)]
        errors = [each.exception(10) for each in results]
    assert isinstance(errors[1], RuntimeError)
    assert ask(embedder, 7) == [7]


def test_whoever_waits_too_long_is_told_so_and_leaves_no_trace() -> None:
    network = Network(0.3)
    embedder = BatchingEmbedder(network, 1)
    first = threading.Thread(target=ask, args=(embedder, 1))
    first.start()
    while not network.most_at_once:
        time.sleep(0.005)
    began = time.monotonic()
    with deadline(0.05), pytest.raises(BusyError) as caught:
        ask(embedder, 2)
    assert caught.value.code == "deadline"
    assert time.monotonic() - began < 0.25
    first.join()
    assert ask(embedder, 3) == [3]
    assert sum(network.sizes) == 2


def test_one_whose_pass_has_begun_gets_its_answer_even_when_late() -> None:
    embedder = BatchingEmbedder(Network(0.2), 1)
    with deadline(0.05):
        assert ask(embedder, 4) == [4]
