"""A real server, as a subprocess: `bentoml serve` over two small galleries."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from export import Embedder, load_artifact
from gallery import Gallery
from tests.conftest import ROOT, export_tiny, free_port, triplet


@dataclass(frozen=True)
class Server:
    """A running server: a client of it, its log, its galleries."""

    client: httpx.Client
    log: Path
    folders: tuple[Path, Path]


def start(folders: tuple[Path, ...], log: Path) -> tuple[subprocess.Popen[bytes], httpx.Client]:
    """`trireid serve` in a process group of its own, ready."""
    return start_command([sys.executable, "-m", "trireid", "serve", *map(str, folders)], log, ROOT)


def start_command(
    command: list[str], log: Path, folder: Path, **environment: str
) -> tuple[subprocess.Popen[bytes], httpx.Client]:
    """A server by a command that takes `--port`, run in a folder, in a process group of its own, ready."""
    port = free_port()
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if client.get("/readyz").status_code == 200:
                return process, client
        except httpx.TransportError:
            time.sleep(0.2)
    stop(process)
    raise AssertionError(f"the server did not start:\n{log.read_text()}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, as a service manager would; nothing of the group may be left."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        else:
            process.wait(30)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Iterator[Server]:
    """Galleries `people` (12 items by cameras 0 to 3) and `cars` (empty, of another network), served."""
    folder = tmp_path_factory.mktemp("served")
    people, cars = folder / "people.gallery", folder / "cars.gallery"
    with Gallery.open(people, embedder) as gallery:
        gallery.add([triplet(i, id=f"s{i}", identity=str(i % 3), camera=i % 4, kind="person") for i in range(12)])
    other = load_artifact(export_tiny(folder / "other.onnx", seed=1, cameras=0))
    Gallery.open(cars, other).close()
    process, client = start((people, cars), folder / "log")
    yield Server(client, folder / "log", (people, cars))
    client.close()
    stop(process)
