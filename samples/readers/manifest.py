"""Manifests: a table, CSV or Parquet, with a row per sample and paths relative to the file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

from trireid.samples.readers.columns import count_fields, read_columns
from trireid.samples.readers.rows import RowReader
from trireid.samples.readers.table import Rows, read_csv, read_parquet
from trireid.samples.roles import Part, Split, find_role, is_in, list_left_out
from trireid.samples.source import Entry, NotUsed, Source, read_entry


def read_manifest(path: Path, split: Split = "gallery", *, allow_outside: bool = False) -> Source:
    """Read a manifest's rows.

    Args:
        path: A CSV, TSV or Parquet file. Its columns rgb, nir, tir are images (blank: missing), id,
            identity, camera, scene, time, kind, purpose, expires what is known; role or split say
            the part in a protocol; others are attributes.
        split: The part that is asked for, if the rows say theirs.
        allow_outside: Take images that are not below the manifest's folder, symbolic links
            resolved.

    Returns:
        A source. A row without an `id` is named by the path of its first image. A row that cannot
        be used is an entry with an error.

    Raises:
        SourceError: The file is not a table, has no column of images, or one that cannot be
            understood.
    """
    is_parquet = path.suffix.lower() == ".parquet"
    table = read_parquet(path) if is_parquet else read_csv(path, count_fields)
    columns = read_columns(table, str(path))
    reader = RowReader(
        table,
        columns,
        path.parent,
        None if allow_outside else Path(os.path.realpath(path.parent)),
        is_parquet,
    )
    parts = (
        {number: reader.part(cells) for number, cells in table.rows} if columns.has_roles else {}
    )
    rows, passed = _in_split(table.rows, parts, split, reader)

    def entries() -> Iterator[Entry]:
        for number, cells in rows:
            part = parts.get(number)
            make = partial(reader.sample, cells)
            yield read_entry(
                f"row {number}", make, reader.name(cells), None if part == "?" else find_role(part)
            )

    name = f"{path}@{split}" if columns.has_roles else str(path)
    notes = (*columns.notes, *reader.notes)
    return Source(name, len(rows), entries, (*columns.not_used, *passed), notes, columns.tells)


def _in_split(
    rows: Rows, parts: Mapping[int, Part | Literal["?"] | None], split: Split, reader: RowReader
) -> tuple[Rows, list[NotUsed]]:
    """The rows of a split, and what of the others there is to say.

    A row whose part is not understood is in each.
    """
    if not parts:
        return rows, []
    chosen = [row for row in rows if (part := parts[row[0]]) == "?" or is_in(part, split)]
    passed = list(list_left_out((part for part in parts.values() if part != "?"), split, "rows"))
    if split == "query":
        nameless = [
            number for number, cells in chosen if parts[number] != "?" and reader.is_nameless(cells)
        ]
        if nameless:
            left = set(nameless)
            chosen = [row for row in chosen if row[0] not in left]
            passed.append(
                NotUsed(
                    "rows without an identity",
                    len(nameless),
                    "they cannot be queries",
                    f"row {nameless[0]}",
                )
            )
    return chosen, passed
