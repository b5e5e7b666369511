"""Access: tokens, scopes, rates, and what a server without tokens refuses."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving.conftest import TOKENS, Server
from tests.serving.test_service import files
from trireid.samples import ConfigError
from trireid.serving.access import Scope, TokenStore
from trireid.serving.access_control import AccessControl
from trireid.serving.app import create_app
from trireid.serving.rate import RateLimit
from trireid.serving.settings import ServerSettings


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[name][1]}"}


ASKED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "search": ("POST", "/search", {"files": files(5)}),
    "embed": ("POST", "/v1/embed", {"files": files(5)}),
    "galleries": ("GET", "/galleries", {}),
    "gallery": ("GET", "/galleries/people", {}),
    "image": ("GET", "/images/people/1/rgb", {}),
    "enroll": ("POST", "/enroll", {"files": files(70), "data": {"id": "new"}}),
    "remove": ("POST", "/remove", {"json": {"ids": ["nobody"]}}),
    "metrics": ("GET", "/metrics", {}),
    "nothing": ("GET", "/schema.json", {}),
}
MAY = {
    "ann": {"search", "embed", "galleries", "gallery", "image"},
    "eve": {"enroll"},
    "rob": {"remove"},
    "boss": set(ASKED) - {"nothing"},
}


@pytest.mark.parametrize("what", ASKED)
def test_each_scope_reaches_what_it_should_and_nothing_else(guarded: Server, what: str) -> None:
    method, path, request = ASKED[what]
    for name, reached in MAY.items():
        status = guarded.client.request(method, path, headers=bearer(name), **request).status_code
        assert status == (404 if what == "nothing" else 200 if what in reached else 403), name
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKENS['boss'][1]}"},
    ):
        answer = guarded.client.request(method, path, headers=headers, **request)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
        assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "path", ["/livez", "/readyz", "/healthz", "/docs/", "/openapi.json", "/ui/docs.css"]
)
def test_health_and_pages_need_no_token(guarded: Server, path: str) -> None:
    assert guarded.client.get(path).status_code == 200


def test_whoami_says_what_a_token_is_good_for(guarded: Server, server: Server) -> None:
    assert guarded.client.get("/whoami", headers=bearer("ann")).json() == {
        "name": "ann",
        "scopes": ["search"],
        "open": False,
    }
    assert guarded.client.get("/whoami", headers=bearer("boss")).json()["scopes"] == [
        str(scope) for scope in Scope
    ]
    assert server.client.get("/whoami").json() == {
        "name": None,
        "scopes": [str(scope) for scope in Scope],
        "open": True,
    }


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "trireid.example"},
        {"Host": "127.0.0.1.evil.example:3000"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"X-Forwarded-For": "203.0.113.9"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"Forwarded": "for=127.0.0.1"},
        {"Via": "1.1 proxy"},
        {"X-Real-IP": "127.0.0.1"},
        {"X-Forwarded-Proto": "https"},
        {"X-Forwarded-Host": "127.0.0.1"},
        {"X_Forwarded_For": "127.0.0.1"},
        {"CDN-Loop": "edge"},
        {"Client-IP": "127.0.0.1"},
        {"X-Original-URL": "/remove"},
        {"X-Amzn-Trace-Id": "Root=1"},
    ],
    ids=str,
)
def test_without_tokens_only_this_machines_own_requests_are_answered(
    server: Server, headers: dict[str, str]
) -> None:
    """A page of another site, also one that rebinds its name to this address, and what a proxy
    passes on from elsewhere.
    """
    for method, path, request in (ASKED["search"], ASKED["image"]):
        answer = server.client.request(method, path, headers=headers, **request)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    origin = {"Origin": str(server.client.base_url)}
    assert server.client.get("/galleries", headers=origin).status_code == 200


def test_every_answer_protects_a_browser_and_carries_its_request(guarded: Server) -> None:
    for path, status in (("/docs/", 200), ("/galleries", 401), ("/nowhere", 401)):
        answer = guarded.client.get(path, headers={"X-Request-Id": "mine-1"})
        assert answer.status_code == status
        assert answer.headers["x-request-id"] == "mine-1"
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in answer.headers
    made = guarded.client.get("/docs/", headers={"X-Request-Id": "two\twords"}).headers[
        "x-request-id"
    ]
    assert re.fullmatch(r"[0-9a-f]{32}", made)


def test_the_audit_says_who_did_what_and_shows_no_image(guarded: Server) -> None:
    headers = {**bearer("boss"), "X-Request-Id": "audited"}
    guarded.client.post("/search", files=files(5), data={"k": "2"}, headers=headers)
    guarded.client.post(
        "/enroll", files=files(60), data={"id": "a60", "identity": "Zoë"}, headers=headers
    )
    guarded.client.post("/remove", json={"identity": "Zoë"}, headers=headers)
    guarded.client.post("/search", files={"rgb": ("x", b"junk")}, headers=headers)
    audit = guarded.log.parent / "audit"
    lines = [
        line
        for line in map(json.loads, audit.read_text(encoding="utf-8").splitlines())
        if line["request"] == "audited"
    ]
    assert [(line["action"], line["caller"], line["client"]) for line in lines] == [
        (action, "boss", "127.0.0.1")
        for action in ("search", "enroll", "enroll", "remove", "remove")
    ]
    assert (lines[0]["gallery"], lines[0]["hits"]) == ("people", 2)
    for intent, result in (lines[1:3], lines[3:5]):
        assert (intent["stage"], result["stage"], result["outcome"]) == ("intent", "result", "done")
    assert (lines[2]["id"], lines[2]["identity"]) == ("a60", "Zoë")
    assert (lines[4]["identity"], lines[4]["removed"]) == ("Zoë", 1)
    assert audit.stat().st_mode & 0o077 == 0
    assert b"PNG" not in audit.read_bytes()


def test_logs_are_json_with_the_request_and_without_tokens(guarded: Server) -> None:
    guarded.client.get("/galleries", headers={**bearer("ann"), "X-Request-Id": "logged"})
    deadline = time.monotonic() + 10
    while '"logged"' not in (text := guarded.log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)  # the line comes after the answer
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line.get("id") == "logged"]
    assert (line["level"], line["path"], line["status"], line["caller"]) == (
        "info",
        "/galleries",
        200,
        "ann",
    )
    assert not any(token in text for _, token in TOKENS.values())


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (["ann search"], "line 1: expected NAME SCOPE,SCOPE TOKEN"),
        (["", "ann fly 0123456789abcdef"], "line 2: no scope is called 'fly'"),
        (["ann search short"], "16 characters"),
        (["ann search 0123456789abcdef", "ann enroll 0123456789abcdeX"], "line 2: this name"),
        (
            ["ann search 0123456789abcdef", "bob enroll 0123456789abcdef"],
            "line 2: this name or token",
        ),
        (["# nobody"], "holds no token"),
        (["ann search sha256:" + "AB" * 32], "64 digits of lowercase hexadecimal"),
        (["ann search sha256:0123456789"], "64 digits of lowercase hexadecimal"),
    ],
)
def test_a_bad_file_of_tokens_is_one_line_that_tells_no_token(lines: list[str], error: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(error)) as caught:
        TokenStore.parse(lines, "tokens")
    assert "0123456789" not in str(caught.value)


def test_a_token_is_not_cut_at_a_number_sign() -> None:
    tokens = TokenStore.parse(["ann search 0123456789abcdef#rest # of Ann"], "tokens")
    assert tokens.find("Bearer 0123456789abcdef") is None
    assert tokens.find("Bearer 0123456789abcdef#rest") is not None


def test_a_token_may_be_written_as_its_digest(tmp_path: Path) -> None:
    # of "secret"
    digest = "sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
    tokens = TokenStore.parse([f"ann search,enroll {digest}"], "tokens")
    caller = tokens.find("bearer secret")
    assert caller is not None
    assert (caller.name, caller.granted) == ("ann", ["search", "enroll"])
    assert tokens.find(f"Bearer {digest}") is None
    with pytest.raises(ConfigError, match="cannot be read"):
        TokenStore.load(tmp_path)
    assert not TokenStore.load(
        None, "ann search 0123456789abcdef; bob admin 0123456789abcdeX"
    ).is_empty


def test_a_rate_holds_in_the_long_run_and_for_each_caller_apart() -> None:
    now = [0.0]
    limit = RateLimit(2.0, lambda: now[0])
    asked = []
    for _ in range(100):  # ten a second, for ten seconds
        asked.append(limit.wait("ann") == 0)
        now[0] += 0.1
    assert 20 <= sum(asked) <= 20 + 4
    assert limit.wait("bob") == 0
    while not limit.wait("ann"):
        pass
    wait = limit.wait("ann")
    now[0] += wait - 0.01
    assert limit.wait("ann") > 0
    now[0] += 0.02
    assert limit.wait("ann") == 0


def test_over_the_rate_is_429_and_says_when() -> None:
    limits = ServerSettings(rate=0.5)
    tokens = TokenStore.parse(["ann search 0123456789abcdef"], "tokens")
    app = create_app(limits, None, AccessControl(tokens, limits))

    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://here"
        ) as client:
            headers = {"Authorization": "Bearer 0123456789abcdef"}
            return [await client.get("/whoami", headers=headers) for _ in range(2)]

    first, second = asyncio.run(ask())
    assert (first.status_code, second.status_code) == (200, 429)
    assert second.json()["error"]["code"] == "rate"
    assert 1 <= int(second.headers["retry-after"]) <= 2
