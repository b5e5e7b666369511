"""An evaluation from SOURCE to figures, and what was given for it and is not used."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from trireid.evaluation.protocol import Protocol, check_measurable
from trireid.inference.card import Card
from trireid.inference.embedder import Embedder, Present
from trireid.inference.retrieval import (
    Embedded,
    Row,
    Subset,
    embed_source,
    list_subsets,
    make_mask,
    score_retrieval,
)
from trireid.samples import MODALITIES, TrireidError
from trireid.samples.source import NotUsed, Source

#: Fields of a sample that no figure depends on.
_IDLE: Final = ("time", "kind", "purpose", "expires")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The figures of a run, and the samples they were measured on.

    `query`, `gallery`: both sides, one object for all against all; `subsets`: those that were asked
    for.
    """

    sources: tuple[Source, Source]
    query: Embedded
    gallery: Embedded
    card: Card
    protocol: Protocol
    subsets: tuple[Subset, ...]
    rows: list[Row]
    idle: tuple[NotUsed, ...] = ()

    @property
    def rejected(self) -> list[tuple[str, str]]:
        """The place and error of each entry that was rejected; of a table or folder that both sides
        read, once.
        """
        found = [each for part in self._parts() for each in part.rejected]
        return list(dict.fromkeys(found)) if _are_of_one(self.sources) else found

    @property
    def identified(self) -> int:
        """How many samples are queries: those with an identity."""
        return sum(sample.identity is not None for sample in self.query.samples)

    @property
    def without_identity(self) -> int:
        """How many samples have no identity: they are not queries, and match none."""
        places = set()
        for side, part in enumerate(self._parts()):
            places |= {
                (side, p)
                for s, p in zip(part.samples, part.places, strict=True)
                if s.identity is None
            }
        return len(places)

    def modalities(self, part: Embedded) -> dict[str, int]:
        """How many samples of a side have which modalities, of those that the network sees."""
        return dict(Counter(_names(part.present & make_mask(MODALITIES, self.card))).most_common())

    def not_used(self) -> list[NotUsed]:
        """Everything that was given and has no part in the figures."""
        unseen = [_unseen(self._parts(), self.card)]
        return [
            *_list_passed_over(self.sources),
            *(_idle_fields(self._parts()) if _are_of_one(self.sources) else ()),
            *(each for each in unseen if each is not None),
            *self._subsets_left_out(),
            *self.idle,
        ]

    def notes(self) -> list[str]:
        """How the sources were read, in sentences."""
        return list(dict.fromkeys(note for source in self.sources for note in source.notes))

    def _parts(self) -> list[Embedded]:
        return [self.query] if self.query is self.gallery else [self.query, self.gallery]

    def _subsets_left_out(self) -> Iterator[NotUsed]:
        if len(self.subsets) == 1:
            return
        there = np.any([part.present.any(axis=0) for part in self._parts()], axis=0)
        absent = {
            m
            for m, is_there in zip(MODALITIES, there, strict=True)
            if not is_there and m in self.card.modalities
        }
        named = " or ".join(m for m in MODALITIES if m in absent)
        shown = {row.name for row in self.rows}
        left = [subset for subset in self.subsets if "+".join(subset) not in shown]
        without = [subset for subset in left if absent & set(subset)]
        if without:
            yield NotUsed(
                f"subsets of modalities with {named}",
                len(without),
                f"no sample has an image of {named}",
            )
        for subset in (subset for subset in left if not absent & set(subset)):
            yield NotUsed(
                f"subset {'+'.join(subset)}", 1, "no query has a match with an image of it"
            )
        for row in {row.subset: row for row in self.rows}.values():
            mask = make_mask(row.subset, self.card)
            lacking = sum(int((~(part.present & mask).any(axis=1)).sum()) for part in self._parts())
            if lacking:
                yield NotUsed(
                    f"samples without {row.name}",
                    lacking,
                    f"they are not in the rows of {row.name}",
                )


