"""The answer to an error: its status, its code, one line, and the field that is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from starlette.responses import JSONResponse

from trireid.samples import TrireidError, errors
from trireid.serving.schemas import Error, ErrorAnswer

#: The status of an error's nearest class. With 500 the message would name the server's folders.
_STATUS: Final[Mapping[type, int]] = {
    TrireidError: 400,
    errors.AccessError: 403,
    errors.AuditError: 503,
    errors.AuditFullError: 507,
    errors.BusyError: 503,
    errors.DeviceError: 500,
    errors.DiskFullError: 507,
    errors.GalleryReadOnlyError: 409,
    errors.ImageFormatError: 415,
    errors.ImageTooLargeError: 413,
    errors.InvalidValueError: 422,
    errors.MediaTypeError: 415,
    errors.NoDirectionError: 422,
    errors.RateLimitError: 429,
    errors.StoreError: 500,
    errors.UnauthorizedError: 401,
    errors.UnknownGalleryError: 404,
}
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
    "the server's disk is full; nothing was added; removing items and compacting free space"
)


def answer_to(error: TrireidError) -> JSONResponse:
    """The answer to what a client did wrong, or to a server that is busy."""
    if isinstance(error, errors.DiskFullError):
        return error_answer(507, error.code, _DISK_FULL, None)
    status = _find_status(error)
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="trireid"'
    if status in (429, 503):
        headers["Retry-After"] = str(math.ceil(getattr(error, "retry_after", 0) or _RETRY))
    return error_answer(status, error.code, error.message, error.field, headers)


def is_internal(error: TrireidError) -> bool:
    """Whether an error is of the disk, the GPU or our own, not of the request."""
    return _find_status(error) == 500


def _find_status(error: TrireidError) -> int:
    return next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)


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
