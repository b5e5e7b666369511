"""The columns of a manifest: which name stands for which field of a sample, and what becomes of all
others.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from trireid.samples.cells import is_blank, read_text, write_text
from trireid.samples.errors import SourceError
from trireid.samples.metadata import METADATA
from trireid.samples.readers.modality_names import find_modality
from trireid.samples.readers.table import Table, looks_like_image
from trireid.samples.roles import WORDS, find_part
from trireid.samples.sample import MODALITIES
from trireid.samples.source import NotUsed

FIELDS: Final = (
    *MODALITIES,
    "id",
    *(name for name in METADATA if name != "attributes"),
    "role",
    "split",
)
#: Other names that mean a field, whatever the column holds.
_SYNONYMS: Final[dict[str, str]] = {
    **dict.fromkeys(
        (
            "cam", "camid", "cam_id", "camera_id", "cameraid", "cam_no", "camera_no",
            "camera_number",
        ),
        "camera",
    ),
    **dict.fromkeys(
        (
            "pid", "person_id", "personid", "vehicle_id", "vehicleid", "identity_id", "subject_id",
        ),
        "identity",
    ),
    **dict.fromkeys(("item_id", "sample_id"), "id"),
}  # fmt: skip
_MARK: Final = "'"  #: in front of a header's cell: an attribute, whatever it is called
_NEAR_ID: Final = ("ids", "idd", "iid", "di")
_UNNAMED: Final = re.compile(
    r"(?:unnamed: \d+(?:\.\d+)*(?:_level_\d+)?|__index_level_\d+__|)", re.IGNORECASE
)
_INTEGER: Final = re.compile(r"\d+(?:\.0)?")
_COPY: Final = re.compile(r"(?P<name>.+)\.\d+")


@dataclass
class Columns:
    """The columns of a sample's fields and attributes in a row; what is not used; notes on what
    was taken as what.
    """

    fields: dict[str, int] = field(default_factory=dict)
    attributes: dict[str, int] = field(default_factory=dict)
    not_used: list[NotUsed] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def has_roles(self) -> bool:
        """Whether the rows say their part in a protocol."""
        return not self.fields.keys().isdisjoint(("role", "split"))

    @property
    def tells(self) -> frozenset[str]:
        """The fields and attributes that the rows say, images and roles aside."""
        return frozenset(self.fields) - {*MODALITIES, "role", "split"} | frozenset(self.attributes)


def count_fields(header: Sequence[str]) -> int:
    """Count the cells of a header that name a field."""
    return sum(
        _plain(cell) in FIELDS or _plain(cell) in _SYNONYMS or find_modality(cell) is not None
        for cell in header
    )


def read_columns(table: Table, path: str) -> Columns:
    """Tell what the columns of a table stand for.

    Raises:
        SourceError: No column holds images; two stand for one field; one has no name, or a name
            that is one letter from a field's. The message names the column and says what to change.
    """
    _refuse_row_names(table, path)
    found = Columns()
    for position, cell in enumerate(table.header):
        name = unicodedata.normalize("NFC", cell[1:] if _is_marked(cell) else read_text(cell))
        if _is_marked(cell):
            _put(found.attributes, name, position, table, path)
        else:
            _place(found, table, position, name, path)
    _require_images(found, table, path)
    if found.attributes:
        names = ", ".join(found.attributes)
        found.not_used.append(
            NotUsed(
                "columns kept as attributes", len(found.attributes), "not fields of a sample", names
            )
        )
    return found


def _refuse_row_names(table: Table, path: str) -> None:
    """Refuse rows that have one cell more than the header, as R writes their names; columns would
    be off by one.
    """
    width = len(table.header) + 1
    if table.rows and all(len(row) == width and not is_blank(row[-1]) for _, row in table.rows):
        raise SourceError(
            f"{path}: every row has one cell more than the header, as R writes row names; write it"
            " with"
            " row.names=FALSE (in write.csv2 also), or name the first column",
            path,
        )


def write_header(name: str) -> str:
    """Return the header's cell of an attribute: marked if its name would be taken for a field's, or
    refused.
    """
    plain = _plain(name)
    taken = (*FIELDS, *_SYNONYMS, *(each for names, _ in _BY_CONTENT.values() for each in names))
    is_taken = plain in taken or find_modality(name) is not None or _near(plain)
    is_unclear = (
        is_taken or name.startswith(_MARK) or _UNNAMED.fullmatch(name) or _COPY.fullmatch(plain)
    )
    return f"{_MARK}{name}" if is_unclear else write_text(name)


def _is_marked(cell: str) -> bool:
    is_quoted = cell.endswith(_MARK) and _plain(cell) in FIELDS
    return cell.startswith(_MARK) and not is_quoted


def _place(found: Columns, table: Table, position: int, name: str, path: str) -> None:
    if _UNNAMED.fullmatch(name):
        _drop_unnamed(found, table, position, name, path)
        return
    known = _find_field(name, table, position)
    if known in ("role", "split") and not _says_parts(table, position):
        found.notes.append(f"column {name} is an attribute: most of it is none of {WORDS}")
        known = None
    if known is None:
        _refuse_near(name, found, path)
        _put(found.attributes, name, position, table, path)
        return
    _put(found.fields, known, position, table, path)
    if known != name:
        found.notes.append(f"column {name} is read as {known}")


def _put(places: dict[str, int], name: str, position: int, table: Table, path: str) -> None:
    if name in places:
        both = " and ".join(
            f"{table.header[place].strip()} (column {place + 1})"
            for place in (places[name], position)
        )
        raise SourceError(f"{path}: {both} are both {name}; delete or rename one", path)
    places[name] = position


def _find_field(name: str, table: Table, position: int) -> str | None:
    """The field that a column stands for, by its name and, if that may mean something else, by what
    it holds.
    """
    plain = _plain(name)
    if plain in FIELDS:
        return plain
    if plain in _SYNONYMS:
        return _SYNONYMS[plain]
    modality = find_modality(name)
    if modality is not None and _holds(table, position, looks_like_image):
        return modality
    for known, (names, holds) in _BY_CONTENT.items():
        if plain in names and _holds(table, position, holds):
            return known
    return None


def _says_parts(table: Table, position: int) -> bool:
    """Whether a column says the parts of a protocol: more than half of it, so that a mistyped one
    is an error of its row.
    """
    cells = _cells(table, position)
    return not cells or 2 * sum(map(_is_part, cells)) > len(cells)


def _holds(table: Table, position: int, what: Callable[[Any], object]) -> bool:
    """Whether all that a column holds is such; not if it is blank."""
    cells = _cells(table, position)
    return bool(cells) and all(what(cell) for cell in cells)


def _cells(table: Table, position: int) -> list[Any]:
    cells = (row[position] for _, row in table.rows if position < len(row))
    return [cell for cell in cells if not is_blank(cell)]


def is_moment(cell: Any) -> bool:
    """Return whether a cell is a time in ISO 8601, and not a plain number."""
    if isinstance(cell, datetime):
        return True
    try:
        datetime.fromisoformat(str(cell).strip())
    except ValueError:
        return False
    return not str(cell).strip().isdecimal()


def _is_part(cell: Any) -> bool:
    return isinstance(cell, str) and find_part(cell) is not None


#: Names that mean a field only if the column holds what the field does.
_BY_CONTENT: Final[dict[str, tuple[tuple[str, ...], Callable[[Any], bool]]]] = {
    "time": (("timestamp", "datetime", "date_time", "captured_at"), is_moment),
    "role": (("subset", "partition", "set", "phase"), _is_part),
}


def _plain(name: str) -> str:
    return re.sub(
        r"[\s\-]+", "_", unicodedata.normalize("NFKC", name).strip(" \t\r\n\"'`").casefold()
    )


def _drop_unnamed(found: Columns, table: Table, position: int, name: str, path: str) -> None:
    """Pass over a column without a name if it is blank, or holds row numbers, as pandas writes
    them.
    """
    cells = _cells(table, position)
    if not cells:
        return
    if all(_INTEGER.fullmatch(str(cell).strip()) for cell in cells):
        where = f"column {position + 1}"
        found.not_used.append(NotUsed("column without a name", 1, "it holds row numbers", where))
        return
    other = next(cell for cell in cells if not _INTEGER.fullmatch(str(cell).strip()))
    raise SourceError(
        f"{path}: column {position + 1} has no name{f' ({name})' if name else ''} and holds"
        f" {other!r}; name it or delete it",
        path,
    )


def _refuse_near(name: str, found: Columns, path: str) -> None:
    plain = _plain(name)
    copy = _COPY.fullmatch(plain)
    if copy is not None and copy["name"] in found.fields:
        raise SourceError(
            f"{path}: column {name} is a second {copy['name']}, as pandas names it; delete one",
            path,
        )
    near = _near(plain)
    if near:
        raise SourceError(
            f"{path}: column {name}: did you mean {' or '.join(near)}? Rename it; to keep it as an"
            " attribute put an"
            f" apostrophe in front of its name ({_MARK}{name})",
            path,
        )


def _near(plain: str) -> list[str]:
    return [known for known in FIELDS if _is_near(plain, known)]


def _is_near(name: str, known: str) -> bool:
    """Whether one letter more, less or other, or two swapped, make one of the other."""
    if known == "id":
        return name in _NEAR_ID
    if len(name) == len(known):
        differ = [i for i in range(len(name)) if name[i] != known[i]]
        swapped = len(differ) == 2 and differ[1] == differ[0] + 1
        return len(differ) == 1 or (
            swapped and name[differ[0]] == known[differ[1]] and name[differ[1]] == known[differ[0]]
        )
    shorter, longer = sorted((name, known), key=len)
    return len(longer) - len(shorter) == 1 and any(
        longer[:i] + longer[i + 1 :] == shorter for i in range(len(longer))
    )


def _require_images(found: Columns, table: Table, path: str) -> None:
    if not found.fields.keys().isdisjoint(MODALITIES):
        return
    names = ", ".join(cell.strip() for cell in table.header) or "none"
    message = f"{path}: has no column rgb, nir or tir (its columns: {names})"
    holding = [
        cell.strip()
        for place, cell in enumerate(table.header)
        if any(map(looks_like_image, _cells(table, place)))
    ]
    if any(looks_like_image(cell) for cell in table.header):
        message += "; its first row must name the columns"
    elif holding:
        message += f"; {holding[0]} holds images: rename it rgb, nir or tir"
    raise SourceError(message, path)
