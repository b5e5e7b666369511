"""Real servers for the tests: `trireid serve` as a subprocess."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT, export_tiny, find_free_port, make_once, make_sample
from trireid.gallery import Gallery
from trireid.inference import Embedder, load_artifact

#: Tokens of the guarded server, by what they may do.
TOKENS = {
    "ann": ("search", "ann-0123456789abcdef"),
    "eve": ("enroll", "eve-0123456789abcdef"),
    "rob": ("remove", "rob-0123456789abcdef"),
    "boss": ("admin", "boss-0123456789abcdef"),
}


@dataclass(frozen=True)
class Server:
    """A running server: a client of it, its log, its galleries, its process."""

    client: httpx.Client
    log: Path
    folders: tuple[Path, ...]
    process: subprocess.Popen[bytes]


def start(
    folders: tuple[Path, ...], log: Path, environment: Mapping[str, str] | None = None
) -> tuple[subprocess.Popen[bytes], httpx.Client]:
    """`trireid serve` in a process group of its own, ready."""
    return start_command(
        [sys.executable, "-m", "trireid", "serve", *map(str, folders)], log, ROOT, environment
    )


def start_command(
    command: list[str], log: Path, folder: Path, environment: Mapping[str, str] | None = None
) -> tuple[subprocess.Popen[bytes], httpx.Client]:
    """A server by a command that takes `--port`, run in a folder, in a process group of its own,
    ready.
    """
    port = find_free_port()
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            cwd=folder,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
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
def other_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another network than the fixture `artifact`, without camera embedding."""
    return make_once(tmp_path_factory, "other.onnx", partial(export_tiny, seed=1, cameras=0))


@pytest.fixture(scope="session")
def server(
    tmp_path_factory: pytest.TempPathFactory, embedder: Embedder, other_artifact: Path
) -> Iterator[Server]:
    """Galleries `people` (12 items by cameras 0 to 3) and `cars` (empty, of another network),
    served to this machine.
    """
    folder = tmp_path_factory.mktemp("served")
    people, cars = fill_gallery(folder / "people.gallery", embedder), folder / "cars.gallery"
    Gallery.open(cars, load_artifact(other_artifact)).close()
    with run_server((people, cars), folder / "log") as made:
        yield made


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Iterator[Server]:
    """A gallery `people` as above behind tokens, with an audit, logs in JSON, and 2 seconds for a
    body to arrive.
    """
    folder = tmp_path_factory.mktemp("guarded")
    people, tokens = fill_gallery(folder / "people.gallery", embedder), folder / "tokens"
    tokens.write_text(
        "# who may what\n"
        + "".join(f"{name} {scopes} {token}\n" for name, (scopes, token) in TOKENS.items())
    )
    tokens.chmod(0o600)
    environment = {
        "TRIREID_TOKENS_FILE": str(tokens),
        "TRIREID_AUDIT": str(folder / "audit"),
        "TRIREID_LOG": "json",
        "TRIREID_BODY_SECONDS": "2",
        "TRIREID_BODY_MIB": "2",
    }
    with run_server((people,), folder / "log", environment) as made:
        yield made


def fill_gallery(folder: Path, embedder: Embedder) -> Path:
    """A gallery of 12 items `s0` to `s11` of 3 identities by 4 cameras."""
    with Gallery.open(folder, embedder) as gallery:
        gallery.add(
            [
                make_sample(i, id=f"s{i}", identity=str(i % 3), camera=i % 4, kind="person")
                for i in range(12)
            ]
        )
    return folder


@contextmanager
def run_server(
    folders: tuple[Path, ...], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A server for as long as it is needed."""
    process, client = start(folders, log, environment)
    try:
        yield Server(client, log, folders, process)
    finally:
        client.close()
        stop(process)


def process_tree(pid: int) -> list[int]:
    """A process and all below it, the process first."""
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return [pid, *[below for child in children for below in process_tree(child)]]


def read_memory(server: Server) -> int:
    """Bytes of the most memory that any of a server's processes has held so far."""
    peaks = []
    for pid in process_tree(server.process.pid):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                peaks.append(1024 * int(line.split()[1]))
    return max(peaks)
