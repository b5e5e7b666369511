"""Every operation with every scope, in many spellings of its path: none reaches what it should not."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.serving.conftest import TOKENS, Server, fill_gallery, run_server
from tests.serving.test_access import bearer
from tests.serving.test_service import files
from trireid.gallery import Gallery
from trireid.inference import Embedder, load_artifact
from trireid.samples import ConfigError
from trireid.serving.access import Grant, Scope, TokenStore
from trireid.serving.routes import OperationRoute, router

#: Spellings of a path that a router, a proxy or a check of prefixes may read in different ways.
SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda path: path,
    "newline": lambda path: path + "%0a",
    "newline before": lambda path: "/%0a" + path[1:],
    "carriage return": lambda path: path + "%0d",
    "both": lambda path: path + "%0d%0a",
    "nul": lambda path: path + "%00",
    "tab": lambda path: path + "%09",
    "delete": lambda path: path + "%7f",
    "next line": lambda path: path + "%c2%85",
    "line separator": lambda path: path + "%e2%80%a8",
    "slash behind": lambda path: path + "/",
    "two slashes": lambda path: "/" + path,
    "dot": lambda path: "/." + path,
    "dots": lambda path: "/ui/.." + path,
    "encoded dots": lambda path: "/ui/%2e%2e" + path,
    "public first": lambda path: "/docs/.." + path,
    "backslash": lambda path: "/ui\\.." + path,
    "encoded slash": lambda path: "/%2f" + path[1:],
    "encoded letter": lambda path: f"/%{ord(path[1]):02x}{path[2:]}",
    "encoded twice": lambda path: f"/%25{ord(path[1]):02x}{path[2:]}",
    "capitals": lambda path: path.upper(),
    "semicolon": lambda path: path + ";a=b",
    "space": lambda path: path + "%20",
    "query": lambda path: path + "?x=1",
    "version": lambda path: "/v1" + path,
    "version newline": lambda path: "/v1" + path + "%0a",
    "version twice": lambda path: "/v1/v1" + path,
    "full width": lambda path: "/%ef%bc%8f" + path[1:],
}
#: Those that are the operation itself.
SAME = ("plain", "encoded letter", "version")


def ask(server: Server, method: str, path: str, headers: dict[str, str], **body: Any) -> int:
    """Send a path byte for byte, which no client library does; returns the status."""
    request = server.client.build_request(method, "/", headers=headers, **body)
    content = request.read()
    url = server.client.base_url
    lines = [
        f"{method} {path} HTTP/1.1",
        *(f"{name}: {value}" for name, value in request.headers.items()),
    ]
    with socket.create_connection((url.host, url.port or 80), 30) as connection:
        connection.sendall(
            "\r\n".join([*lines, "", ""]).encode("latin-1").replace(b"keep-alive", b"close")
            + content
        )
        answer = b""
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65536):
                answer += part
    return int(answer.split(b" ")[1])


def fill(path: str) -> str:
    return path.replace("{gallery}", "people").replace("{key}", "1").replace("{modality}", "rgb")


BODIES: dict[str, dict[str, Any]] = {
    "/search": {"files": files(5)},
    "/embed": {"files": files(5)},
    "/enroll": {"files": files(71)},
    "/remove": {"json": {"ids": ["absent"]}},
}


@pytest.mark.parametrize("route", router.routes, ids=lambda route: route.path)
def test_no_spelling_of_a_path_reaches_an_operation_without_its_scope(
    guarded: Server, route: OperationRoute
) -> None:
    path, method = fill(route.path), "GET" if "GET" in (route.methods or ()) else "POST"
    needed = next(iter(route.security_scopes), None)
    for name, (scope, _) in TOKENS.items():
        may = needed is None or scope in (needed, "admin")
        for spelling, spell in SPELLINGS.items():
            status = ask(guarded, method, spell(path), bearer(name), **BODIES.get(route.path, {}))
            if spelling in SAME:
                assert status == (200 if may else 403), (spelling, name)
            else:
                # The user interface is public, and so is what it says of a file that it does not
                # have.
                assert status in ((400, 403, 404, 405) if not may else (400, 404, 405, 422)), (
                    spelling,
                    name,
                    status,
                )
    for spell in SPELLINGS.values():
        assert ask(guarded, method, spell(path), {}, **BODIES.get(route.path, {})) in (
            400,
            401,
            404,
            405,
        )


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/metrics%0a",
        "/v1/metrics",
        "/metrics/",
        "//metrics",
        "/schema.json",
        "/docs.json",
    ],
)
def test_metrics_and_bentomls_own_pages_are_for_admins_or_no_one(
    guarded: Server, path: str
) -> None:
    for name in ("ann", "eve", "rob"):
        assert ask(guarded, "GET", path, bearer(name)) in (400, 403, 404)
    allowed = 200 if path in ("/metrics", "/v1/metrics") else None
    assert ask(guarded, "GET", path, bearer("boss")) in (allowed, 400, 404)
    assert ask(guarded, "GET", path, {}) in (400, 401)


@pytest.mark.parametrize(
    "path", ["/livez%0a", "/readyz%0a", "/livez/../remove", "/readyz/", "/livez;x"]
)
def test_health_is_public_by_its_exact_path_alone(guarded: Server, path: str) -> None:
    assert ask(guarded, "GET", path, {}) in (400, 401)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "GET"])
def test_another_method_is_405_for_who_may_and_tells_which(guarded: Server, method: str) -> None:
    answer = guarded.client.request(method, "/remove", headers=bearer("rob"))
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert guarded.client.request(method, "/remove").status_code == 401
    assert guarded.client.request(method, "/remove", headers=bearer("ann")).status_code == 403


LIMITED = """
ann    search:people                  ann-0123456789abcdef
eve    search:cars,enroll:cars        eve-0123456789abcdef
may    enroll:people                  may-0123456789abcdef
rep    enroll:people,remove:people    rep-0123456789abcdef
boss   admin:people                   boss-0123456789abcdef
root   admin                          root-0123456789abcdef
late   admin                          late-0123456789abcdef    2020-01-01
soon   search                         soon-0123456789abcdef    expires=2999-01-01T00:00Z
"""


def as_user(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}-0123456789abcdef"}


@pytest.fixture(scope="module")
def limited(
    tmp_path_factory: pytest.TempPathFactory, embedder: Embedder, other_artifact: Path
) -> Iterator[Server]:
    """Galleries `people` and `cars` behind tokens that are limited to one of them."""
    folder = tmp_path_factory.mktemp("limited")
    people, cars = fill_gallery(folder / "people.gallery", embedder), folder / "cars.gallery"
    Gallery.open(cars, load_artifact(other_artifact)).close()
    (folder / "tokens").write_text(LIMITED)
    (folder / "tokens").chmod(0o600)
    environment = {
        "TRIREID_TOKENS_FILE": str(folder / "tokens"),
        "TRIREID_LOG": "json",
        "TRIREID_AUDIT": str(folder / "audit"),
    }
    with run_server((people, cars), folder / "log", environment) as made:
        yield made


def test_a_token_may_be_limited_to_a_gallery(limited: Server) -> None:
    def search(name: str, gallery: str | None) -> int:
        data = {} if gallery is None else {"gallery": gallery}
        return limited.client.post(
            "/search", files=files(5), data=data, headers=as_user(name)
        ).status_code

    assert [search("ann", each) for each in ("people", None, "cars", "absent")] == [
        200,
        200,
        403,
        403,
    ]
    assert [search("eve", each) for each in ("people", None, "cars")] == [403, 200, 200]
    assert [search("may", each) for each in ("people", None)] == [403, 403]
    assert [search("root", each) for each in ("people", "cars", None, "absent")] == [
        200,
        200,
        400,
        404,
    ]
    for name, seen in (("ann", ["people"]), ("eve", ["cars"]), ("root", ["people", "cars"])):
        galleries = limited.client.get("/galleries", headers=as_user(name)).json()["galleries"]
        assert [each["name"] for each in galleries] == seen
    assert limited.client.get("/galleries/people", headers=as_user("eve")).status_code == 403
    assert limited.client.get("/images/people/1/rgb", headers=as_user("eve")).status_code == 403
    assert limited.client.get("/images/people/1/rgb", headers=as_user("ann")).status_code == 200
    assert (
        limited.client.post(
            "/remove", json={"gallery": "cars", "ids": ["a"]}, headers=as_user("rep")
        ).status_code
        == 403
    )
    assert limited.client.get("/metrics", headers=as_user("boss")).status_code == 403
    assert limited.client.get("/metrics", headers=as_user("root")).status_code == 200
    said = limited.client.get("/whoami", headers=as_user("eve")).json()
    assert said["scopes"] == ["search:cars", "enroll:cars"]


def test_replacing_an_item_needs_remove_too(limited: Server) -> None:
    def enroll(name: str, seed: int) -> tuple[int, str]:
        data = {"gallery": "people", "id": "replaced", "identity": f"number {seed}"}
        answer = limited.client.post("/enroll", files=files(seed), data=data, headers=as_user(name))
        return answer.status_code, answer.text

    assert enroll("may", 80)[0] == 200
    status, text = enroll("may", 81)
    assert (status, "remove" in text) == (403, True)
    found = limited.client.post(
        "/search", files=files(80), data={"k": "1"}, headers=as_user("ann")
    ).json()["hits"][0]
    assert (found["id"], found["identity"]) == ("replaced", "number 80")
    assert enroll("rep", 81)[0] == 200


def test_a_token_expires(limited: Server) -> None:
    answer = limited.client.get("/galleries", headers=as_user("late"))
    assert (answer.status_code, "expired" in answer.text) == (401, True)
    assert limited.client.get("/galleries", headers=as_user("soon")).status_code == 200


def test_tokens_are_reloaded_at_sighup_and_stay_where_they_cannot_be_read(limited: Server) -> None:
    file = limited.log.parent / "tokens"
    new = {"Authorization": "Bearer new-0123456789abcdef"}
    assert limited.client.get("/whoami", headers=new).status_code == 401

    def reload(text: str, mode: int, expected: str) -> None:
        count = limited.log.read_text().count(expected)
        file.write_text(text)
        file.chmod(mode)
        limited.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 10
        while limited.log.read_text().count(expected) == count and time.monotonic() < deadline:
            time.sleep(0.05)

    reload(LIMITED + "new search new-0123456789abcdef\n", 0o600, "tokens reloaded")
    assert limited.client.get("/whoami", headers=new).json()["name"] == "new"
    reload("not a line of tokens", 0o600, "were not reloaded")
    reload("# none", 0o600, "were not reloaded")
    reload(LIMITED, 0o644, "were not reloaded")
    assert limited.client.get("/whoami", headers=new).status_code == 200
    reload(LIMITED, 0o600, "tokens reloaded")
    assert limited.client.get("/whoami", headers=new).status_code == 401


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o602])
def test_a_file_of_tokens_that_others_can_read_is_refused_with_the_command_that_mends_it(
    mode: int, tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    file.write_text("ann search 0123456789abcdef\n")
    file.chmod(mode)
    with pytest.raises(ConfigError, match=f"chmod 600 {file}"):
        TokenStore.load(file)
    file.chmod(0o400)
    assert len(TokenStore.load(file).tokens) == 1


def test_tokens_that_are_set_and_hold_none_are_an_error(tmp_path: Path) -> None:
    for value in (" ; ", ";", "  ", "# none"):
        with pytest.raises(ConfigError, match="TRIREID_TOKENS: holds no token"):
            TokenStore.load(None, value)
    assert TokenStore.load(None, "").is_empty
    with pytest.raises(ConfigError, match="both set"):
        TokenStore.load(Path("x"), "a search 0123456789abcdef")
    import os

    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigError, match="regular file"):
        TokenStore.load(tmp_path / "fifo")


def test_lines_of_tokens() -> None:
    tokens = TokenStore.parse(
        ["ann search:a%20b,enroll 0123456789abcdef 2030-05-06T07:08+02:00"], "tokens"
    )
    ((_, ann),) = tokens.tokens
    assert ann.grants == {Grant(Scope.SEARCH, "a b"), Grant(Scope.ENROLL)}
    assert ann.expires == datetime(2030, 5, 6, 5, 8, tzinfo=UTC).timestamp()
    assert (
        ann.may(Scope.SEARCH, "a b"),
        ann.may(Scope.SEARCH, "c"),
        ann.may(Scope.SEARCH, None),
    ) == (True, False, False)
    assert ann.granted == ["enroll", "search:a%20b"]
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert TokenStore.parse([f"ann search 0123456789abcdef expires={tomorrow}"], "tokens").find(
        "Bearer 0123456789abcdef"
    )
    for line, error in (
        ("ann search: 0123456789abcdef", "names no gallery"),
        ("ann search 0123456789abcdef never", "ISO 8601"),
    ):
        with pytest.raises(ConfigError, match=error):
            TokenStore.parse([line], "tokens")


def test_the_audit_names_the_gallery_that_was_used(limited: Server) -> None:
    limited.client.post(
        "/search", files=files(5), headers={**as_user("ann"), "X-Request-Id": "unnamed"}
    )
    lines = [json.loads(line) for line in (limited.log.parent / "audit").read_text().splitlines()]
    assert {line["gallery"] for line in lines if line["request"] == "unnamed"} == {"people"}
