"""SOURCE: where samples come from, as the command line names it.

`manifest.csv` · `synthetic:KIND:IDENTITIES`. A source yields entries; an entry that cannot be made into a sample carries its
fault instead, so that one bad row never stops the rest.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from samples.errors import SourceError, TrireidError
from samples.sample import KINDS, MODALITIES, Kind, Sample

_KNOWN: Final = (*MODALITIES, "id", "identity", "camera", "scene", "time", "kind")
#: Pictures that a camera takes of each identity of a synthetic source.
SHOTS: Final = 2
FORMS: Final = "manifest.csv, synthetic:KIND:IDENTITIES"


@dataclass(frozen=True)
class Entry:
    """One place of a source: `place` names it (`row 7`), and it holds a sample or the fault that keeps it from being one."""

    place: str
    sample: Sample | None = None
    fault: TrireidError | None = None


@dataclass(frozen=True)
class Source:
    """A source of `total` entries; iterate it as often as you like."""

    name: str
    total: int
    entries: Callable[[], Iterator[Entry]]

    def __iter__(self) -> Iterator[Entry]:
        return self.entries()

    def __len__(self) -> int:
        return self.total


def open_source(name: str) -> Source:
    """The source that `name` stands for. Raises SourceError where it stands for none, or cannot be read as a whole."""
    if name.startswith("synthetic:"):
        return _synthetic(name)
    path = Path(name)
    if path.suffix.lower() == ".csv":
        return _manifest(path)
    raise SourceError(f"{name}: not a SOURCE; known forms: {FORMS}", name)


def _synthetic(name: str) -> Source:
    from samples.synthetic import World  # the drawing code is not loaded for other sources
    from samples.synthetic.source import synthetic_samples

    _, *parts = name.split(":")
    kind = next((known for known in KINDS if parts and parts[0] == known), None)
    if kind is None or len(parts) != 2 or not parts[1].isdecimal() or int(parts[1]) < 1:
        raise SourceError(f"{name}: expected synthetic:KIND:IDENTITIES, as in synthetic:person:50", name)
    identities = int(parts[1])

    def entries() -> Iterator[Entry]:
        for sample in synthetic_samples(kind, identities, shots=SHOTS):
            yield Entry(str(sample.id), sample)

    return Source(name, identities * len(World(kind=kind).cameras_of(0)) * SHOTS, entries)


def _manifest(path: Path) -> Source:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns, rows = list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SourceError(f"{path}: cannot be read as a CSV manifest: {reason}", str(path)) from error
    if not any(modality in columns for modality in MODALITIES):
        raise SourceError(f"{path}: has no column rgb, nir or tir (its columns: {', '.join(columns) or 'none'})", str(path))

    def entries() -> Iterator[Entry]:
        for number, row in enumerate(rows, start=2):  # row 1 is the header, as a spreadsheet counts
            place = f"row {number}"
            try:
                yield Entry(place, _sample(row, path.parent))
            except TrireidError as fault:
                yield Entry(place, fault=fault)

    return Source(str(path), len(rows), entries)


def _sample(row: Mapping[str | None, Any], folder: Path) -> Sample:
    """A manifest's row as a sample; without an `id`, the id is the path of the first picture. Raises SourceError."""
    if None in row:
        raise SourceError("has more cells than the header", None)
    values = {str(column): (cell or "").strip() for column, cell in row.items()}
    given = {column: cell for column, cell in values.items() if cell}
    pictures = {modality: folder / given[modality] for modality in MODALITIES if modality in given}
    if not pictures:
        raise SourceError("has no picture: rgb, nir and tir are all blank", "rgb")
    for modality, picture in pictures.items():
        if not picture.is_file():
            raise SourceError(f"{modality}: {picture} does not exist", modality)
    first = next(given[modality] for modality in pictures)
    return Sample(
        id=given.get("id", first),
        identity=given.get("identity"),
        camera=_integer(given.get("camera"), "camera"),
        scene=given.get("scene"),
        time=given.get("time"),
        kind=_kind(given.get("kind")),
        attributes={column: _value(cell) for column, cell in given.items() if column not in _KNOWN},
        **pictures,
    )


def _integer(text: str | None, column: str) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        raise SourceError(f"{column}: {text!r} is not a whole number", column) from None


def _kind(text: str | None) -> Kind | None:
    if text is None:
        return None
    for kind in KINDS:
        if text == kind:
            return kind
    raise SourceError(f"kind: {text!r} is not one of {', '.join(KINDS)}", "kind")


def _value(cell: str) -> Any:
    """An attribute's cell: a number or true/false where it is written as one, else the text."""
    try:
        value = json.loads(cell)
    except json.JSONDecodeError:
        return cell
    return value if isinstance(value, bool | int | float) and str(value).lower() == cell.lower() else cell
