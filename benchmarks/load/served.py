"""The real server as a subprocess: what it uses, and what its log complains of."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_READY: Final = 120.0
_STOP: Final = 30.0
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TICK: Final = os.sysconf("SC_CLK_TCK")
_ERROR: Final = re.compile(r"Traceback|\b(error|critical)\b", re.IGNORECASE)
_REQUEST: Final = re.compile(r"^\S+ (info|warning) ")


@dataclass(frozen=True)
class Usage:
    """Of all processes of a server: CPU seconds since they started, resident MiB."""

    cpu_seconds: float
    memory: float


@dataclass(frozen=True)
class Served:
    """A running server."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def usage(self) -> Usage:
        """Measure what its processes use now. Linux only."""
        stats = {
            int(each.name): _stat(each) for each in Path("/proc").iterdir() if each.name.isdecimal()
        }
        mine = [stats[process] for process in self.processes() if stats.get(process)]
        ticks = sum(int(stat[11]) + int(stat[12]) for stat in mine)
        return Usage(ticks / _TICK, sum(int(stat[21]) for stat in mine) * _PAGE / 2**20)

    def processes(self) -> list[int]:
        """The parent, its children and theirs."""
        found = [self.process.pid]
        for process in found:
            tasks = Path(f"/proc/{process}/task").glob("*/children")
            found += [int(child) for each in tasks for child in each.read_text().split()]
        return found

    def errors(self) -> list[str]:
        """Lines of the log at error level or above, and tracebacks."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return [line for line in lines if _ERROR.search(line) and not _REQUEST.match(line)]


def _stat(process: Path) -> list[str]:
    """The fields of a process after its name, so that the third of the manual is the first here."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended
        return []


@contextmanager
def run_server(gallery: Path, log: Path, environment: Mapping[str, str]) -> Iterator[Served]:
    """Run `trireid serve` over one gallery; yield it when it is ready, and stop it at the end."""
    port = _free_port()
    command = [sys.executable, "-m", "trireid", "serve", str(gallery), "--port", str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **environment},
        )
    served = Served(process, port, log)
    try:
        _wait_until_ready(served)
        yield served
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(_STOP)


def _wait_until_ready(served: Served) -> None:
    until = time.monotonic() + _READY
    while time.monotonic() < until and served.process.poll() is None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=5)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.2)
    raise SystemExit(f"the server did not start: {served.log.read_text(errors='replace')[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
