"""The rows of a manifest as samples."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from trireid.samples.cells import describe_damage, is_blank, read_text, read_value
from trireid.samples.errors import SourceError
from trireid.samples.files import is_regular
from trireid.samples.metadata import TEXTS
from trireid.samples.readers.columns import Columns, is_moment
from trireid.samples.readers.table import Table
from trireid.samples.roles import WORDS, Part, find_part
from trireid.samples.sample import KINDS, MODALITIES, Kind, Sample

Row = Mapping[str, Any]
#: Fields of text in which `7.0` is 7 if every row is a whole number: pandas makes floats of whole
#: numbers where one is missing.
_NAMES: Final = ("id", "identity", "scene")
_MAX_DIGITS: Final = 30  #: far over what a store takes, which says so itself
#: Not three digits behind the point or comma, which are thousands as well (`1,000`).
_WHOLE: Final = re.compile(r"(?P<number>[+-]?\d+)(?:[.,](?!0{3}$)0*)?", re.ASCII)
_POINT_ZERO: Final = re.compile(r"\d+\.0", re.ASCII)
_MAYBE_ZERO: Final = re.compile(r"\d+(?:\.0)?", re.ASCII)


class RowReader:
    """Makes samples of a table's rows."""

    def __init__(
        self, table: Table, columns: Columns, folder: Path, below: Path | None, is_parquet: bool
    ) -> None:
        self._columns, self._folder, self._below, self._is_parquet = (
            columns,
            folder,
            below,
            is_parquet,
        )
        self._width = len(table.header)
        self._whole = {
            name
            for name in _NAMES
            if name in columns.fields and _is_all_whole(table, columns.fields[name])
        }
        self.notes = (
            *(f"{name}: whole numbers without their .0" for name in sorted(self._whole)),
            *_blank_notes(table, columns),
            *_time_notes(table, columns),
        )

    def sample(self, cells: list[Any]) -> Sample:
        """Make a row's sample. Raises SourceError for a cell that cannot be used."""
        if not all(is_blank(cell) for cell in cells[self._width :]):
            raise SourceError("has more cells than the header")
        self._refuse_spoiled(cells)
        row = self._row(cells)
        if part_problem := self._part_problem(row):
            raise SourceError(part_problem, "role")
        images = {
            modality: self._image(modality, row[modality])
            for modality in MODALITIES
            if modality in row
        }
        if not images:
            raise SourceError("has no image: rgb, nir and tir are all blank", "rgb")
        others: dict[str, Any] = {name: row.get(name) for name in TEXTS} | images
        return Sample(
            id=row.get("id"),
            camera=_integer(row.get("camera")),
            kind=_kind(row.get("kind")),
            attributes=self._attributes(cells),
            **others,
        )

    def _refuse_spoiled(self, cells: list[Any]) -> None:
        for name, position in self._columns.fields.items():
            cell = cells[position] if position < len(cells) else None
            if (
                isinstance(cell, str)
                and name not in MODALITIES
                and (problem := describe_damage(cell))
            ):
                raise SourceError(f"{name}: {cell.strip()!r} {problem}", name)

    def part(self, cells: list[Any]) -> Part | Literal["?"] | None:
        """Return a row's part in a protocol; "?" if it is not understood."""
        row = self._row(cells)
        if self._part_problem(row):
            return "?"
        role, split = (find_part(str(row.get(name, ""))) for name in ("role", "split"))
        return split if split in ("train", "validation", "junk") or role is None else role

    def is_nameless(self, cells: list[Any]) -> bool:
        """Whether a row has no identity."""
        return "identity" not in self._row(cells)

    def name(self, cells: list[Any]) -> str | None:
        """Return what to call a row without an id: the path of its first image."""
        row = self._row(cells)
        return next((str(row[modality]) for modality in MODALITIES if modality in row), None)

    def _row(self, cells: list[Any]) -> Row:
        """The cells of fields that are not blank, as text but for numbers and times of Parquet."""
        found: dict[str, Any] = {}
        for name, position in self._columns.fields.items():
            if position < len(cells) and not is_blank(cells[position]):
                found[name] = self._text(name, cells[position])
        return found

    def _text(self, name: str, cell: Any) -> Any:
        if isinstance(cell, str):
            text = read_text(cell) if not self._is_parquet else cell
            return text.removesuffix(".0") if name in self._whole else text
        if hasattr(cell, "isoformat"):
            return cell.isoformat()
        if name in self._whole:
            return str(int(cell))
        return cell if name == "camera" else str(cell)

    def _part_problem(self, row: Row) -> str | None:
        for name in ("role", "split"):
            if name in row and find_part(str(row[name])) is None:
                return f"{name}: {row[name]!r} is not one of {WORDS}"
        return None

    def _image(self, modality: str, cell: Any) -> Path:
        text = str(cell)
        if "://" in text:
            raise SourceError(f"{modality}: {text} is an address; images must be files", modality)
        image = self._folder / text
        if "\\" in text and not is_regular(image):  # as Windows writes it
            image = self._folder / text.replace("\\", "/")
        _check_image(modality, image, self._below)
        return image

    def _attributes(self, cells: list[Any]) -> dict[str, Any]:
        found = {}
        for name, position in self._columns.attributes.items():
            cell = cells[position] if position < len(cells) else None
            if isinstance(cell, str) and not self._is_parquet:
                if cell.strip():
                    found[name] = read_value(cell)
            elif not (is_blank(cell) if not isinstance(cell, str) else cell == ""):
                found[name] = _attribute(cell)
        return found


