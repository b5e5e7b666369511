"""Limits of a server: sizes, timings, numbers; and what it does with who asks for more."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import encode_image
from tests.serving.conftest import Server, run_server
from tests.serving.test_access import bearer
from tests.serving.test_service import files
from trireid.samples import ConfigError
from trireid.serving.app import create_app
from trireid.serving.deadline import time_left
from trireid.serving.schemas import EmbedAnswer
from trireid.serving.settings import MetricsAccess, ServerSettings, load_settings
from trireid.serving.timings import collect_timings, measure


def test_limits_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "TRIREID_QUEUE": "3",
        "TRIREID_RATE": "0.5",
        "TRIREID_METRICS": "open",
        "TRIREID_OPEN": "true",
        "TRIREID_BATCH": "",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    limits = load_settings()
    assert (limits.queue, limits.rate, limits.metrics, limits.open) == (
        3,
        0.5,
        MetricsAccess.OPEN,
        True,
    )
    assert limits.batch == 8


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("TRIREID_QUEUE", "0", "at least 1"),
        ("TRIREID_QUEUE", "many", "a whole number, at least 1"),
        ("TRIREID_DEADLINE", "nan", "over 0, at most 3600"),
        ("TRIREID_BODY_SECONDS", "-1", "over 0, at most 3600"),
        ("TRIREID_METRICS", "some", "one of open, admin, off"),
        ("TRIREID_OPEN", "perhaps", "true or false"),
        ("TRIREID_RATE", "-1", "at least 0"),
        *[
            ("TRIREID_WORKERS", number, "at least 1, at most 64")
            for number in ("0", "x", "65", "-1")
        ],
        ("TRIREID_PORT", "0", "at most 65535"),
        ("TRIREID_HEAD_SECONDS", "0", "at most 3600"),
        ("TRIREID_CONNECTIONS", "0", "at least 1"),
        ("TRIREID_THREADS", "0", "at least 1"),
        ("TRIREID_LOG", "xml", "one of text, json"),
    ],
)
def test_a_limit_that_does_not_fit_is_refused(
    name: str, value: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"{name}: must be .*{wanted}, not {value}$") as caught:
        load_settings()
    assert caught.value.field == name


class SlowGalleryService:
    """A service that takes its time, and notes the most that were at work at once and what deadline
    they saw.
    """

    galleries = ("people",)

    def __init__(self, seconds: float) -> None:
        self.seconds, self.left, self.lock = seconds, list[float | None](), threading.Lock()

    def embed(self, _: object, images: Any) -> EmbedAnswer:
        with self.lock:
            self.left.append(time_left())
        time.sleep(self.seconds)
        return EmbedAnswer(
            embedding=[float(len(images["rgb"].read()))], dim=1, model="slow", present=["rgb"]
        )


def ask_server(
    service: SlowGalleryService,
    limits: ServerSettings,
    count: int,
    headers: dict[str, str] | None = None,
) -> list[httpx.Response]:
    """The answers to requests that come at the same time."""
    app = create_app(limits)
    app.state.galleries = service

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            sent = {"rgb": ("a.png", encode_image(1))}
            return await asyncio.gather(
                *[client.post("/embed", files=sent, headers=headers) for _ in range(count)]
            )

    return asyncio.run(ask())


def test_a_full_queue_is_503_with_a_time_to_come_back() -> None:
    answers = ask_server(SlowGalleryService(0.2), ServerSettings(queue=3), 8)
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [503] * 5
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert refused.json()["error"]["code"] == "busy"
    assert int(refused.headers["retry-after"]) >= 1


@pytest.mark.parametrize(("header", "most"), [(None, 30), ("5", 5), ("600", 30)])
def test_a_request_has_the_servers_deadline_or_its_own_shorter_one(
    header: str | None, most: float
) -> None:
    service = SlowGalleryService(0)
    (answer,) = ask_server(
        service, ServerSettings(), 1, None if header is None else {"X-Deadline": header}
    )
    assert answer.status_code == 200
    (left,) = service.left
    assert left is not None
    assert most - 5 < left <= most


@pytest.mark.parametrize("header", ["soon", "0", "-1", "nan", "inf"])
def test_a_deadline_that_is_none_is_422(server: Server, header: str) -> None:
    answer = server.client.post(
        "/search", files=files(5), data={"gallery": "people"}, headers={"X-Deadline": header}
    )
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "X-Deadline")


def test_a_declared_length_over_the_limit_is_refused_before_it_is_sent(guarded: Server) -> None:
    answer = spoken(guarded, b"Content-Length: 9999999\r\n", b"", wait=1.5)
    assert b"413" in answer.split(b"\r\n")[0]
    assert json.loads(answer.split(b"\r\n\r\n")[1])["error"]["code"] == "too_large"


def test_a_body_that_trickles_in_is_408_after_its_time(guarded: Server) -> None:
    began = time.monotonic()
    part = b'--x\r\nContent-Disposition: form-data; name="rgb"; filename="a"\r\n\r\n'
    first = f"{len(part):x}\r\n".encode() + part + b"\r\n"
    answer = spoken(
        guarded, b"Transfer-Encoding: chunked\r\n", b"1\r\nx\r\n", wait=10, every=0.2, first=first
    )
    assert b"408" in answer.split(b"\r\n")[0]
    assert 1.5 < time.monotonic() - began < 6


def spoken(
    server: Server, header: bytes, body: bytes, *, wait: float, every: float = 0, first: bytes = b""
) -> bytes:
    """The answer of a server to a client that sends a header, then the same bit of a body over and
    over, and never ends.
    """
    url = server.client.base_url
    token = bearer("boss")["Authorization"].encode()
    with socket.create_connection((url.host, url.port or 80), 10) as connection:
        connection.sendall(
            b"POST /search HTTP/1.1\r\nHost: here\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            b"Authorization: " + token + b"\r\n" + header + b"\r\n" + first
        )
        connection.settimeout(every or wait)
        until, said = time.monotonic() + wait, b""
        while time.monotonic() < until and not said.endswith(b"}}"):
            if body and not said:
                connection.sendall(body)
            with suppress(TimeoutError):
                said += connection.recv(65536)
    return said


def test_metrics_count_what_happened_and_not_what_strangers_make_up(server: Server) -> None:
    for n in range(3):
        server.client.get(f"/made/up/{n}")
    server.client.post("/search", files=files(5), data={"gallery": "people"})
    server.client.post("/search", files={"rgb": ("a", b"junk")}, data={"gallery": "people"})
    text = server.client.get("/metrics").text
    values = {
        line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line[:1] != "#"
    }
    assert values['trireid_requests_total{path="other",status="404"}'] >= 3
    assert "made" not in text
    assert values['trireid_requests_total{path="/search",status="200"}'] >= 1
    assert values['trireid_errors_total{code="format"}'] >= 1
    assert values['trireid_gallery_items{gallery="people"}'] == 12
    assert values["trireid_batch_samples_count"] >= 1
    for name in ("decode", "embed", "search"):
        assert values[f'trireid_stage_seconds_count{{stage="{name}"}}'] >= 1
    assert values["trireid_queue_requests"] == 0


def test_a_stage_does_not_count_what_is_within_it() -> None:
    with collect_timings() as timings, measure("search"):
        time.sleep(0.02)
        with measure("embed"):
            time.sleep(0.05)
        with measure("embed"):
            time.sleep(0.05)
    assert timings["embed"] == pytest.approx(0.1, abs=0.04)
    assert timings["search"] == pytest.approx(0.02, abs=0.019)


def test_a_request_in_flight_is_answered_when_the_server_is_told_to_stop(
    server: Server, tmp_path: Path
) -> None:
    with (
        run_server((server.folders[1],), tmp_path / "log") as other,
        socket.create_connection(
            (other.client.base_url.host, other.client.base_url.port or 80), 30
        ) as connection,
    ):
        request = other.client.build_request("POST", "/embed", files=files(5))
        body = request.read()
        head = f"POST /embed HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {request.headers['content-type']}\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-10])
        time.sleep(0.3)
        other.process.terminate()
        time.sleep(0.5)
        connection.sendall(body[-10:])
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        assert other.process.wait(30) == 0


def test_a_gallery_that_moves_to_another_network_is_served_by_it_at_once(
    other_artifact: Path, embedder: Any, tmp_path: Path
) -> None:
    from tests.conftest import make_sample
    from trireid.gallery import Gallery
    from trireid.gallery.reembedding import reembed
    from trireid.inference import load_artifact

    folder = tmp_path / "moving.gallery"
    with Gallery.open(folder, embedder) as gallery:
        gallery.add([make_sample(i, id=f"m{i}") for i in range(3)], keep=True)
    with run_server((folder,), tmp_path / "log") as moving:
        before = moving.client.post("/search", files=files(1), data={"k": "1"}).json()
        reembed(folder, load_artifact(other_artifact))
        after = moving.client.post("/search", files=files(1), data={"k": "1"}).json()
    assert (before["model"], after["model"]) == ("tiny", "other")
    assert [each["hits"][0]["id"] for each in (before, after)] == ["m1", "m1"]
    assert after["hits"][0]["score"] == pytest.approx(1, abs=1e-5)
