"""A server on a network meets malformed requests, mutated images, clients that dawdle or
hang up, processes that die.

Several hundred malformed requests; `TRIREID_ABUSE=10000` sends that many of each sort.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from statistics import median

import httpx
import pytest

from tests.conftest import make_sample
from tests.serving.abuse import Abuse, make_malformed, whole_files, with_mutated_images
from tests.serving.conftest import Server, fill_gallery, run_server
from tests.serving.test_service import files
from trireid.gallery import Gallery
from trireid.inference import Embedder
from trireid.samples import ServiceError
from trireid.serving.client import Client

CASES = int(os.environ.get("TRIREID_ABUSE", "250"))
BODY_SECONDS = 3.0
CONNECTIONS = 200
WHOLES = whole_files()


@pytest.fixture(scope="module")
def abused(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Iterator[Server]:
    """A server of its own, which does not wait long for a body."""
    folder = tmp_path_factory.mktemp("abused")
    environment = {"TRIREID_BODY_SECONDS": str(BODY_SECONDS)}
    with run_server(
        (fill_gallery(folder / "people.gallery", embedder),), folder / "log", environment
    ) as made:
        yield made


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Iterator[Server]:
    """A server of two worker processes."""
    folder = tmp_path_factory.mktemp("pair")
    with run_server(
        (fill_gallery(folder / "people.gallery", embedder),),
        folder / "log",
        {"TRIREID_WORKERS": "2"},
    ) as made:
        yield made


def check_well(server: Server) -> None:
    """It is alive, nothing waits, it finds what it should, and its log holds no error."""
    assert server.client.get("/livez").status_code == 200
    server.client.post("/enroll", files=files(5), data={"id": "s5"})
    assert find_first(server, 5) == "s5"
    deadline = time.monotonic() + 10
    while measure_wait(server) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert measure_wait(server) == 0
    assert find_errors(server.log) == []


def find_first(server: Server, seed: int) -> str:
    answer = server.client.post("/search", files=files(seed), data={"k": "1"})
    assert answer.status_code == 200, answer.text
    identifier: str = answer.json()["hits"][0]["id"]
    return identifier


def measure_wait(server: Server) -> float:
    """Requests at work or waiting for it, as the server itself counts them."""
    (line,) = re.findall(
        r"^trireid_queue_requests (\S+)$", server.client.get("/metrics").text, re.MULTILINE
    )
    return float(line)


def find_errors(log: Path) -> list[str]:
    """Lines at error level, and tracebacks.

    Text that a request made up stands in lines of other levels.
    """
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return [
        line
        for line in lines
        if re.match(r"\S+ (error|critical) |Traceback|.*\[(ERROR|CRITICAL)\]|ERROR|CRITICAL", line)
    ]


def send_abuse(server: Server, abuse: Abuse) -> str | None:
    """Describe what is wrong with the answer; None if nothing is."""
    headers = [(name.encode(), value.encode("utf-8")) for name, value in abuse.headers.items()]
    try:
        answer = server.client.request(
            abuse.method, abuse.path, headers=headers, content=abuse.body
        )
    except httpx.TransportError as error:
        return f"no answer: {error!r}"
    if answer.status_code >= 500:
        return f"{answer.status_code}: {answer.text[:300]}"
    if "Traceback" in answer.text or 'File "' in answer.text:
        return f"a traceback: {answer.text[:300]}"
    if (
        answer.status_code >= 400
        and abuse.method != "HEAD"
        and set(answer.json()["error"]) != {"code", "message", "field"}
    ):
        return f"an error of another form: {answer.text[:300]}"
    return None


@pytest.mark.parametrize("sort", ["images", "requests"])
def test_malformed_requests_are_answered_as_such(abused: Server, sort: str) -> None:
    document = abused.client.get("/openapi.json").json()
    make: Callable[[int], Abuse] = (
        (lambda number: with_mutated_images(number, WHOLES))
        if sort == "images"
        else (lambda number: make_malformed(number, document, WHOLES))
    )
    with ThreadPoolExecutor(8) as pool:
        wrong = list(
            pool.map(lambda number: (number, send_abuse(abused, make(number))), range(CASES))
        )
    assert {number: what for number, what in wrong if what} == {}
    check_well(abused)


NO_HTTP = {
    "nothing": b"\r\n\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "a version to come": b"GET / HTTP/9.9\r\n\r\n",
    "no method": b"/search\r\n\r\n",
    "a negative length": b"POST /embed HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\nhello",
    "two lengths": b"POST /embed HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nContent-Length: 9\r\n\r\nhello",
    "a length in words": b"POST /embed HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: many\r\n\r\nhello",
    "chunks of nonsense": b"POST /embed HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
    "a smuggled request": b"POST /embed HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"0\r\n\r\nGET /",
    "a head without end": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 50_000,
    "a folded header": b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\r\n b\r\n\r\n",
    "a header with a NUL": b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\x00b\r\n\r\n",
    "no host": b"POST /search HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    "another protocol": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    "a path of binary": b"GET /\xff\xfe%zz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "a path that forges a line of the log": b"GET /x%0A2026-01-01T00:00:00%20error%20forged HTTP/1.1\r\n"
    b"Host: 127.0.0.1\r\n\r\n",
    "a URL for a path": b"GET http://example.com/livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
}


def test_what_is_no_http_does_no_harm(abused: Server) -> None:
    for name, data in NO_HTTP.items():
        with connect_to(abused) as connection:
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                answer = connection.recv(65536)
            except OSError:  # it hung up
                continue
        assert not re.match(rb"HTTP/1.1 5", answer), (name, answer)
        assert b"Traceback" not in answer, name
    check_well(abused)


def connect_to(server: Server) -> socket.socket:
    url = server.client.base_url
    return socket.create_connection((url.host, url.port or 80), timeout=10)


HEAD = (
    b"POST /search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
)


def test_clients_that_dawdle_hold_no_worker(abused: Server) -> None:
    """Half of them never end their headers, half of them send a byte of a body now and then."""
    usual = median(measure_time(abused) for _ in range(10))
    slow = [connect_to(abused) for _ in range(CONNECTIONS)]
    try:
        for number, each in enumerate(slow):
            each.sendall(HEAD if number % 2 else HEAD + b"Content-Length: 100000\r\n\r\n--x\r\n")
        began = time.monotonic()
        while time.monotonic() < began + BODY_SECONDS + 1:
            assert measure_time(abused) < 5 * usual + 1
            for each in slow:
                trickle(each)
        slow_bodies = [read_answer(each) for each in slow[::2]]
    finally:
        for each in slow:
            each.close()
    assert {answer[:12] for answer in slow_bodies} == {b"HTTP/1.1 408"}
    check_well(abused)


def measure_time(server: Server) -> float:
    """Seconds that a search takes."""
    began = time.perf_counter()
    find_first(server, 5)
    return time.perf_counter() - began


def trickle(connection: socket.socket) -> None:
    with suppress(OSError):  # the server has had enough of it
        connection.send(b"a")


def read_answer(connection: socket.socket) -> bytes:
    try:
        connection.settimeout(10)
        return connection.recv(65536)
    except ConnectionError as error:
        return repr(error).encode()


def test_clients_that_hang_up_hold_no_worker(abused: Server) -> None:
    """In the middle of the body, and after it, with and without taking leave."""
    whole = abused.client.build_request("POST", "/search", files=files(5), data={"k": "3"})
    body = whole.read()
    lines = ("POST /search HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}")
    head = "\r\n".join([*lines, f"Content-Type: {whole.headers['content-type']}", "", ""])
    usual = median(measure_time(abused) for _ in range(10))
    for number in range(CONNECTIONS):
        with connect_to(abused) as connection:
            connection.sendall(head.encode() + body[: len(body) // (1 + number % 2)])
            if number % 4 > 1:  # no FIN but a RST
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    measure_time(abused)  # those that were sent whole may come first
    assert median(measure_time(abused) for _ in range(5)) < 5 * usual + 1
    check_well(abused)


def test_two_workers_answer_alike_right_after_an_enrolment(pair: Server) -> None:
    before = [cpu_time(worker) for worker in workers(pair)]
    assert len(before) == 2
    for seed in range(200, 206):
        assert (
            pair.client.post("/enroll", files=files(seed), data={"id": f"new {seed}"}).status_code
            == 200
        )
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(lambda _, seed=seed: find_again(pair, seed), range(50))) == {
                f"new {seed}"
            }
    after = [cpu_time(worker) for worker in workers(pair)]
    assert all(now > then for now, then in zip(after, before, strict=True))  # both had their share


def find_again(server: Server, seed: int) -> str:
    """As `found_first`, over a connection of its own, which reaches any of the workers."""
    with httpx.Client(base_url=server.client.base_url, timeout=60, trust_env=False) as fresh:
        answer = fresh.post("/search", files=files(seed), data={"k": "1"})
    identifier: str = answer.json()["hits"][0]["id"]
    return identifier


def workers(server: Server) -> list[int]:
    """The processes that answer: children of the one that was started."""
    children = Path(f"/proc/{server.process.pid}/task").glob("*/children")
    processes = [int(child) for each in children for child in each.read_text().split()]
    return [
        each
        for each in processes
        if b"worker.service" in Path(f"/proc/{each}/cmdline").read_bytes()
    ]


def cpu_time(process: int) -> int:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_killed_workers_lose_no_acknowledged_enrolment(pair: Server) -> None:
    """A worker is killed three times, and then both at once, while clients enroll; what was sent
    again is no other item.
    """
    acknowledged: list[str] = []
    over = threading.Event()

    def enroll(first: int) -> None:
        with Client(str(pair.client.base_url), retries=12) as client:
            for number in range(first, 10**6, 4):
                if over.is_set():
                    return
                try:
                    acknowledged.append(client.enroll(make_sample(number, id=f"k{number}")).id)
                except ServiceError as error:
                    if not error.temporary:
                        raise

    with ThreadPoolExecutor(4) as pool:
        enrolling = [pool.submit(enroll, 1000 + each) for each in range(4)]
        try:
            for killed in (1, 1, 1, 2):
                wait_for_five_more(acknowledged)
                for worker in workers(pair)[:killed]:
                    os.kill(worker, signal.SIGKILL)
                wait_until(lambda: len(workers(pair)) == 2)
            wait_for_five_more(acknowledged)
        finally:
            over.set()
        for each in enrolling:
            each.result()
    with Gallery.open(pair.folders[0]) as gallery:
        there = gallery.ids()
    assert set(acknowledged) <= there
    assert len(acknowledged) == len(set(acknowledged))
    for identifier in [*acknowledged[:3], *acknowledged[-3:]]:
        assert find_again(pair, int(identifier[1:])) == identifier


def wait_for_five_more(acknowledged: list[str]) -> None:
    there = len(acknowledged)
    wait_until(lambda: len(acknowledged) >= there + 5)


def wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
