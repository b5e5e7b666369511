"""The Python client against the real server, and its retries against one that is told how to fail."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT, make_pixels, make_sample
from tests.serving.conftest import TOKENS, Server
from trireid.gallery import Gallery
from trireid.samples import Sample
from trireid.samples.errors import ImageError, ServiceError, TrireidError
from trireid.serving.client import AsyncClient, Client
from trireid.serving.schemas import EmbedAnswer


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(str(server.client.base_url), retries=0) as made:
        yield made


def test_everything_that_the_service_can_do(client: Client) -> None:
    found = client.search(
        Sample(**images(5), camera=1), "people", k=3, where={"identity": "2"}, other_cameras=True
    )
    assert [hit.rank for hit in found.hits] == [1, 2, 3]
    assert {(hit.identity, hit.camera == 1) for hit in found.hits} == {("2", False)}
    assert (found.gallery, found.present, set(found.timings)) == (
        "people",
        ["rgb", "nir", "tir"],
        {"decode", "embed", "search"},
    )
    known: dict[str, Any] = {
        "identity": "Zoë",
        "camera": 7,
        "time": "2026-01-01T00:00:00",
        "kind": "person",
        "attributes": {"coat": "red"},
    }
    sample = Sample(**images(50), **known)
    made = client.enroll(sample, "people").id
    assert client.enroll(Sample(id="mine", **images(51), identity="Zoë"), "people").id == "mine"
    hit = client.search(sample, "people", k=1, min_score=0.9).hits[0]
    assert hit.id == made
    assert {name: getattr(hit, name) for name in known} == known
    detail = client.gallery("people")
    assert (detail.size, detail.by_kind["person"]) == (client.galleries().galleries[0].size, 14)
    assert client.remove("people", identity="Zoë").removed == 2
    assert client.remove("people", ids=[made]).removed == 0
    assert client.whoami().open


def images(seed: int) -> dict[str, Any]:
    sample = make_sample(seed)
    return {"rgb": sample.rgb, "nir": sample.nir, "tir": sample.tir}


def test_images_of_every_kind_arrive_unchanged(
    client: Client, tmp_path: Path, server: Server
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8)
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(png.getvalue())
    kinds: list[Any] = [pixels, Image.fromarray(pixels), png.getvalue(), path, str(path)]
    embedded = [client.embed(Sample(nir=each), "people").embedding for each in kinds]
    with Gallery.open(server.folders[0]) as gallery:
        expected = gallery.embedder.embed([Sample(nir=pixels)])[0]
    for each in embedded:
        assert each == embedded[0]
    assert np.abs(np.array(embedded[0]) - expected).max() < 1e-6


def test_an_event_loop_asks_many_things_at_once(server: Server) -> None:
    async def ask() -> list[str]:
        async with AsyncClient(str(server.client.base_url)) as client:
            answers = await asyncio.gather(
                *(client.search(Sample(**images(i)), "people", k=1) for i in range(12))
            )
            with pytest.raises(ServiceError):
                await client.gallery("pets")
            return [answer.hits[0].id for answer in answers]

    assert asyncio.run(ask()) == [f"s{i}" for i in range(12)]


def test_what_the_server_refuses_is_an_error_with_all_that_it_told(
    server: Server, guarded: Server
) -> None:
    with Client(str(server.client.base_url)) as client, pytest.raises(ServiceError) as caught:
        client.search(Sample(rgb=b"not an image"), "people")
    error = caught.value
    assert (error.status, error.code, error.field, error.temporary) == (415, "format", "rgb", False)
    assert isinstance(error, TrireidError)
    assert f"id={error.request_id}" in wait_for(server.log, error.request_id)
    with (
        Client(str(guarded.client.base_url), "wrong-0123456789abcdef") as client,
        pytest.raises(ServiceError, match="token") as caught,
    ):
        client.whoami()
    assert (caught.value.status, caught.value.code) == (401, "unauthorized")
    with Client(str(guarded.client.base_url), TOKENS["ann"][1]) as client:
        assert client.whoami().name == "ann"
        assert TOKENS["ann"][1] not in repr(client)


def wait_for(log: Path, text: str) -> str:
    deadline = time.monotonic() + 10
    while text not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    return log.read_text()


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda client: client.search(Sample()), ImageError),
        (lambda client: client.search(Sample(rgb="/gone.png")), ImageError),
        (lambda client: client.search(Sample(rgb=np.zeros((4, 4), np.uint8))), ImageError),
        (lambda client: client.search(Sample(**images(1)), where={"a": {1}}), TrireidError),
        (
            lambda client: client.enroll(Sample(**images(1), attributes={"a": float("nan")})),
            TrireidError,
        ),
        (lambda client: client.enroll(Sample(**images(1), attributes={"a": {1}})), TrireidError),
        (lambda _: Client("127.0.0.1:3000"), TrireidError),
        (lambda _: Client("http://"), TrireidError),
        (lambda _: Client("http://user:word@host"), TrireidError),
        (lambda _: Client("http://127.0.0.1", "two words"), TrireidError),
    ],
)
def test_what_cannot_be_sent_is_said_before_anything_is(
    ask: Callable[[Client], Any], error: type[TrireidError]
) -> None:
    with Client("http://127.0.0.1:1", retries=0) as client, pytest.raises(error) as caught:
        ask(client)
    assert not isinstance(caught.value, ServiceError)
    assert "\n" not in caught.value.message


# A server that fails as it is told: each entry of `script` is a status, or what happens to the
# connection.

EMBEDDED = EmbedAnswer(embedding=[1.0], dim=1, model="m", present=["rgb"]).model_dump() | {
    "new": "field"
}
DONE: dict[str, dict[str, Any]] = {
    "/v1/embed": EMBEDDED,
    "/v1/enroll": {"id": "a"},
    "/v1/remove": {"removed": 1},
}
HANG_UP, CUT, SLOW = "hang up", "cut", "slow"


class Scripted(ThreadingHTTPServer):
    """Answers by the script, and then well; notes every request: path, id, body, when."""

    daemon_threads = True

    def __init__(self, script: list[Any], retry_after: str | None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.retry_after = script, retry_after
        self.seen: list[tuple[str, str, bytes, float]] = []

    def handle_error(self, *_: Any) -> None:
        """A client that gave up is none of ours."""


class Handler(BaseHTTPRequestHandler):
    server: Scripted
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.seen.append((self.path, self.headers["x-request-id"], body, time.monotonic()))
        step = self.server.script.pop(0) if self.server.script else 200
        if step == HANG_UP:
            self.close_connection = True
            return
        if step == SLOW:
            threading.Event().wait(1)
        code = step if isinstance(step, int) else 200
        answer = (
            DONE.get(self.path)
            if code == 200
            else {"error": {"code": "busy", "message": "later", "field": None}}
        )
        text = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        if code != 200 and self.server.retry_after is not None:
            self.send_header("Retry-After", self.server.retry_after)
        self.end_headers()
        self.wfile.write(text[: len(text) // 2] if step == CUT else text)
        self.close_connection = step == CUT

    def log_message(self, *_: Any) -> None:
        """Nothing on standard error."""


@contextmanager
def serve_script(*script: Any, retry_after: str | None = None) -> Iterator[tuple[str, Scripted]]:
    made = Scripted(list(script), retry_after)
    thread = threading.Thread(
        target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
    )
    thread.start()
    try:
        yield f"http://127.0.0.1:{made.server_address[1]}", made
    finally:
        made.shutdown()
        made.server_close()
        thread.join()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The client's waits, which take no time."""
    waited: list[float] = []
    monkeypatch.setattr("trireid.serving.client.time.sleep", waited.append)
    return waited


