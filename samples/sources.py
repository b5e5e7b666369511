"""SOURCE: where samples come from, as the command line names it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from trireid.samples.errors import SourceError
from trireid.samples.readers.datasets import READERS
from trireid.samples.readers.folder import read_folder
from trireid.samples.readers.manifest import read_manifest
from trireid.samples.readers.rgb_datasets import RGB_READERS
from trireid.samples.roles import SPLITS, Split
from trireid.samples.source import Source

#: The group of entry points by which a package adds a scheme: NAME = "package.module:function",
#: called with the name, the split and options, which returns a Source.
PLUGINS: Final = "trireid.sources"
_DATA_SETS: Final = {**READERS, **RGB_READERS}
FORMS: Final = ", ".join(
    (
        *(f"{name}:DIR" for name in _DATA_SETS),
        "manifest.csv, .tsv or .parquet, a folder, synthetic:KIND:IDENTITIES",
    )
)
_TABLES: Final = (".csv", ".tsv", ".parquet")
#: Other files that people keep tables in, and what to do with them.
_OTHER_TABLES: Final = {
    **dict.fromkeys(
        (".xlsx", ".xls", ".xlsm", ".ods", ".numbers"), "save it as CSV (in Excel: CSV UTF-8)"
    ),
    **dict.fromkeys(
        (".gz", ".zip", ".bz2", ".xz", ".zst", ".tar", ".tgz", ".7z"), "unpack it first"
    ),
    **dict.fromkeys(
        (".json", ".jsonl", ".feather", ".arrow", ".pkl", ".pickle", ".h5"),
        "save it as CSV or Parquet",
    ),
}


def open_source(
    name: str,
    split: Split = "gallery",
    *,
    allow_outside: bool = False,
    pattern: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Source:
    """Open the source that a name stands for.

    Args:
        name: A SOURCE as the command line takes it. `@train`, `@query` or `@gallery` at its end
            asks for that split.
        split: The split to take otherwise. A source that does not tell splits apart gives all of
            its samples for each.
        allow_outside: A manifest's images may lie outside its folder.
        pattern: The meaning of the names of a folder's images, as in `{identity}_c{camera}_{*}`.
        options: For a scheme of another package, as `world` and `shots` of `synthetic`.

    Raises:
        SourceError: The name stands for no source, or the source cannot be read as a whole.
    """
    scheme, _, rest = name.partition(":")
    if pattern is not None and not Path(_take_split(name, split)[0]).is_dir():
        raise SourceError(f"--pattern is for a folder; {name} is not one", "--pattern")
    if scheme in _DATA_SETS:
        return _data_set(name, scheme, rest, split)
    if rest and (plugged := _find_plugin(scheme)):
        return plugged(name, split, **(options or {}))
    base, split = _take_split(name, split)
    path = Path(base)
    if path.is_dir():
        return read_folder(path, split, pattern)
    return _table(name, path, split, allow_outside)


def _take_split(name: str, split: Split) -> tuple[str, Split]:
    """The name without its split, and that or the default; a file that is called so is taken by its
    name.
    """
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


def _find_plugin(scheme: str) -> Callable[..., Source] | None:
    """Find the opener of `SCHEME:...`: a function that an installed package names in its entry
    points, group `trireid.sources`.
    """
    found = entry_points(group=PLUGINS, name=scheme) if scheme.isidentifier() else ()
    return next((each.load() for each in found), None)
