"""The audit: lines are whole, none is lost, and what cannot be recorded is not done."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.requests import Request

import trireid.cli
from tests.serving.conftest import TOKENS, Server, fill_gallery
from tests.serving.test_service import files
from trireid.gallery import Gallery
from trireid.gallery.actor import act_as, current_actor, note_replaced
from trireid.inference import Embedder
from trireid.samples.errors import AuditError, ConfigError, ItemExistsError, StoreError
from trireid.serving.access import Principal
from trireid.serving.access_control import PRINCIPAL
from trireid.serving.app import create_app
from trireid.serving.audit import Audit
from trireid.serving.auth_middleware import REQUEST_ID, ROUTE
from trireid.serving.gallery_service import GalleryService
from trireid.serving.logs import log
from trireid.serving.request_audit import RequestAudit
from trireid.serving.settings import ServerSettings


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def actions(path: Path) -> list[str]:
    return [line["action"] for line in lines(path)]


def make_failing_write(at: int, number: int) -> Callable[[int, Any], int]:
    """A disk that takes some bytes of the next line, in two parts, and then fails."""
    write = os.write
    taken: list[int] = []

    def fail(file: int, data: Any) -> int:
        if len(taken) == 2 or not at:
            raise OSError(number, os.strerror(number))
        taken.append(write(file, bytes(data)[: at // 2]))
        return taken[-1]

    return fail


def test_short_writes_make_whole_lines(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr("os.write", lambda file, data: write(file, bytes(data)[:7]))
    audit = Audit(path)
    for number in range(3):
        audit.write("search", number=number, name="Zoë")
    assert [line["number"] for line in lines(path)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, "audit_full"), (errno.EROFS, "audit"), (errno.EIO, "audit")]
)
def test_a_line_that_fails_in_its_middle_is_taken_back(
    number: int, code: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = Audit(path)
    audit.write("first")
    with monkeypatch.context() as patched:
        patched.setattr("os.write", make_failing_write(20, number))
        with pytest.raises(AuditError) as caught:
            audit.write("second")
    assert caught.value.code == code
    assert str(path) not in caught.value.message
    audit.write("third")
    assert actions(path) == ["first", "third"]


def test_a_line_that_a_killed_process_left_torn_is_ended(path: Path) -> None:
    path.write_text('{"action": "torn')
    Audit(path).write("next")
    assert [json.loads(line)["action"] for line in path.read_text().splitlines()[1:]] == ["next"]


def test_what_the_disk_has_not_confirmed_is_an_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "no")

    audit = Audit(path)
    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(AuditError):
        audit.write("enroll", durable=True)


def test_a_full_disk_and_a_pipe_are_files_too(tmp_path: Path) -> None:
    with pytest.raises(AuditError) as caught:
        Audit(Path("/dev/full")).write("enroll", durable=True)
    assert caught.value.code == "audit_full"
    os.mkfifo(tmp_path / "pipe")
    with open(tmp_path / "pipe", "r+b", buffering=0) as pipe:
        Audit(tmp_path / "pipe").write("enroll", durable=True)
        assert json.loads(pipe.read(1000))["action"] == "enroll"
    with pytest.raises(ConfigError):
        Audit(tmp_path / "no" / "audit")


def _write_forever(audit: Audit) -> None:
    while True:
        audit.write("search", filler="x" * 3000)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="shows open files on Linux alone")
def test_an_idle_process_keeps_no_space_of_a_deleted_file(path: Path) -> None:
    Audit(path).write("search")
    path.unlink()
    assert not [
        file for file in Path("/proc/self/fd").iterdir() if str(path) in os.path.realpath(file)
    ]


def test_a_pipe_that_nothing_reads_or_that_is_full_is_not_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="cannot be written"):
        Audit(tmp_path / "pipe")
    with open(tmp_path / "pipe", "r+b", buffering=0):
        audit = Audit(tmp_path / "pipe")
        with pytest.raises(AuditError):
            _write_forever(audit)
    with pytest.raises(AuditError):
        audit.write("search")


def test_a_rotated_file_loses_no_line(path: Path) -> None:
    one, other = Audit(path), Audit(path)  # as of two processes
    for audit in (one, other):
        audit.write("before")
    path.rename(path.with_suffix(".1"))
    for audit in (one, other, one):
        audit.write("after")
    assert actions(path.with_suffix(".1")) == ["before", "before"]
    assert actions(path) == ["after"] * 3
    assert path.stat().st_mode & 0o777 == 0o600


def test_many_writers_and_a_rotation_lose_no_line_and_mix_none(path: Path) -> None:
    audits = [Audit(path) for _ in range(4)]

    def write(audit: Audit) -> None:
        for number in range(50):
            audit.write("search", number=number, filler="x" * 5000)

    threads = [threading.Thread(target=write, args=[audit]) for audit in audits]
    for thread in threads:
        thread.start()
    for turn in range(5):
        if path.exists():
            path.rename(path.with_name(f"audit.{turn}"))
        time.sleep(0.02)
    for thread in threads:
        thread.join()
    found = [line["number"] for file in path.parent.iterdir() for line in lines(file)]
    assert sorted(found) == sorted(list(range(50)) * 4)


def record(
    path: Path | None, work: Callable[[dict[str, Any]], None], audit: Audit | None = None
) -> None:
    """Make a change within the audit's two lines."""
    app = SimpleNamespace(state=SimpleNamespace(audit=audit or Audit(path)))
    known = {ROUTE: "/enroll", REQUEST_ID: "r1", PRINCIPAL: Principal("ann", frozenset())}
    request = Request(
        {"type": "http", "client": ("203.0.113.9", 1), "headers": [], "app": app, **known}
    )

    async def run() -> None:
        async with RequestAudit(request).record_change(gallery="people", id="a1") as result:
            work(result)

    asyncio.run(run())


