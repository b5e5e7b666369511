"""Connections that break HTTP's bounds, against a real server."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.serving.conftest import Server, fill_gallery, read_memory, run_server
from tests.serving.test_access import bearer
from tests.serving.test_service import files
from trireid.inference import Embedder
from trireid.serving.http_protocol import MAX_HEAD_BYTES, MAX_PIPELINE

HEAD_SECONDS = 1.0
GET = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Iterator[Server]:
    """A server with tokens of its own that waits one second for a request's head."""
    folder = tmp_path_factory.mktemp("bounded")
    environment = {
        "TRIREID_HEAD_SECONDS": str(HEAD_SECONDS),
        "TRIREID_TOKENS": "ann search ann-0123456789abcdef",
    }
    with run_server(
        (fill_gallery(folder / "people.gallery", embedder),), folder / "log", environment
    ) as made:
        yield made


@contextmanager
def connect(server: Server) -> Iterator[socket.socket]:
    """A bare connection to a server."""
    url = server.client.base_url
    with socket.create_connection((url.host, url.port or 80), 10) as connection:
        yield connection


def receive(connection: socket.socket, seconds: float = 10) -> bytes:
    """All that a server sends until it closes the connection. Fails where it keeps it open."""
    connection.settimeout(seconds)
    received = b""
    with suppress(ConnectionError):
        while part := connection.recv(65536):
            received += part
    return received


def send(connection: socket.socket, part: bytes, times: int) -> int:
    """Send a part many times, as far as the server lets it; returns how many bytes went."""
    sent = 0
    with suppress(ConnectionError, TimeoutError):
        for _ in range(times):
            connection.sendall(part)
            sent += len(part)
    return sent


@pytest.mark.parametrize(
    ("begin", "part"),
    [
        (GET, b"X-A: " + b"a" * 60_000 + b"\r\n"),
        (GET, b"X-A: a\r\n" * 8000),
        (GET + b"X-A: ", b"a" * 64_000),
        (GET, b"a" * 64_000),
        (b"GET /", b"a" * 64_000),
        (b"G" * 10, b"G" * 64_000),
    ],
    ids=["headers", "small headers", "one value", "one name", "target", "method"],
)
def test_a_head_that_does_not_end_is_refused_before_it_is_stored(
    bounded: Server, begin: bytes, part: bytes
) -> None:
    before = read_memory(bounded)
    with connect(bounded) as connection:
        connection.sendall(begin)
        send(connection, part, 400)
        answer = receive(connection)
    assert answer.split(b"\r\n")[0].split(b" ")[1] in (b"431", b"400") or not answer
    assert read_memory(bounded) - before < 16 << 20
    assert bounded.client.get("/livez").status_code == 200


def test_an_ordinary_head_passes_and_one_over_the_bound_is_431_with_the_errors_form(
    bounded: Server,
) -> None:
    for size, status in ((MAX_HEAD_BYTES - 1000, b"200"), (MAX_HEAD_BYTES + 1, b"431")):
        with connect(bounded) as connection:
            connection.sendall(GET + b"X-A: " + b"a" * size + b"\r\nConnection: close\r\n\r\n")
            answer = receive(connection)
            assert answer.split(b" ")[1] == status
    assert json.loads(answer.split(b"\r\n\r\n")[1])["error"]["code"] == "too_large"


@pytest.mark.parametrize("part", [b"", b"\r\n", b"a"], ids=["silence", "empty lines", "a trickle"])
def test_a_head_that_takes_its_time_is_408(bounded: Server, part: bytes) -> None:
    began = time.monotonic()
    with connect(bounded) as connection:
        connection.sendall(b"" if part == b"\r\n" else GET + b"X-A: ")
        connection.settimeout(0.1)
        answer = b""
        while time.monotonic() - began < 10:
            with suppress(TimeoutError):
                if not (more := connection.recv(4096)):
                    break
                answer += more
            with suppress(ConnectionError):
                connection.sendall(part)
    assert answer.split(b" ")[1] == b"408"
    assert HEAD_SECONDS * 0.9 < time.monotonic() - began < 8


