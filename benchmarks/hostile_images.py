"""Sends images that cost far more than their bytes, and the largest that are taken, to a real
server, with ordinary searches.

    python -m benchmarks.hostile_images [--at-once 8] [--items 500]

Prints for each image its answer and the seconds until it came, then statuses and times
of the ordinary searches, and the memory of all the server's processes. Linux only.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import httpx
import numpy as np
from PIL import Image

from benchmarks.load.queries import make_queries, prepare_gallery
from benchmarks.load.served import Served, run_server
from tests.samples.hostile_images import ENDURED, HOSTILE, save_image
from trireid.samples import Sample

_SIDE: Final = 7000
_EVERY: Final = 0.05
Make = Callable[[], bytes]


@dataclass
class Others:
    """The ordinary searches: seconds and status of each."""

    seconds: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser("python -m benchmarks.hostile_images")
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--items", type=int, default=500)
    given = parser.parse_args()
    large = _make_large_images()
    (ordinary,) = make_queries(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with run_server(prepare_gallery(folder, given.items), folder / "log", {}) as server:
            _run(server, ordinary, "an ordinary search alone", "/search", {}, given.at_once)
            for path in ("/search", "/enroll"):
                _run(server, ordinary, f"hostile, {path}", path, HOSTILE, given.at_once)
            _run(server, ordinary, "strange, /search", "/search", ENDURED, given.at_once)
            for path in ("/search", "/enroll"):
                _run(server, ordinary, f"the largest, {path}", path, large, given.at_once)
            print(f"lines of the log at error level: {len(server.errors())}")


def _make_large_images() -> Mapping[str, Make]:
    """Eight honest images of 49 megapixels."""
    coarse = np.random.default_rng(0).integers(0, 256, (_SIDE // 8, _SIDE // 8, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    files = {
        "progressive jpeg": save_image(image, "JPEG", progressive=True, subsampling=0),
        "webp": save_image(image, "WEBP", method=0),
        "jpeg": save_image(image, "JPEG"),
        "tiff, jpeg": save_image(image, "TIFF", compression="jpeg"),
    }
    return {
        f"{name}, 49 megapixels ({i})": partial(bytes, data)
        for i in (1, 2)
        for name, data in files.items()
    }


def _run(
    server: Served, ordinary: Sample, title: str, path: str, makes: Mapping[str, Make], at_once: int
) -> None:
    """Send images, several at once, with ordinary searches one after the other; print the
    answers.
    """
    contents = {name: make() for name, make in makes.items()}
    before = server.usage().memory
    with (
        _search_steadily(server, ordinary) as others,
        _watch_memory(server) as peak,
        ThreadPoolExecutor(at_once) as pool,
    ):
        answers = list(pool.map(lambda content: _send(server, path, content), contents.values()))
        if not answers:
            time.sleep(3)
    middle, longest = 1000 * median(others.seconds), 1000 * max(others.seconds)
    print(
        f"\n{title}: {len(others.statuses)} ordinary searches: {dict(Counter(others.statuses))};"
        f" median {middle:.0f} ms, longest {longest:.0f} ms;"
        f" all processes {before:.0f} MiB, at the most {peak[0]:.0f},"
        f" then {server.usage().memory:.0f}"
    )
    for (name, content), (status, seconds) in zip(contents.items(), answers, strict=True):
        print(f"  {name:50} {len(content):>10,} bytes  {status}  {seconds:6.2f} s")


def _send(server: Served, path: str, content: bytes) -> tuple[str, float]:
    began = time.perf_counter()
    answer = _post(server, path, {"tir": content})
    code = answer.json().get("error", {}).get("code", "")
    return f"{answer.status_code} {code:9}", time.perf_counter() - began


def _post(server: Served, path: str, files: Mapping[str, bytes]) -> httpx.Response:
    sent = {name: ("image", content) for name, content in files.items()}
    return httpx.post(
        f"http://127.0.0.1:{server.port}{path}", files=sent, timeout=120, trust_env=False
    )


@contextmanager
def _search_steadily(server: Served, ordinary: Sample) -> Iterator[Others]:
    others, over = Others(), threading.Event()
    images = {str(name): ordinary.image(name) for name in ordinary.present}
    files = {name: content for name, content in images.items() if isinstance(content, bytes)}

    def search() -> None:
        while not over.is_set():
            began = time.perf_counter()
            others.statuses.append(_post(server, "/search", files).status_code)
            others.seconds.append(time.perf_counter() - began)

    with _until_over(search, over):
        yield others


@contextmanager
def _watch_memory(server: Served) -> Iterator[list[float]]:
    """The most memory of all the server's processes together, looked at every 50 ms."""
    peak, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(_EVERY):
            peak[0] = max(peak[0], server.usage().memory)

    with _until_over(watch, over):
        yield peak


@contextmanager
def _until_over(work: Callable[[], None], over: threading.Event) -> Iterator[None]:
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    main()
