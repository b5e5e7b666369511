"""SOURCE: where samples come from, as the command line names it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from samples.errors import SourceError
from samples.readers.datasets import READERS, SPLITS, Split
from samples.readers.folder import read_folder
from samples.readers.manifest import read_manifest
from samples.sample import KINDS
from samples.source import Entry, Source

#: Pictures that a camera takes of each identity of a synthetic source.
SHOTS: Final = 2
FORMS: Final = "rgbnt201:DIR, rgbnt100:DIR, msvr310:DIR, manifest.csv, manifest.parquet, a folder, synthetic:KIND:IDENTITIES"


def open_source(name: str, split: Split = "gallery", *, allow_outside: bool = False) -> Source:
    """The source that `name` stands for; of a data set the split that it names (`rgbnt201:DIR@query`), else `split`.

    `allow_outside`: a manifest's images may lie outside its folder. Raises SourceError where the name stands for no source, or
    the source cannot be read as a whole.
    """
    scheme, _, rest = name.partition(":")
    if scheme == "synthetic":
        return _synthetic(name)
    if scheme in READERS:
        return _data_set(name, scheme, rest, split)
    path = Path(name)
    if path.suffix.lower() in (".csv", ".parquet"):
        return read_manifest(path, allow_outside=allow_outside)
    if path.is_dir():
        return read_folder(path)
    raise SourceError(f"{name}: not a SOURCE; known forms: {FORMS}", name)


def _data_set(name: str, scheme: str, rest: str, split: Split) -> Source:
    folder, at, asked = rest.rpartition("@")
    for known in SPLITS:
        if asked == known:
            return READERS[scheme](Path(folder), known)
    if at and not Path(rest).is_dir():
        raise SourceError(f"{name}: {asked} is no split; there are {', '.join(SPLITS)}", name)
    return READERS[scheme](Path(rest), split)


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