def test_trailers_and_endless_framing_end_a_connection(bounded: Server) -> None:
    head = (
        b"POST /search HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\nAuthorization: "
        + b"Bearer ann-0123456789abcdef\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n"
    )
    before = read_memory(bounded)
    for begin, part in (
        (b"0\r\n", b"X-Deadline: 1\r\n"),
        (b"0\r\nX-A: ", b"a" * 60_000),
        (b"1;", b"a" * 60_000),
    ):
        with connect(bounded) as connection:
            connection.sendall(head + begin)
            sent = send(connection, part, 1000)
            receive(connection)
            assert sent < 1000 * len(part) or part.endswith(b"\r\n")
    assert read_memory(bounded) - before < 16 << 20


def test_a_long_pipeline_is_cut_without_a_traceback(bounded: Server) -> None:
    one = GET + b"\r\n"
    with connect(bounded) as connection:
        connection.sendall(one * (MAX_PIPELINE // 2) + GET + b"Connection: close\r\n\r\n")
        assert receive(connection).count(b"HTTP/1.1 200") == MAX_PIPELINE // 2 + 1
    for _ in range(5):
        with connect(bounded) as connection:
            connection.sendall(one * 5000)
            connection.close()
    assert bounded.client.get("/livez").status_code == 200
    assert "Traceback" not in bounded.log.read_text()


@pytest.mark.parametrize(
    "lines", [b"Host: 127.0.0.1\r\nHost: evil\r\n", b"Host: 127.0.0.1\r\nHost: 127.0.0.1\r\n", b""]
)
def test_a_request_has_one_host(server: Server, lines: bytes) -> None:
    with connect(server) as connection:
        connection.sendall(b"GET /galleries HTTP/1.1\r\n" + lines + b"Connection: close\r\n\r\n")
        assert receive(connection).split(b" ")[1] == b"400"


def test_an_answer_before_the_end_of_a_body_is_read_by_an_honest_client(guarded: Server) -> None:
    """A body that is not wanted is discarded, so that the client sees why."""
    sent = {"rgb": ("a.png", b"a" * 1_500_000)}
    assert guarded.client.post("/search", files=sent).status_code == 401
    for _ in range(5):
        large = {"rgb": ("a.png", b"a" * 8_000_000)}
        assert guarded.client.post("/search", files=large, headers=bearer("ann")).status_code == 413
    assert guarded.client.post("/search", files=files(5), headers=bearer("ann")).status_code == 200


def test_connections_over_the_limit_are_503(tmp_path: Path, embedder: Embedder) -> None:
    environment = {"TRIREID_CONNECTIONS": "5"}
    with run_server(
        (fill_gallery(tmp_path / "people.gallery", embedder),), tmp_path / "log", environment
    ) as small:
        held = [
            socket.create_connection((small.client.base_url.host, small.client.base_url.port or 80))
            for _ in range(5)
        ]
        with connect(small) as connection:
            assert receive(connection).split(b" ")[1] == b"503"
        for each in held:
            each.close()


def test_a_request_that_arrives_in_one_piece_is_no_head(bounded: Server) -> None:
    """Larger than a head may be, with its body, in one read of the socket."""
    for _ in range(3):
        sent = {"rgb": ("a.png", b"a" * 50_000)}
        assert bounded.client.post("/search", files=sent, headers=bearer("ann")).status_code == 415


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET http://evil.example/livez", b"400"),
        (b"GET http://127.0.0.1@evil.example/livez", b"400"),
        (b"CONNECT evil.example:443", b"400"),
        (b"GET http://127.0.0.1/livez", b"200"),
    ],
)
def test_a_target_that_names_another_host_is_refused(
    bounded: Server, request_line: bytes, status: bytes
) -> None:
    with connect(bounded) as connection:
        connection.sendall(
            request_line + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        )
        assert receive(connection).split(b" ")[1] == status
