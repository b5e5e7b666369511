"""HTTP/1.1 with the bounds that uvicorn's protocol lacks.

uvicorn with httptools stores a request line and headers of any size, waits for them forever, and
appends trailers to the headers while the application reads them. It also closes idle connections
at SIGTERM without looking for a request that is on its way.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import ClassVar, Final

import uvicorn.config
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

#: Bytes of a request line with its headers, and of the framing between two parts of a body.
MAX_HEAD_BYTES: Final = 32 * 1024
#: Requests that wait behind the first on one connection.
MAX_PIPELINE: Final = 8
#: Bytes and seconds of a body that the application does not want, before the connection ends.
_MAX_DISCARDED_BYTES: Final = 64 << 20
_DISCARD_SECONDS: Final = 30.0
#: Seconds for which an idle connection may still send a request after SIGTERM.
_DRAIN_SECONDS: Final = 0.5
#: Seconds for which a client may leave an answer unread.
_STALL_SECONDS: Final = 60.0
#: Seconds in which a client can read why it was rejected.
_LINGER_SECONDS: Final = 1.0
_AUTHORITY: Final = re.compile(rb"https?://([^/?#]+)")
_MESSAGES: Final = {
    400: ("bad_request", "the request is not valid HTTP/1.1, or carries trailers"),
    408: ("slow_head", "the request line and headers took too long to arrive"),
    431: ("too_large", f"the request line and headers are over {MAX_HEAD_BYTES // 1024} KiB"),
    503: ("busy", "too many connections are open"),
}


class BoundedHttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol with bounds on heads, pipelines, trailers and stalled clients."""

    #: Seconds in which a request line and its headers must arrive.
    head_seconds: ClassVar[float] = 10.0
    #: Connections that one process holds.
    max_connections: ClassVar[int] = 2048

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time in which the first head must arrive."""
        super().connection_made(transport)
        self._rejected = self._draining = self._in_body = self._progressed = False
        self._size = self._stored_bytes = self._discarded_bytes = 0
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._running: RequestResponseCycle | None = None
        self._start_timer("head", self.head_seconds)
        if len(self.connections) > self.max_connections:
            self._reject(503)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop every timer, and forget the requests that wait."""
        for name in list(self._timers):
            self._stop_timer(name)
        self._drop_requests()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and reject a head or framing that is too large before it is complete."""
        if self._rejected or self.transport.is_closing():
            return
        if not self._in_body and "head" not in self._timers:
            self._start_timer("head", self.head_seconds)
        self._progressed = False
        super().data_received(data)
        self._stored_bytes = 0 if self._progressed else self._stored_bytes + len(data)
        if self._stored_bytes > MAX_HEAD_BYTES:  # of a head, or of the framing of a body
            self._reject(431)

    def send_400_response(self, msg: str) -> None:
        """Answer a request that is not HTTP as every error is answered."""
        self._reject(400)

    def on_message_begin(self) -> None:
        """Start to count a head."""
        self._size = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a part of the request target."""
        if self._is_within_bounds(len(url)):
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer would change headers that were checked already."""
        if self._in_body:
            self._reject(400)
        elif self._is_within_bounds(len(name) + len(value) + 4):
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request, or put it into the pipeline."""
        self._stop_timer("head")
        self._in_body = self._progressed = True
        self._discarded_bytes = 0
        if len(self.pipeline) >= MAX_PIPELINE:
            self._reject(431)
        if not self._is_for_its_host():
            self._reject(400)
        if not self._rejected:
            super().on_headers_complete()
            if self._draining:
                self.cycle.keep_alive = False

    def on_chunk_header(self) -> None:
        """Note that a chunk begins."""
        self._progressed = True

    def on_body(self, body: bytes) -> None:
        """Pass a part of the body on; discard what comes after the answer, within bounds."""
        self._progressed = True
        if self._rejected:
            return
        if self.cycle.response_complete:
            self._discarded_bytes += len(body)
            if self._discarded_bytes > _MAX_DISCARDED_BYTES:
                self.transport.close()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the body."""
        self._in_body, self._progressed = False, True
        self._stop_timer("discard")
        if not self._rejected:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Start the next request; limit the time for the rest of a body that was not read."""
        super().on_response_complete()
        if self._in_body and not self.transport.is_closing():
            self._start_timer("discard", _DISCARD_SECONDS)

    def pause_writing(self) -> None:
        """Wait for a client that does not read, but not forever."""
        super().pause_writing()
        self._start_timer("stall", _STALL_SECONDS)

    def resume_writing(self) -> None:
        """Go on writing."""
        self._stop_timer("stall")
        super().resume_writing()

    def shutdown(self) -> None:
        """Finish what has begun, also a request that a client is sending at this moment."""
        self._draining = True
        if self._is_idle():
            self._start_timer("drain", _DRAIN_SECONDS)
        else:
            super().shutdown()

    def _should_upgrade_to_ws(self) -> bool:
        return False

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: strangers would fill the log."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _drop_requests(self) -> None:
        """Write no answers any more: uvloop raises where a closed transport is written to."""
        self.pipeline.clear()
        for cycle in (self._running, self.cycle):
            if cycle is not None:
                cycle.disconnected = True
                cycle.message_event.set()

    def _is_idle(self) -> bool:
        return (self._running is None or self._running.response_complete) and not self.pipeline

    def _is_for_its_host(self) -> bool:
        """Whether the request target names no host, or the one of the Host header."""
        if self.url[:1] in (b"/", b"*"):
            return True
        named = _AUTHORITY.match(self.url)
        return named is not None and (b"host", named[1]) in self.headers

    def _is_within_bounds(self, size: int) -> bool:
        self._size += size
        if self._size > MAX_HEAD_BYTES:
            self._reject(431)
        return not self._rejected

    def _reject(self, status: int) -> None:
        """Answer with a status where no other answer is due, and close."""
        if self._rejected:
            return
        self._rejected = True
        if not self._is_idle():
            self._drop_requests()
            self.transport.close()
            return
        code, message = _MESSAGES[status]
        error = {"error": {"code": code, "message": message, "field": None}}
        body = json.dumps(error).encode()
        lines = [
            b"content-type: application/json",
            b"content-length: %d" % len(body),
            b"x-error-code: " + code.encode(),
            b"connection: close",
        ]
        self.transport.write(STATUS_LINE[status] + b"\r\n".join(lines) + b"\r\n\r\n" + body)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        # Closing at once would reset the connection, and the client would not see the answer.
        self._start_timer("linger", _LINGER_SECONDS)

    def _start_timer(self, name: str, seconds: float) -> None:
        self._stop_timer(name)
        self._timers[name] = self.loop.call_later(seconds, self._expire, name)

    def _stop_timer(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def _expire(self, name: str) -> None:
        del self._timers[name]
        if name == "head" and not self._is_idle():
            self._start_timer("head", self.head_seconds)  # the answer before it takes its time
        elif name == "head":
            self._reject(408)
        elif name == "drain" and not self._is_idle():
            super().shutdown()
        elif name == "stall":
            self.transport.abort()
        else:
            self.transport.close()


def use_bounded_http(*, head_seconds: float, max_connections: int) -> None:
    """Make the uvicorn servers that are started after this in this process speak bounded HTTP.

    BentoML builds uvicorn's configuration itself, and leaves the protocol at its default, `auto`.

    Args:
        head_seconds: in which a request line and its headers must arrive.
        max_connections: that the process holds at the same time.
    """
    BoundedHttpProtocol.head_seconds = head_seconds
    BoundedHttpProtocol.max_connections = max_connections
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{BoundedHttpProtocol.__name__}"
