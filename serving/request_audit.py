"""The audit's lines of one request.

A change (an enrolment, a removal) has a line before it, `"stage": "intent"`, which is on the disk
before anything is changed: what cannot be recorded is refused. Its second line, `"stage":
"result"`, says what came of it. Reading (a search, an image) has one line, which is written before
the answer is sent. Both lines of a change have the same `entry`.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import anyio
from pydantic import BaseModel
from starlette.requests import Request

from trireid.gallery.actor import act_as
from trireid.samples.errors import AuditError, TrireidError
from trireid.serving.access import Principal
from trireid.serving.access_control import PRINCIPAL
from trireid.serving.audit import Audit
from trireid.serving.auth_middleware import REQUEST_ID, ROUTE
from trireid.serving.errors import is_internal
from trireid.serving.logs import log
from trireid.serving.schemas import Form, SearchAnswer

_ENTRY_BYTES: Final = 8


class RequestAudit:
    """Writes the lines of one request, whose route says the action."""

    def __init__(self, request: Request) -> None:
        self._audit: Audit = request.app.state.audit
        self._action = str(request.scope[ROUTE]).strip("/")
        principal: Principal | None = request.scope.get(PRINCIPAL)
        self._who: dict[str, Any] = {
            "request": request.scope.get(REQUEST_ID),
            "caller": principal.name if principal else None,
            "client": request.client.host if request.client else None,
        }

    async def record(self, **fields: Any) -> None:
        """Write the line of a request that reads.

        Raises AuditError: then nothing may be answered.
        """
        await self._write(stage="result", **fields)

    @asynccontextmanager
    async def record_change(self, **fields: Any) -> AsyncIterator[dict[str, Any]]:
        """Write the two lines of a change around the block that makes it.

        Yields:
            The fields of the second line, to be filled in. Its action is `replace` if the change
            replaced an item.

        Raises:
            AuditError: the first line cannot be written; the block is not entered.
        """
        entry = secrets.token_hex(_ENTRY_BYTES)
        await self._write(durable=True, stage="intent", entry=entry, **fields)
        result: dict[str, Any] = {
            "action": self._action,
            "stage": "result",
            "entry": entry,
            **fields,
        }
        try:
            with act_as(**self._who) as actor:
                yield result
            if actor.replaced:
                result["action"] = "replace"
        except BaseException as error:
            # not awaited: the request may have been cancelled
            self._write_result({**result, **_describe(error)})
            raise
        result.setdefault("outcome", "done")
        await _in_thread(self._audit, partial(self._write_result, result, durable=True))

    async def _write(self, **fields: Any) -> None:
        await _in_thread(
            self._audit, partial(self._audit.write, self._action, **self._who, **fields)
        )

    def _write_result(self, result: dict[str, Any], *, durable: bool = False) -> None:
        """Write what came of a change.

        It has been made or not: the answer says so, whether or not this can be written.
        """
        try:
            self._audit.write(durable=durable, **self._who, **result)
        except AuditError:
            log.error(
                "AUDIT: the result of a request was not recorded",
                extra={"fields": {**self._who, **result}},
            )


async def _in_thread(audit: Audit, write: partial[None]) -> None:
    if audit.has_file:
        await anyio.to_thread.run_sync(write)
    else:
        write()


def describe_fields(fields: Form) -> dict[str, Any]:
    """Describe a request's fields for its lines: the gallery, and what is looked for, enrolled or
    removed. No images.
    """
    names = {"gallery", "id", "identity", "ids", "k", "where"}
    return {"gallery": None} | fields.model_dump(include=names, exclude_none=True)


def describe_answer(answer: BaseModel) -> dict[str, Any]:
    """Describe an answer for its line: the new item's id, how many items were found or removed."""
    if isinstance(answer, SearchAnswer):
        return {"hits": len(answer.hits)}
    return answer.model_dump(include={"id", "removed"})


def _describe(error: BaseException) -> dict[str, Any]:
    """The outcome of a change that ended in an error:

    `rejected`, and nothing was changed, or `error`, which does not say.
    """
    if isinstance(error, TrireidError) and not is_internal(error):
        return {"outcome": "rejected", "code": error.code}
    return {"outcome": "error", "error": type(error).__name__}
