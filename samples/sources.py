"""SOURCE: where samples come from, as the command line names it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from samples.errors import SourceError
from samples.readers.datasets import READERS
from samples.readers.folder import read_folder
from samples.readers.manifest import read_manifest
from samples.readers.rgb_datasets import RGB_READERS
from samples.roles import SPLITS, Split
from samples.sample import KINDS
from samples.source import Entry, Source

#: Pictures that a camera takes of each identity of a synthetic source.
SHOTS: Final = 2
_DATA_SETS: Final = {**READERS, **RGB_READERS}
FORMS: Final = ", ".join(
    (*(f"{name}:DIR" for name in _DATA_SETS), "manifest.csv, .tsv or .parquet, a folder, synthetic:KIND:IDENTITIES")
)
_TABLES: Final = (".csv", ".tsv", ".parquet")
#: What else people keep tables in, and what to do with it.
_OTHER_TABLES: Final = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".ods", ".numbers"), "save it as CSV (in Excel: CSV UTF-8)"),
    **dict.fromkeys((".gz", ".zip", ".bz2", ".xz", ".zst", ".tar", ".tgz", ".7z"), "unpack it first"),
    **dict.fromkeys((".json", ".jsonl", ".feather", ".arrow", ".pkl", ".pickle", ".h5"), "save it as CSV or Parquet"),
}


def open_source(name: str, split: Split = "gallery", *, allow_outside: bool = False, pattern: str | None = None) -> Source:
    """Open the source that a name stands for.

    Args:
        name: A SOURCE as the command line takes it. `@train`, `@query` or `@gallery` at its end asks for that split.
        split: The split to take otherwise. A source that does not tell splits apart gives all of its samples for each.
        allow_outside: A manifest's images may lie outside its folder.
        pattern: What the names of a folder's images say, as in `{identity}_c{camera}_{*}`.

    Raises:
        SourceError: The name stands for no source, or the source cannot be read as a whole.
    """
    scheme, _, rest = name.partition(":")
    if pattern is not None and not Path(_split_of(name, split)[0]).is_dir():
        raise SourceError(f"--pattern is for a folder; {name} is not one", "--pattern")
    if scheme == "synthetic":
        return _synthetic(name)
    if scheme in _DATA_SETS:
        return _data_set(name, scheme, rest, split)
    base, split = _split_of(name, split)
    path = Path(base)
    if path.is_dir():
        return read_folder(path, split, pattern)
    return _table(name, path, split, allow_outside)


def _split_of(name: str, split: Split) -> tuple[str, Split]:
    """The name without its split, and that or the default; a file that is called so is taken by its name."""
    base, at, asked = name.rpartition("@")
    known = next((each for each in SPLITS if asked == each), None)
    return (base, known) if at and known and not Path(name).exists() else (name, split)


def _table(name: str, path: Path, split: Split, allow_outside: bool) -> Source:
    if path.suffix.lower() in _TABLES:
        return read_manifest(path, split, allow_outside=allow_outside)
    if path.is_file() and (advice := _OTHER_TABLES.get(path.suffix.lower())):
        raise SourceError(f"{name}: {path.suffix} files are not read; {advice}", name)
    missing = "" if path.exists() else "does not exist, and is "
    raise SourceError(f"{name}: {missing}not a SOURCE; known forms: {FORMS}", name)


def _data_set(name: str, scheme: str, rest: str, split: Split) -> Source:
    folder, at, asked = rest.rpartition("@")
    for known in SPLITS:
        if asked == known:
            return _DATA_SETS[scheme](Path(folder), known)
    if at and not Path(rest).is_dir():
        raise SourceError(f"{name}: {asked} is not a split; there are {', '.join(SPLITS)}", name)
    return _DATA_SETS[scheme](Path(rest), split)


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