def _is_all_whole(table: Table, position: int) -> bool:
    """Whether every cell of a column is a whole number, and one of them has `.0`."""
    cells = [
        row[position]
        for _, row in table.rows
        if position < len(row) and not is_blank(row[position])
    ]
    return any(map(_has_point_zero, cells)) and all(map(_is_whole, cells))


def _is_whole(cell: Any) -> bool:
    if isinstance(cell, str):
        return _MAYBE_ZERO.fullmatch(cell.strip()) is not None
    return isinstance(cell, int) or (isinstance(cell, float) and cell.is_integer())


def _has_point_zero(cell: Any) -> bool:
    if isinstance(cell, float):
        return cell.is_integer()
    return isinstance(cell, str) and _POINT_ZERO.fullmatch(cell.strip()) is not None


def _blank_notes(table: Table, columns: Columns) -> list[str]:
    """How many cells of each field are words for a blank."""
    notes = []
    for name, position in columns.fields.items():
        words = Counter(
            row[position].strip()
            for _, row in table.rows
            if position < len(row)
            and isinstance(row[position], str)
            and row[position].strip()
            and is_blank(row[position])
        )
        notes += [
            f"{name}: {count} cells {word} are read as blank" for word, count in words.items()
        ]
    return notes


def _time_notes(table: Table, columns: Columns) -> list[str]:
    """How many times are not in the form that ranges and retention compare."""
    if "time" not in columns.fields:
        return []
    position = columns.fields["time"]
    cells = [
        row[position]
        for _, row in table.rows
        if position < len(row) and not is_blank(row[position])
    ]
    other = [str(cell).strip() for cell in cells if not is_moment(cell)]
    if not other:
        return []
    return [
        f"time: {len(other)} cells ({other[0]}) are not ISO 8601 times, as 2026-01-31T12:00:00 is:"
        " they are kept as text,"
        " which ranges, days and retention do not see"
    ]


def _check_image(modality: str, image: Path, below: Path | None) -> None:
    if "\0" in str(image):
        raise SourceError(
            f"{modality}: {str(image)!r} holds a NUL, which no file's name has", modality
        )
    if below is not None and not Path(os.path.realpath(image)).is_relative_to(below):
        raise SourceError(
            f"{modality}: {image} is outside the manifest's folder {below}; move it there, or"
            " allow it with"
            " --allow-outside (in a training configuration: data.allow_outside)",
            modality,
        )
    if not is_regular(image):
        what = "is not a regular file" if image.exists() else "does not exist"
        raise SourceError(f"{modality}: {image} {what}", modality)


def _integer(cell: Any) -> int | None:
    """A camera's number: whole, also as pandas writes it where one is missing (`1.0`)."""
    if cell is None:
        return None
    found = (
        _WHOLE.fullmatch(str(cell))
        if isinstance(cell, str | int | float) and not isinstance(cell, bool)
        else None
    )
    if found is None or len(found["number"]) > _MAX_DIGITS:
        raise SourceError(f"camera: {cell!r} is not a whole number, in digits alone", "camera")
    return int(found["number"])


def _kind(cell: Any) -> Kind | None:
    if cell is None:
        return None
    for kind in KINDS:
        if str(cell).lower() == kind:
            return kind
    raise SourceError(f"kind: {cell!r} is not one of {', '.join(KINDS)}", "kind")


def _attribute(cell: Any) -> Any:
    """A value that the store can hold:

    JSON's own kinds as they are, others (dates, decimals) as text.
    """
    return cell if isinstance(cell, str | bool | int | float) else str(cell)