def test_a_busy_server_is_asked_again_later_and_later(waits: list[float]) -> None:
    with serve_script(503, 429, 503) as (url, made), Client(url) as client:
        assert (
            client.embed(make_sample(1)).dim == 1
        )  # a field that a newer server adds is no matter
        assert client.remove(ids=["a"]).removed == 1
    assert [path for path, *_ in made.seen] == ["/v1/embed"] * 4 + ["/v1/remove"]
    assert len({request_id for _, request_id, *_ in made.seen[:4]}) == 1
    for wait, most in zip(waits, (0.25, 0.5, 1.0), strict=True):
        assert most / 2 <= wait <= most


def test_retries_have_an_end(waits: list[float]) -> None:
    with serve_script(*[503] * 20) as (url, made), Client(url, retries=8) as client:
        with pytest.raises(ServiceError, match="later") as caught:
            client.embed(make_sample(1))
        assert len(made.seen) == 9
    assert (caught.value.status, caught.value.code, caught.value.temporary) == (503, "busy", True)
    assert max(waits) <= 8


def test_retry_after_is_honoured(waits: list[float]) -> None:
    with serve_script(503, retry_after="3") as (url, _), Client(url) as client:
        client.enroll(make_sample(1))
    assert 3 < waits.pop() <= 3.25
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    with serve_script(429, retry_after=moment) as (url, _), Client(url) as client:
        client.remove(identity="Ann")
    assert 25 < waits.pop() <= 30.25
    with (
        serve_script(503, retry_after="3600") as (url, made),
        Client(url) as client,
        pytest.raises(ServiceError),
    ):
        client.embed(make_sample(1))
    assert (len(made.seen), waits) == (1, [])


@pytest.mark.parametrize("failure", [HANG_UP, CUT])
def test_after_a_lost_answer_only_what_does_no_harm_is_done_again(
    waits: list[float], failure: str
) -> None:
    with serve_script(failure) as (url, made), Client(url) as client:
        assert client.enroll(make_sample(1)).id == "a"
    first, second = (
        body.partition(b'name="id"\r\n\r\n')[2].partition(b"\r\n")[0] for _, _, body, _ in made.seen
    )
    assert (len(first), first) == (32, second)  # the id was made before the first try
    with serve_script(failure) as (url, made), Client(url) as client:
        with pytest.raises(ServiceError) as caught:
            client.remove(identity="Ann")
        assert len(made.seen) == 1
    assert (caught.value.status, caught.value.code, caught.value.temporary) == (
        None,
        "connection",
        True,
    )


