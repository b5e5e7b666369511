"""Text that came from elsewhere, for a terminal: no character of it moves the cursor, changes
colours or reorders a line.
"""

from __future__ import annotations

import logging
import unicodedata
from typing import Final

#: Control, format (bidirectional overrides among them), halves of surrogate pairs, line and
#: paragraph separators.
_ESCAPED: Final = ("Cc", "Cf", "Cs", "Zl", "Zp")
#: Join or part letters of one word in some scripts.
_JOINERS: Final = "\u200c\u200d"


def printable(text: object) -> str:
    """Return a text as one line, with what a terminal would act on as escapes like `\\x1b` and
    `\\u202e`.
    """
    line = str(text)
    return line if line.isprintable() else "".join(map(_escape, line))


def _escape(character: str) -> str:
    if character in _JOINERS or unicodedata.category(character) not in _ESCAPED:
        return character
    return character.encode("unicode_escape").decode("ascii")


class PrintableFormatter(logging.Formatter):
    """Formats a log record's message as `printable` does."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        """Return the line of a record, without its traceback."""
        return printable(super().formatMessage(record))