def test_the_intent_is_recorded_before_the_change_and_its_result_after(path: Path) -> None:
    seen = []

    def work(result: dict[str, Any]) -> None:
        seen.extend(lines(path))
        seen.append(current_actor())
        note_replaced(["a1"])

    record(path, work)
    intent, actor = seen
    assert (intent["action"], intent["stage"], intent["request"], intent["caller"]) == (
        "enroll",
        "intent",
        "r1",
        "ann",
    )
    assert actor == {"request": "r1", "caller": "ann", "client": "203.0.113.9"}
    result = lines(path)[1]
    assert (result["action"], result["stage"], result["outcome"]) == ("replace", "result", "done")
    assert (result["entry"], result["gallery"], result["id"]) == (intent["entry"], "people", "a1")


def test_what_cannot_be_recorded_is_not_done() -> None:
    done: list[Any] = []
    with pytest.raises(AuditError):
        record(Path("/dev/full"), done.append)
    assert not done


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ItemExistsError("no", "id"), {"outcome": "rejected", "code": "exists"}),
        (StoreError("the disk", "x"), {"outcome": "error", "error": "StoreError"}),
        (KeyError("bug"), {"outcome": "error", "error": "KeyError"}),
    ],
    ids=repr,
)
def test_a_change_that_fails_has_a_result_too(
    error: Exception, outcome: dict[str, str], path: Path
) -> None:
    def fail(_: dict[str, Any]) -> None:
        raise error

    with pytest.raises(type(error)):
        record(path, fail)
    assert outcome.items() <= lines(path)[1].items()


def test_a_result_that_cannot_be_recorded_is_logged_and_the_change_stays(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = Audit(path)
    monkeypatch.setattr(log, "propagate", True)

    def work(_: dict[str, Any]) -> None:
        monkeypatch.setattr("os.write", make_failing_write(0, errno.ENOSPC))

    record(path, work, audit)
    (loud,) = [each for each in caplog.records if "AUDIT" in each.getMessage()]
    assert loud.fields["id"] == "a1"  # type: ignore[attr-defined]


def test_a_change_at_the_command_line_is_its_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "forged")
    monkeypatch.setenv("LOGNAME", "forged")
    monkeypatch.setenv("SUDO_USER", "bob")
    actor = current_actor()
    assert (actor["uid"], actor["sudo"]) == (os.getuid(), "bob")
    assert actor["user"] != "forged"
    with act_as(caller="ann", client=None):
        assert current_actor() == {"caller": "ann"}