def test_a_slow_server_is_not_given_the_same_work_twice(waits: list[float]) -> None:
    with serve_script(SLOW) as (url, made), Client(url, timeout=0.2) as client:
        with pytest.raises(ServiceError, match="timed out"):
            client.embed(make_sample(1))
        assert (len(made.seen), waits) == (1, [])


def test_a_server_that_is_not_there_is_tried_again_for_everything(waits: list[float]) -> None:
    with (
        Client("http://127.0.0.1:1", retries=2) as client,
        pytest.raises(ServiceError, match="no answer"),
    ):
        client.remove(identity="Ann")
    assert len(waits) == 2


def test_an_answer_of_something_else_is_told_as_such() -> None:
    with serve_script(200, 502) as (url, _), Client(f"{url}/elsewhere") as client:
        with pytest.raises(ServiceError, match="not the answer of a trireid server") as caught:
            client.embed(make_sample(1))
        assert caught.value.code == "answer"
        with pytest.raises(ServiceError) as caught:
            client.embed(make_sample(1))
        assert caught.value.status == 502


def test_the_event_loop_is_as_patient() -> None:
    async def ask(url: str) -> int:
        async with AsyncClient(url) as client:
            return (await client.embed(make_sample(1))).dim

    with serve_script(503, HANG_UP) as (url, made):
        assert asyncio.run(ask(url)) == 1
    assert len(made.seen) == 3
    assert made.seen[1][3] - made.seen[0][3] >= 0.125


# The command line.


def search(*arguments: object, token: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trireid", "search", *map(str, arguments)]
    environment = {**os.environ, "TRIREID_TOKEN": token or ""}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False, env=environment
    )


def test_search_at_a_url_prints_what_search_in_a_folder_does(
    guarded: Server, tmp_path: Path
) -> None:
    Image.fromarray(make_pixels(15)).save(tmp_path / "q.png")
    asked = [
        "--rgb",
        tmp_path / "q.png",
        "-k",
        4,
        "--camera",
        1,
        "--where",
        '{"identity": ["0", "2"]}',
        "--by-identity",
    ]
    here = search("--gallery", guarded.folders[0], *asked, "--json")
    there = search(
        "--url",
        guarded.client.base_url,
        "--gallery",
        "people",
        *asked,
        "--json",
        token=TOKENS["ann"][1],
    )
    assert there.returncode == 0, there.stderr
    found, expected = (json.loads(each.stdout)["hits"] for each in (there, here))
    assert [set(hit) for hit in found] == [set(hit) for hit in expected]
    for hit, same in zip(found, expected, strict=True):
        assert hit == {**same, "score": pytest.approx(same["score"], abs=1e-5)}
    table = search("--url", guarded.client.base_url, "--token", TOKENS["ann"][1], *asked)
    assert table.stdout == search("--gallery", guarded.folders[0], *asked).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["--rgb", "a.png"], 2, "give --gallery DIR, or --url"),
        (["--gallery", "x", "--token", "t", "--rgb", "a.png"], 2, "--token is for a server"),
        (
            ["--url", "http://127.0.0.1:1", "--model", "m.onnx"],
            2,
            "--model is for a gallery's folder",
        ),
        (
            ["--url", "http://127.0.0.1:1", "--threads", "2"],
            2,
            "--threads is for a gallery's folder",
        ),
        (["--url", "ftp://there", "--rgb", "a.png"], 2, "must be like http://"),
        (["--url", "http://127.0.0.1:1", "--rgb", "/gone.png"], 2, "cannot be read"),
    ],
)
def test_what_makes_no_sense_together_is_one_clear_line(
    arguments: list[str], code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import trireid.cli

    assert trireid.cli.main(["search", *arguments]) == code
    told = capsys.readouterr().err
    assert line in told
    assert told.count("\n") == 1


def test_a_server_that_refuses_or_is_away_is_one_clear_line(
    guarded: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import trireid.cli

    Image.fromarray(make_pixels(15)).save(tmp_path / "q.png")
    monkeypatch.delenv("TRIREID_TOKEN", raising=False)
    assert (
        trireid.cli.main(
            ["search", "--url", str(guarded.client.base_url), "--rgb", str(tmp_path / "q.png")]
        )
        == 2
    )
    assert "a token is needed" in capsys.readouterr().err
    monkeypatch.setattr("trireid.serving.client.time.sleep", lambda _: None)
    assert (
        trireid.cli.main(
            ["search", "--url", "http://127.0.0.1:1", "--rgb", str(tmp_path / "q.png")]
        )
        == 1
    )
    assert "no answer" in capsys.readouterr().err


def test_the_example_of_the_async_client(server: Server, tmp_path: Path) -> None:
    Image.fromarray(make_pixels(15)).save(tmp_path / "q.png")
    script = ROOT / "examples" / "async_client.py"
    done = subprocess.run(
        [
            sys.executable,
            str(script),
            str(server.client.base_url),
            "people",
            str(tmp_path / "q.png"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("image 0: ")
    assert "no hits" not in done.stdout