def run_evaluation(
    embedder: Embedder,
    sources: tuple[Source, Source],
    protocol: Protocol,
    *,
    missing: bool = False,
    reranked: bool = False,
) -> Evaluation:
    """Embed a source's queries and gallery, and measure.

    Args:
        embedder: The network.
        sources: The queries and the gallery, of one name for all against all.
        protocol: Which items a query is compared with.
        missing: Measure every subset of the modalities, not only the whole.
        reranked: Add rows with k-reciprocal re-ranking.

    Raises:
        SourceError: Nothing can be measured; found before anything is embedded, as far as the
            labels say it.
    """
    query, gallery = sources
    check_measurable(query, gallery, protocol)
    subsets = list_subsets(embedder.card)[: None if missing else 1]
    asked, held = _embed_sides(embedder, sources, subsets)
    rows = score_retrieval(asked, held, embedder.card, protocol=protocol, reranked=reranked)
    idle = []
    if missing and len({row.name for row in rows}) == 1:
        idle.append(NotUsed("option --missing", 1, f"all that can be compared is {rows[0].name}"))
    return Evaluation(
        sources=sources,
        query=asked,
        gallery=held,
        card=embedder.card,
        protocol=protocol,
        subsets=subsets,
        rows=rows,
        idle=tuple(idle),
    )


def _embed_sides(
    embedder: Embedder, sources: tuple[Source, Source], subsets: Sequence[Subset]
) -> tuple[Embedded, Embedded]:
    """Queries and gallery; queries that are all in the gallery, too, are embedded once."""
    query, gallery = sources
    held = embed_source(embedder, gallery, subsets)
    if query.name == gallery.name:
        return held, held
    if _are_of_one(sources):
        places = [entry.place for entry in query]
        if set(places) <= {*held.places, *(place for place, _ in held.rejected)}:
            return held.take(places), held
    return embed_source(embedder, query, subsets), held


def check_outputs(csv: str | None, plots: str | None) -> None:
    """Check, before any work is done, that what was asked for can be written.

    Raises:
        TrireidError: The file or folder cannot be written, or matplotlib is not installed.
    """
    if csv is not None:
        if Path(csv).is_dir():
            raise TrireidError(f"--csv: {csv} is a folder; name a file", "--csv")
        _check_writable(Path(csv).absolute().parent, "--csv")
    if plots is None:
        return
    if os.path.lexists(plots) and not Path(plots).is_dir():
        raise TrireidError(
            f"--plot: {plots} is not a folder; name a new one, or one that is there", "--plot"
        )
    folder = Path(plots).absolute()
    _check_writable(next(each for each in (folder, *folder.parents) if each.exists()), "--plot")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise TrireidError(
            "--plot needs matplotlib: pip install 'trireid[plot]'", "--plot"
        ) from error


def _check_writable(folder: Path, option: str) -> None:
    if not folder.is_dir():
        raise TrireidError(
            f"{option}: the folder {folder} does not exist; make it, or name another", option
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise TrireidError(
            f"{option}: the folder {folder} cannot be written to; name another", option
        )


def _names(present: Present) -> list[str]:
    return [
        "+".join(m for m, there in zip(MODALITIES, row, strict=True) if there)
        for row in present.tolist()
    ]


def _list_passed_over(sources: tuple[Source, Source]) -> Iterator[NotUsed]:
    """Everything that the readers passed over; of one table or folder, which both sides read, that
    which neither of them used.
    """
    query, gallery = (source.not_used for source in sources)
    if sources[0].name == sources[1].name:
        yield from gallery
    elif _are_of_one(sources):
        held = {each.what for each in gallery}
        yield from (each for each in query if each.what in held)
    else:
        yield from query
        yield from gallery


def _are_of_one(sources: tuple[Source, Source]) -> bool:
    """Whether both sides are of one table or folder, rather than of two parts of a data set."""
    names = {source.name for source in sources}
    bases = {name if Path(name).exists() else name.rpartition("@")[0] for name in names}
    return len(bases) == 1 and Path(bases.pop() or "?").exists()


def _idle_fields(parts: Sequence[Embedded]) -> Iterator[NotUsed]:
    """The fields that no figure depends on, of a table or folder; a data set's reader gives them by
    itself.
    """
    for name in _IDLE:
        count = sum(getattr(sample, name) is not None for part in parts for sample in part.samples)
        if count:
            yield NotUsed(
                f"values of {name}", count, "evaluation looks at identity, camera and scene"
            )


def _unseen(parts: Sequence[Embedded], card: Card) -> NotUsed | None:
    unseen = np.concatenate([part.present for part in parts]) & ~make_mask(MODALITIES, card)
    if not unseen.any():
        return None
    first = MODALITIES[int(np.flatnonzero(unseen.any(axis=0))[0])]
    return NotUsed(
        "images",
        int(unseen.sum()),
        f"{card.name} sees {' and '.join(card.modalities)} alone",
        first,
    )