class Asked:
    """The application in this process over one gallery of 12 items, with an audit."""

    def __init__(self, folder: Path, audit: Path) -> None:
        self.app = create_app(audit=Audit(audit))
        self.app.state.galleries = self.galleries = GalleryService(
            [folder], ServerSettings(), SILENT
        )
        self.app.state.metrics = SILENT

    def __call__(self, method: str, path: str, **request: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(
                self.app, raise_app_exceptions=False, client=("127.0.0.1", 1)
            )
            async with httpx.AsyncClient(
                transport=transport, base_url="http://127.0.0.1"
            ) as client:
                return await client.request(method, path, **request)

        return asyncio.run(ask())


class Silent:
    """Metrics that keep nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


SILENT: Any = Silent()
EVERYTHING: dict[str, tuple[str, str, dict[str, Any]]] = {
    "search": ("POST", "/search", {"files": files(5)}),
    "embed": ("POST", "/v1/embed", {"files": files(5)}),
    "enroll": ("POST", "/enroll", {"files": files(70), "data": {"id": "new"}}),
    "replace": ("POST", "/enroll", {"files": files(71), "data": {"id": "s1"}}),
    "remove": ("POST", "/remove", {"json": {"ids": ["s0"]}}),
    "galleries": ("GET", "/galleries", {}),
    "one gallery": ("GET", "/galleries/people", {}),
    "an image": ("GET", "/images/people/3/rgb", {}),
}


@pytest.mark.parametrize("full", [True, False], ids=["full", "read-only"])
def test_nothing_is_done_or_told_that_cannot_be_recorded(
    full: bool, tmp_path: Path, embedder: Embedder, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(
        fill_gallery(tmp_path / "people.gallery", embedder), Path("/dev/full") if full else path
    )
    gallery = asked.galleries.get_gallery("people")
    before = gallery.digests()
    if not full:
        monkeypatch.setattr("os.write", make_failing_write(0, errno.EROFS))
    for method, address, request in EVERYTHING.values():
        answer = asked(method, address, **request)
        assert (answer.status_code, answer.json()["error"]["code"]) == (
            (507, "audit_full") if full else (503, "audit")
        )
    assert gallery.digests() == before
    assert not gallery.audit()
    asked.galleries.close()


def test_everything_that_is_done_or_told_has_its_lines(
    tmp_path: Path, embedder: Embedder, path: Path
) -> None:
    asked = Asked(fill_gallery(tmp_path / "people.gallery", embedder), path)
    for method, address, request in EVERYTHING.values():
        assert asked(method, address, **request).status_code == 200, address
    gallery = asked.galleries.get_gallery("people")
    stored = gallery.audit()
    asked.galleries.close()
    found = [(line["action"], line["stage"], line.get("gallery")) for line in lines(path)]
    assert found == [
        ("search", "result", "people"),
        ("embed", "result", "people"),
        ("enroll", "intent", "people"),
        ("enroll", "result", "people"),
        ("enroll", "intent", "people"),
        ("replace", "result", "people"),
        ("remove", "intent", "people"),
        ("remove", "result", "people"),
        ("galleries", "result", None),
        ("galleries", "result", "people"),
        ("images", "result", "people"),
    ]
    assert lines(path)[8]["galleries"] == ["people"]
    assert [(action, what["by"]["client"]) for _, action, what in stored] == [
        ("replace", "127.0.0.1"),
        ("remove", "127.0.0.1"),
    ]


def test_a_removal_at_the_command_line_names_its_user(tmp_path: Path, embedder: Embedder) -> None:
    folder = fill_gallery(tmp_path / "people.gallery", embedder)
    assert trireid.cli.main(["gallery", "remove", str(folder), "--identity", "1"]) == 0
    with Gallery.open(folder, create=False) as gallery:
        ((_, action, what),) = gallery.audit()
    assert (action, what["by"]["uid"]) == ("remove", os.getuid())
    assert what["by"]["user"]


def test_sighup_reopens_the_audit_of_a_running_server(guarded: Server) -> None:
    audit, headers = guarded.log.parent / "audit", {"Authorization": f"Bearer {TOKENS['boss'][1]}"}
    guarded.client.get("/galleries", headers=headers)
    rotated = audit.with_name("audit.1")
    audit.rename(rotated)
    os.kill(guarded.process.pid, signal.SIGHUP)
    answer = guarded.client.get("/galleries", headers={**headers, "X-Request-Id": "rotated"})
    assert answer.status_code == 200
    assert [line["request"] for line in lines(audit)] == ["rotated"]
    with rotated.open("ab") as file:  # other tests read the lines of before
        file.write(audit.read_bytes())
    rotated.rename(audit)
