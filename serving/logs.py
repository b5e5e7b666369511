"""Structured logs: one line a request and one an error, for people (`TRIREID_LOG=text`, the
default) or programs (`json`).
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

from trireid.samples.printable import printable
from trireid.serving.settings import LogFormat

NAME: Final = "trireid"

log = logging.getLogger(f"{NAME}.serving")


def set_up_logs(chosen: LogFormat) -> None:
    """Send this project's log lines to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if chosen is LogFormat.JSON else _Text())
    package = logging.getLogger(NAME)
    package.handlers, package.propagate = [handler], False
    package.setLevel(logging.WARNING)  # of other layers: an error of the start is one line
    log.setLevel(logging.INFO)
    # it warns of each broken form, which is answered anyway
    logging.getLogger("python_multipart").setLevel(logging.ERROR)


def event(message: str, level: int = logging.INFO, **fields: Any) -> None:
    """Log what happened, with fields that programs can read."""
    log.log(
        level,
        message,
        extra={
            "fields": {name: value for name, value in fields.items() if value not in (None, "")}
        },
    )


class _Json(logging.Formatter):
    """A line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)  # ASCII: no line separator of Unicode ends a line


class _Text(logging.Formatter):
    """The time, the level, what happened, `name=value` each."""

    def format(self, record: logging.LogRecord) -> str:
        said = " ".join(f"{name}={_format_value(value)}" for name, value in _fields(record).items())
        message = printable(record.getMessage())
        line = f"{_moment(record)} {record.levelname.lower()} {message} {said}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _format_value(value: object) -> str:
    """A value on one line, whatever a client made up: it must not look like a line, or a field, of
    its own.
    """
    text = str(value)
    return text if text.isprintable() and not set(text) & set(' "') else json.dumps(text)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "fields", {})
    return fields


def _moment(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
