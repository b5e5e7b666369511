"""Clients of a server, for Python: `Client`, and `AsyncClient` for event loops. They differ in how
they wait alone.

with Client("http://127.0.0.1:3000", token="...") as client:
    answer = client.search(Sample(rgb="query.jpg"), gallery="people", k=5)
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import wraps
from typing import Concatenate, Final, ParamSpec, Self

import httpx
from pydantic import ValidationError

from trireid.samples.errors import BadAnswerError, NoAnswerError, ServiceError, TrireidError
from trireid.serving import requests
from trireid.serving.requests import Answer, ApiRequest
from trireid.serving.schemas import ErrorAnswer

P = ParamSpec("P")
Outcome = httpx.Response | httpx.RequestError

#: Environment variable: the token, for the command line.
TOKEN: Final = "TRIREID_TOKEN"
#: The version of the paths and fields that this client speaks.
_VERSION: Final = "/v1"
_BUSY: Final = (429, 503)
_FIRST_WAIT, _LONGEST_WAIT = 0.25, 8.0
#: A longer Retry-After is not waited for.
_LONGEST_ASKED: Final = 60.0
#: The connection had not been made, so nothing has been done.
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
#: The server keeps an idle connection for five seconds; what it is just closing must not be used.
_IDLE: Final = 3.0
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class _Settings:
    """The settings of both clients: address, token, timeout, retries.

    Requests, and answers of outcomes.
    """

    def __init__(
        self, url: str, token: str | None = None, *, timeout: float = 60.0, retries: int = 4
    ) -> None:
        """`url`: as a browser would open the server, a path before its own included. `timeout`:
        seconds to connect, and without a byte from the server. `retries`: how often a request is
        sent again at most, if the server is busy (429, 503) or the connection failed; after the
        seconds that the server asks for, or 0.25 s, doubled up to 8 s. Raises TrireidError for a
        URL or token that cannot be.
        """
        self.url, self.retries = _parse_url(url), retries
        self._headers = {"Accept": "application/json", "User-Agent": "trireid"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {_check_token(token)}"
        self._timeout = timeout
        self._limits = httpx.Limits(max_connections=None, keepalive_expiry=_IDLE)
        # a proxy of the environment does not know this machine's own server
        self._trust_env = self.url.host not in _LOOPBACK

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.url)!r})"

    def _request(self, request: ApiRequest[Answer], request_id: str) -> httpx.Request:
        return httpx.Request(
            request.method,
            self.url.copy_with(
                raw_path=self.url.raw_path.rstrip(b"/") + (_VERSION + request.path).encode("ascii")
            ),
            headers={**self._headers, "X-Request-Id": request_id},
            data=dict(request.fields) or None,
            files={
                name: (name, data, "application/octet-stream")
                for name, data in request.files.items()
            }
            or None,
            json=request.body,
            extensions={"timeout": httpx.Timeout(self._timeout).as_dict()},
        )

    def _wait(self, request: ApiRequest[Answer], outcome: Outcome, tried: int) -> float | None:
        """Seconds until the request is sent again; None where it is not."""
        if tried > self.retries or not _may_repeat(request, outcome):
            return None
        backoff = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(tried - 1, 16)) * random.uniform(
            0.5, 1
        )
        asked = _read_retry_after(outcome) if isinstance(outcome, httpx.Response) else None
        if asked is None:
            return backoff
        # not all of those that were sent away at the same moment
        return asked + backoff if asked <= _LONGEST_ASKED else None

    def _read(self, request: ApiRequest[Answer], outcome: Outcome, request_id: str) -> Answer:
        """Read the answer. Raises ServiceError if the server gave an error or no answer."""
        if isinstance(outcome, httpx.RequestError):
            what = str(outcome) or type(outcome).__name__
            raise NoAnswerError(
                f"{self.url}: no answer: {what}", status=None, request_id=request_id
            ) from outcome
        request_id = outcome.headers.get("x-request-id", request_id)
        if not outcome.is_success:
            raise _read_error(outcome, self.url, request_id)
        try:
            return request.answer.model_validate_json(outcome.content)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            message = f"{self.url}: not the answer of a trireid server: {place}: {first['msg']}"
            raise BadAnswerError(
                message, status=outcome.status_code, request_id=request_id
            ) from error


def _sync(make: Callable[P, ApiRequest[Answer]]) -> Callable[Concatenate[Client, P], Answer]:
    @wraps(make)
    def method(client: Client, /, *arguments: P.args, **named: P.kwargs) -> Answer:
        return client.send(make(*arguments, **named))

    return method


def _async(
    make: Callable[P, ApiRequest[Answer]],
) -> Callable[Concatenate[AsyncClient, P], Awaitable[Answer]]:
    @wraps(make)
    async def method(client: AsyncClient, /, *arguments: P.args, **named: P.kwargs) -> Answer:
        request = await asyncio.to_thread(make, *arguments, **named)  # it reads and encodes images
        return await client.send(request)

    return method


class Client(_Settings):
    """A client that waits; safe for several threads. Every method raises ServiceError where the
    server refuses, fails or cannot be reached, and ImageError for an image that cannot be read
    here. The arguments of the methods are those in `trireid.serving.requests`.
    """

    embed = _sync(requests.embed)
    search = _sync(requests.search)
    enroll = _sync(requests.enroll)
    remove = _sync(requests.remove)
    galleries = _sync(requests.galleries)
    gallery = _sync(requests.gallery)
    whoami = _sync(requests.whoami)

    def __init__(
        self, url: str, token: str | None = None, *, timeout: float = 60.0, retries: int = 4
    ) -> None:
        super().__init__(url, token, timeout=timeout, retries=retries)
        self._http = httpx.Client(limits=self._limits, trust_env=self._trust_env)

    def send(self, request: ApiRequest[Answer]) -> Answer:
        """Send a request, again where that may help, and read its answer."""
        request_id = uuid.uuid4().hex
        for tried in itertools.count(1):
            outcome = self._try_once(self._request(request, request_id))
            wait = self._wait(request, outcome, tried)
            if wait is None:
                break
            time.sleep(wait)
        return self._read(request, outcome, request_id)

    def _try_once(self, request: httpx.Request) -> Outcome:
        try:
            return self._http.send(request)
        except httpx.RequestError as error:
            return error

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient(_Settings):
    """As `Client`, with methods to be awaited."""

    embed = _async(requests.embed)
    search = _async(requests.search)
    enroll = _async(requests.enroll)
    remove = _async(requests.remove)
    galleries = _async(requests.galleries)
    gallery = _async(requests.gallery)
    whoami = _async(requests.whoami)

    def __init__(
        self, url: str, token: str | None = None, *, timeout: float = 60.0, retries: int = 4
    ) -> None:
        super().__init__(url, token, timeout=timeout, retries=retries)
        self._http = httpx.AsyncClient(limits=self._limits, trust_env=self._trust_env)

    async def send(self, request: ApiRequest[Answer]) -> Answer:
        """Send a request, again where that may help, and read its answer."""
        request_id = uuid.uuid4().hex
        for tried in itertools.count(1):
            outcome = await self._try_once(self._request(request, request_id))
            wait = self._wait(request, outcome, tried)
            if wait is None:
                break
            await asyncio.sleep(wait)
        return self._read(request, outcome, request_id)

    async def _try_once(self, request: httpx.Request) -> Outcome:
        try:
            return await self._http.send(request)
        except httpx.RequestError as error:
            return error

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _may_repeat(request: ApiRequest[Answer], outcome: Outcome) -> bool:
    if isinstance(outcome, httpx.Response):
        return outcome.status_code in _BUSY  # it was sent away before anything was done
    if isinstance(outcome, _NOT_SENT):
        return True
    # a server that is slow is not to do it twice
    return request.repeatable and not isinstance(outcome, httpx.TimeoutException)


def _read_retry_after(response: httpx.Response) -> float | None:
    """Seconds of the header Retry-After, which may also name a moment;

    None if there is not one that can be read.
    """
    text = response.headers.get("retry-after", "")
    if text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds())


def _read_error(response: httpx.Response, url: httpx.URL, request_id: str) -> ServiceError:
    try:
        told = ErrorAnswer.model_validate_json(response.content).error
    except ValidationError:  # something on the way to the server has answered
        message = f"{url}: answered {response.status_code} {response.reason_phrase}"
        return ServiceError(message, status=response.status_code, request_id=request_id)
    return ServiceError(
        told.message, told.field, told.code, status=response.status_code, request_id=request_id
    )


def _parse_url(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, TypeError) as error:
        raise TrireidError(f"url: {text!r} is not one: {error}", "url") from error
    if (
        url.scheme not in ("http", "https")
        or not url.host
        or url.query
        or url.fragment
        or url.userinfo
    ):
        raise TrireidError(f"url: must be like http://127.0.0.1:3000, not {text!r}", "url")
    return url


def _check_token(token: str) -> str:
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise TrireidError("token: must be printable ASCII without blanks", "token")
    return token
