"""Manifests: a table, CSV or Parquet, with a row per sample and paths relative to the file."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from samples.cells import read_text, read_value
from samples.errors import SourceError, TrireidError
from samples.files import is_regular, open_regular
from samples.sample import KINDS, MODALITIES, Kind, Sample
from samples.source import Entry, Source

_KNOWN: Final = (*MODALITIES, "id", "identity", "camera", "scene", "time", "kind", "purpose", "expires")
Row = Mapping[str, Any]
Rows = list[tuple[int, Row]]  #: with their numbers: as a spreadsheet counts (the header is row 1), or from 1 in a Parquet file


def read_manifest(path: Path, *, allow_outside: bool = False) -> Source:
    """A manifest's rows. Columns rgb, nir, tir (blank: missing), id, identity, camera, scene, time, kind; others: attributes.

    A row without an `id` is named by the path of its first picture. A row that cannot be used becomes an entry with its fault;
    so does one whose images are not below the manifest's folder, symbolic links resolved, unless `allow_outside`.
    Raises SourceError for a file that is no table, or has no column of pictures.
    """
    columns, rows = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    if not any(modality in columns for modality in MODALITIES):
        raise SourceError(f"{path}: has no column rgb, nir or tir (its columns: {', '.join(columns) or 'none'})", str(path))

    below = None if allow_outside else Path(os.path.realpath(path.parent))

    def entries() -> Iterator[Entry]:
        for number, row in rows:
            place = f"row {number}"
            try:
                yield Entry(place, _sample(row, path.parent, below), name=_first_picture(row))
            except TrireidError as fault:
                yield Entry(place, fault=fault)
            except OSError as error:  # a name too long, a folder that may not be looked into
                yield Entry(place, fault=SourceError(f"{error.filename}: {error.strerror}"))

    return Source(str(path), len(rows), entries)


def _csv(path: Path) -> tuple[list[str], Rows]:
    try:
        with io.TextIOWrapper(open_regular(path), newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SourceError(f"{path}: cannot be read as a CSV manifest: {reason}", str(path)) from error
    columns = [read_text(cell) for cell in lines[0]] if lines else []
    return columns, [(number, _typed(columns, line)) for number, line in enumerate(lines[1:], start=2) if any(line)]


def _typed(columns: list[str], line: list[str]) -> Row:
    """A CSV row's cells: blanks left out, attributes that are written as a number or true/false as such."""
    if len(line) > len(columns):
        return {"": "has more cells than the header"}
    cells = {column: cell for column, cell in zip(columns, line, strict=False) if cell.strip()}
    return {column: read_text(cell) if column in _KNOWN else read_value(cell) for column, cell in cells.items()}


def _parquet(path: Path) -> tuple[list[str], Rows]:
    try:
        from pyarrow import ArrowException, parquet
    except ModuleNotFoundError as error:
        raise SourceError(f"{path}: reading Parquet needs pyarrow: pip install pyarrow", str(path)) from error
    try:
        with open_regular(path) as file:
            table = parquet.read_table(file)
    except (OSError, ArrowException) as error:
        raise SourceError(f"{path}: cannot be read as a Parquet manifest: {str(error).splitlines()[0]}", str(path)) from error
    rows: list[Row] = [{column: cell for column, cell in row.items() if not _blank(cell)} for row in table.to_pylist()]
    return list(table.column_names), list(enumerate(rows, start=1))


def _blank(cell: Any) -> bool:
    return cell is None or cell == "" or (isinstance(cell, float) and math.isnan(cell))


def _sample(row: Row, folder: Path, below: Path | None) -> Sample:
    if "" in row:
        raise SourceError(str(row[""]))
    pictures = {modality: folder / str(row[modality]) for modality in MODALITIES if modality in row}
    if not pictures:
        raise SourceError("has no picture: rgb, nir and tir are all blank", "rgb")
    for modality, picture in pictures.items():
        _check_image(modality, picture, below)
    return Sample(
        id=_text(row, "id"),
        identity=_text(row, "identity"),
        camera=_integer(row.get("camera")),
        scene=_text(row, "scene"),
        time=_time(row.get("time")),
        kind=_kind(row.get("kind")),
        purpose=_text(row, "purpose"),
        expires=_time(row.get("expires")),
        attributes={column: _attribute(cell) for column, cell in row.items() if column not in _KNOWN},
        **pictures,
    )


def _check_image(modality: str, image: Path, below: Path | None) -> None:
    if "\0" in str(image):
        raise SourceError(f"{modality}: {str(image)!r} holds a NUL, which no file's name has", modality)
    if below is not None and not Path(os.path.realpath(image)).is_relative_to(below):
        raise SourceError(
            f"{modality}: {image} is outside the manifest's folder {below}; move it there, or allow it with"
            " --allow-outside (in a training configuration: data.allow_outside)",
            modality,
        )
    if not is_regular(image):
        what = "is not a regular file" if image.exists() else "does not exist"
        raise SourceError(f"{modality}: {image} {what}", modality)


def _first_picture(row: Row) -> str:
    return next(str(row[modality]) for modality in MODALITIES if modality in row)


def _text(row: Row, column: str) -> str | None:
    return str(row[column]) if column in row else None


def _integer(cell: Any) -> int | None:
    if cell is None:
        return None
    try:
        number = int(cell)
        if isinstance(cell, float) and number != cell:
            raise ValueError(cell)
    except (TypeError, ValueError, OverflowError):
        raise SourceError(f"camera: {cell!r} is not a whole number", "camera") from None
    return number


def _time(cell: Any) -> str | None:
    if cell is None:
        return None
    return cell.isoformat() if hasattr(cell, "isoformat") else str(cell)


def _kind(cell: Any) -> Kind | None:
    if cell is None:
        return None
    for kind in KINDS:
        if cell == kind:
            return kind
    raise SourceError(f"kind: {cell!r} is not one of {', '.join(KINDS)}", "kind")


def _attribute(cell: Any) -> Any:
    """A value that the store can hold: JSON's own kinds as they are, others (dates, decimals) as text."""
    return cell if isinstance(cell, str | bool | int | float) else str(cell)
