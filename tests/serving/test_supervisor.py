"""The server's processes: what they listen on, and how they end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT
from tests.serving.conftest import (
    Server,
    fill_gallery,
    process_tree,
    run_server,
    start_command,
    stop,
)
from trireid.inference import Embedder

LISTENING = "0A"


def list_listening(pids: list[int]) -> set[tuple[str, str]]:
    """Protocol and address of each TCP and UDP socket on which processes listen."""
    inodes = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                inodes.add(os.readlink(link))
    found = set()
    for protocol in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{protocol}").read_text().splitlines()[1:]:
            columns = line.split()
            if f"socket:[{columns[9]}]" in inodes and (
                protocol.startswith("udp") or columns[3] == LISTENING
            ):
                found.add((protocol, columns[1]))
    return found


@pytest.fixture(params=["trireid serve", "bentoml serve"])
def command(request: pytest.FixtureRequest) -> list[str]:
    """The two ways to start a server."""
    if request.param == "trireid serve":
        return [sys.executable, "-m", "trireid", "serve"]
    return [sys.executable, "-m", "bentoml", "serve", "trireid.serving.service:ReIDService"]


def test_a_server_listens_on_one_port(
    command: list[str], tmp_path: Path, embedder: Embedder
) -> None:
    """No other process can tell the supervisor to start a program."""
    folder = fill_gallery(tmp_path / "people.gallery", embedder)
    environment = {"TRIREID_GALLERIES": str(folder), "TRIREID_WORKERS": "2"}
    process, client = start_command(command, tmp_path / "log", ROOT, environment)
    try:
        tree = process_tree(process.pid)
        assert len(tree) >= 3
        (only,) = list_listening(tree)
        assert int(only[1].split(":")[1], 16) == client.base_url.port
    finally:
        client.close()
        stop(process)


def test_workers_end_with_their_supervisor_however_it_ends(
    tmp_path: Path, embedder: Embedder
) -> None:
    with run_server(
        (fill_gallery(tmp_path / "people.gallery", embedder),), tmp_path / "log"
    ) as made:
        workers = process_tree(made.process.pid)[1:]
        assert workers
        os.kill(made.process.pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and any(is_alive(pid) for pid in workers):
            time.sleep(0.05)
        assert not [pid for pid in workers if is_alive(pid)]
        made.process.wait()


def is_alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_hangup_restarts_no_worker(server: Server) -> None:
    workers = process_tree(server.process.pid)
    server.process.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert process_tree(server.process.pid) == workers
    assert server.client.get("/galleries").status_code == 200


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stop_under_load_resets_no_connection(
    workers: str, tmp_path: Path, embedder: Embedder
) -> None:
    """Each request is answered whole, or its connection refused."""
    outcomes: list[str] = []
    ended = threading.Event()

    def ask(url: str, keep: bool) -> None:
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
            while not ended.is_set():
                try:
                    headers = {} if keep else {"Connection": "close"}
                    outcomes.append(str(client.get("/galleries", headers=headers).status_code))
                except httpx.ConnectError as error:
                    outcomes.append("refused" if "refused" in str(error) else repr(error))
                    if outcomes[-1] == "refused":
                        return
                except httpx.TransportError as error:
                    outcomes.append(repr(error))

    folder = fill_gallery(tmp_path / "people.gallery", embedder)
    with run_server((folder,), tmp_path / "log", {"TRIREID_WORKERS": workers}) as made:
        threads = [
            threading.Thread(target=ask, args=(str(made.client.base_url), n % 2 == 0))
            for n in range(16)
        ]
        for thread in threads:
            thread.start()
        time.sleep(1.5)
        made.process.terminate()
        assert made.process.wait(30) == 0
        ended.set()
        for thread in threads:
            thread.join()
    assert outcomes.count("200") > 50
    assert set(outcomes) <= {"200", "refused"}


def test_reloading_needs_no_port_either(tmp_path: Path, embedder: Embedder) -> None:
    """With `--reload` BentoML's plugin is a process: it speaks through a folder of this user's."""
    folder = fill_gallery(tmp_path / "people.gallery", embedder)
    command = [
        sys.executable,
        "-m",
        "bentoml",
        "serve",
        "--reload",
        "trireid.serving.service:ReIDService",
    ]
    process, client = start_command(
        command, tmp_path / "log", ROOT, {"TRIREID_GALLERIES": str(folder), "TMPDIR": str(tmp_path)}
    )
    try:
        assert len({address for _, address in list_listening(process_tree(process.pid))}) == 1
        sockets = [
            Path(line.split()[-1])
            for line in Path("/proc/net/unix").read_text().splitlines()
            if str(tmp_path) in line
        ]
        assert sockets
        assert all(path.parent.stat().st_mode & 0o077 == 0 for path in sockets)
    finally:
        client.close()
        stop(process)


def test_ports_of_the_supervisor_are_counted_by_this_test() -> None:
    """The helper sees a port that is there."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert f"{listener.getsockname()[1]:04X}" in next(
            address
            for protocol, address in list_listening([os.getpid()])
            if address.endswith(f"{listener.getsockname()[1]:04X}")
        )
    assert subprocess.run([sys.executable, "-c", ""], check=True).returncode == 0
