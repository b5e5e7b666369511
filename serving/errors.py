"""How a fault is answered: its status, its code, one line, and the field at fault."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from starlette.responses import JSONResponse

from trireid.samples import TrireidError
from trireid.serving.schemas import Error, ErrorAnswer

_STATUS: Final = {
    "format": 415,
    "too_large": 413,
    "unknown_gallery": 404,
    "invalid": 422,
    "read_only": 409,
    "no_direction": 422,
    "unauthorized": 401,
    "forbidden": 403,
    "rate": 429,
    "busy": 503,
    "deadline": 503,
    "audit": 503,
    "audit_full": 507,
}
#: Faults of the disk, the GPU or our own: the message would name the server's folders.
INTERNAL: Final = ("store", "device", "moved")
_CODES: Final = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    408: "slow_body",
    413: "too_large",
    415: "format",
    507: "disk_full",
}
_RETRY: Final = 1.0
#: Told instead of a message that names the server's folders.
_DISK_FULL: Final = (
    "the server's disk is full; nothing was added; removing items and compacting give room"
)


class AccessError(TrireidError):
    """The caller may not do this.

    `code`: `unauthorized`, `forbidden` or `rate`; `retry`: seconds until it may.
    """

    def __init__(self, message: str, code: str, retry: float | None = None) -> None:
        super().__init__(message, None, code)
        self.retry = retry


def answer_to(error: TrireidError) -> JSONResponse:
    """The answer to what a client did wrong, or to a server that is busy."""
    if error.code == "disk_full":
        return error_answer(507, error.code, _DISK_FULL, None)
    status = _STATUS.get(error.code, 400)
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="trireid"'
    if status in (429, 503):
        headers["Retry-After"] = str(math.ceil(getattr(error, "retry", None) or _RETRY))
    return error_answer(status, error.code, error.message, error.field, headers)


def answer_with_status(
    status: int, detail: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The answer to a request that HTTP itself has a status for."""
    # at 413 the rest is discarded, so that the client sees it
    closing = {"Connection": "close"} if status == 408 else {}
    return error_answer(
        status, _CODES.get(status, "error"), detail, None, {**(headers or {}), **closing}
    )


def error_answer(
    status: int, code: str, message: str, field: str | None, headers: dict[str, str] | None = None
) -> JSONResponse:
    """Every answer that is not a success looks like this."""
    body = ErrorAnswer(error=Error(code=code, message=message, field=field)).model_dump()
    return JSONResponse(body, status, {**(headers or {}), "X-Error-Code": code})
