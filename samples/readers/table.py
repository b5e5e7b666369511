"""Tables as people keep them: CSV as pandas, Excel and others write it, and Parquet."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trireid.samples.errors import SourceError
from trireid.samples.files import open_regular
from trireid.samples.readers.tree import IMAGES

#: With their numbers: as a spreadsheet counts (the header is row 1), or from 1 in a Parquet file.
Rows = list[tuple[int, list[Any]]]
_DELIMITERS: Final = (",", ";", "\t", "|")
_SEPARATOR_LINE: Final = re.compile(
    r'"?sep=(?P<delimiter>[^\r\n"]|\t)"?(?:\r\n|\r|\n)', re.IGNORECASE
)
_MARKS: Final = (  # UTF-32 first: its mark begins as UTF-16's does
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OTHER_FILES: Final = (
    (b"PK\x03\x04", "is an Excel workbook or a zip file; save it as CSV (in Excel: CSV UTF-8)"),
    (b"\xd0\xcf\x11\xe0", "is an old Excel workbook; save it as CSV"),
    (b"\x1f\x8b", "is compressed; unpack it first"),
    (b"PAR1", "is a Parquet file; call it .parquet"),
    (b"<", "is a web page or XML; save the table itself"),
)
_SAMPLE: Final = 4096
_MAX_CELL: Final = 1 << 20


@dataclass(frozen=True)
class Table:
    """A table as it is written: the header's cells, and the rows that are not blank."""

    header: list[str]
    rows: Rows


def looks_like_image(cell: Any) -> bool:
    """Whether a cell is text that ends as the name of an image does."""
    return isinstance(cell, str) and os.path.splitext(cell.strip())[1].lower() in IMAGES


def read_csv(path: Path, count_fields: Callable[[list[str]], int]) -> Table:
    """Read a CSV file in UTF-8 or UTF-16, whatever separates its cells.

    Args:
        path: The file.
        count_fields: Tells how many cells of a header are names that are known, by which the
            separator is found.

    Raises:
        SourceError: It cannot be read as a table; the message says what to change.
    """
    text = _decode(path)
    separator = _SEPARATOR_LINE.match(text)
    if separator is not None:
        text = text[separator.end() :]
    try:
        delimiter = separator["delimiter"] if separator else _delimiter(text, count_fields)
        lines = _parse(path, text, delimiter)
    except csv.Error as error:
        raise SourceError(
            f"{path}: cannot be read as a CSV manifest: {error}", str(path)
        ) from error
    filled = [
        (number, line)
        for number, line in enumerate(lines, start=1)
        if any(cell.strip() for cell in line)
    ]
    return Table(filled[0][1], list(filled[1:])) if filled else Table([], [])


def read_parquet(path: Path) -> Table:
    """Read a Parquet file. Raises SourceError if it is not one, or pyarrow is absent."""
    try:
        from pyarrow import ArrowException, parquet
    except ModuleNotFoundError as error:
        raise SourceError(
            f"{path}: reading Parquet needs pyarrow: pip install pyarrow", str(path)
        ) from error
    try:
        with open_regular(path) as file:
            table = parquet.read_table(file)
        columns = [column.to_pylist() for column in table.columns]
    except (OSError, ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise SourceError(
            f"{path}: cannot be read as a Parquet manifest: {reason}", str(path)
        ) from error
    rows = [list(row) for row in zip(*columns, strict=True)]
    return Table(list(table.column_names), list(enumerate(rows, start=1)))


def _decode(path: Path) -> str:
    try:
        with open_regular(path) as file:
            data = file.read()
    except OSError as error:
        raise SourceError(
            f"{path}: cannot be read as a CSV manifest: {error.strerror}", str(path)
        ) from error
    for start, what in _OTHER_FILES:
        if data.startswith(start):
            raise SourceError(f"{path}: {what}", str(path))
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None) or _strip_mark(
        data[:_SAMPLE]
    )
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise SourceError(
            f"{path}: line {line} is not {encoding.upper().removesuffix('-SIG')} text; save it as"
            " UTF-8 (in Excel: CSV UTF-8)",
            str(path),
        ) from error


def _strip_mark(start: bytes) -> str:
    """The encoding of text without a mark: in UTF-16 every second byte of plain text is zero."""
    even, odd = start[::2].count(0), start[1::2].count(0)
    most = len(start) // 2 * 0.7
    if odd > most > even:
        return "utf-16-le"
    return "utf-16-be" if even > most > odd else "utf-8"


def _delimiter(text: str, count_fields: Callable[[list[str]], int]) -> str:
    """The separator by which most names of the header are known, or else the most cells are had."""

    def score(delimiter: str) -> tuple[int, int]:
        records = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        header = next((record for record in records if any(cell.strip() for cell in record)), [])
        return count_fields(header), len(header)

    return max(_DELIMITERS, key=score)


def _parse(path: Path, text: str, delimiter: str) -> list[list[str]]:
    before = csv.field_size_limit(_MAX_CELL)
    records = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return list(records)
    except csv.Error as error:
        raise SourceError(
            f"{path}: line {records.line_num} cannot be read as CSV ({error}); is a quotation mark"
            " missing?",
            str(path),
        ) from error
    finally:
        csv.field_size_limit(before)
