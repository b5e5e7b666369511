"""Retrieval on a SOURCE, by the field's protocol: patterns side by side, with modalities missing,
re-ranked.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from trireid.evaluation import Scores, evaluate, evaluate_distance, normalize, rerank
from trireid.evaluation.protocol import Protocol, encode_labels
from trireid.inference.card import Card
from trireid.inference.embedder import (
    BATCH,
    Cameras,
    Embedder,
    Embeddings,
    Images,
    Present,
    find_undirected,
    pixels,
)
from trireid.samples import MODALITIES, Modality, Sample, SourceError, TrireidError
from trireid.samples.printable import printable
from trireid.samples.source import Entry, Source

Subset = tuple[Modality, ...]
ALL: Final[Subset] = MODALITIES
#: Every subset of the modalities, whole first.
SUBSETS: Final[tuple[Subset, ...]] = tuple(
    s for n in (3, 2, 1) for s in combinations(MODALITIES, n)
)
#: The branches of the card's segments that each pattern compares.
PATTERNS: Final = {1: ("global",), 2: ("head",), 3: ("global", "head")}


@dataclass(frozen=True)
class Row:
    """One line of the table.

    `subset`: the modalities that were allowed; `modalities` and `gallery_modalities`: those of them
    that queries and gallery items have; `pattern`: what was compared; `gallery_items`: how many
    have an image of these.
    """

    subset: Subset
    modalities: Subset
    gallery_modalities: Subset
    pattern: int
    reranked: bool
    scores: Scores
    gallery_items: int

    @property
    def name(self) -> str:
        """The modalities compared, as in `rgb+nir`, or `nir -> rgb` if the gallery has other ones
        than the queries.
        """
        sides = ["+".join(side) for side in (self.modalities, self.gallery_modalities)]
        return sides[0] if sides[0] == sides[1] else " -> ".join(sides)


@dataclass(frozen=True)
class Embedded:
    """A source's samples with their embeddings by subset, float32 [M, D].

    `present` bool [M, 3]: which images a sample has; `places`: where each sample is in the source;
    `rejected`: (place, message) of each entry that was rejected.
    """

    samples: list[Sample]
    embeddings: dict[Subset, Embeddings]
    rejected: list[tuple[str, str]]
    present: Present
    places: list[str]

    def take(self, places: Iterable[str]) -> Embedded:
        """Return the samples at some places, in that order; rejected ones are left out."""
        rows = {place: row for row, place in enumerate(self.places)}
        taken = [rows[place] for place in places if place in rows]
        embeddings = {subset: part[taken] for subset, part in self.embeddings.items()}
        samples = [self.samples[row] for row in taken]
        return Embedded(
            samples, embeddings, [], self.present[taken], [self.places[row] for row in taken]
        )


def embed_source(
    embedder: Embedder, source: Source, subsets: Sequence[Subset] = (ALL,)
) -> Embedded:
    """Embed a source once for each subset of modalities, with a progress bar; entries with an error
    are rejected.

    Subsets that show the same images of a batch are embedded once; a sample that shows none has a
    row of zeros. Raises SourceError if nothing is left.
    """
    entries: list[Entry] = []
    rejected: list[tuple[str, str]] = []
    masks: list[Present] = []
    parts: dict[Subset, list[Embeddings]] = {subset: [] for subset in subsets}
    for batch, inputs in decode_source(source, embedder.card, f"embedding {source.name}", rejected):
        found = _embed_subsets(embedder, inputs, subsets)
        undirected = _find_undirected(found, inputs[2], embedder.card)
        rejected += [(batch[row].place, why) for row, why in sorted(undirected.items())]
        rest = [row for row in range(len(batch)) if row not in undirected]
        for subset, part in found.items():
            parts[subset].append(part[rest])
        masks.append(inputs[2][rest])
        entries += [batch[row] for row in rest]
    if not entries:
        raise SourceError(
            f"{source.name}: no sample in it can be used ({len(rejected)} rejected)", source.name
        )
    embeddings = {subset: np.concatenate(part) for subset, part in parts.items()}
    samples = [entry.sample for entry in entries if entry.sample is not None]
    return Embedded(
        samples, embeddings, rejected, np.concatenate(masks), [entry.place for entry in entries]
    )


def _embed_subsets(
    embedder: Embedder, inputs: tuple[Images, Cameras, Present], subsets: Sequence[Subset]
) -> dict[Subset, Embeddings]:
    images, camera, present = inputs
    by_mask: dict[bytes, Embeddings] = {}
    found = {}
    for subset in subsets:
        shown = present & make_mask(subset, embedder.card)
        some = shown.any(axis=1)
        if (mark := shown.tobytes()) not in by_mask:
            by_mask[mark] = np.zeros((len(images), embedder.card.dimension), np.float32)
            if some.any():
                by_mask[mark][some] = embedder.run(images[some], camera[some], shown[some])[0]
        found[subset] = by_mask[mark]
    return found


def _find_undirected(
    found: dict[Subset, Embeddings], present: Present, card: Card
) -> dict[int, str]:
    """The samples to which the network gives no direction by some images, with the reason."""
    undirected: dict[int, str] = {}
    for subset, part in found.items():
        shown: Present = present & make_mask(subset, card)
        undirected |= {row: why for row, why in find_undirected(part).items() if shown[row].any()}
    return undirected


def score_retrieval(
    query: Embedded,
    gallery: Embedded,
    card: Card,
    *,
    protocol: Protocol | None = None,
    reranked: bool = False,
) -> list[Row]:
    """The table: every subset that both were embedded for, patterns 1 to 3, and re-ranked where
    asked.

    A sample without an identity is not a query, and matches none. In a subset's rows are the
    samples that have an image of it; subsets without images, and those that show the same images as
    another one, are left out.

    Args:
        query: The queries' side.
        gallery: The gallery's side, the same object for all against all.
        card: The network's.
        protocol: Which items a query is compared with; the field's way by default.
        reranked: Add a row with k-reciprocal re-ranking to each.

    Raises:
        SourceError: No sample has an identity, or no query has a match.
    """
    protocol = protocol or Protocol()
    sides = (_Side.label(query, "query", protocol), _Side.label(gallery, "gallery", protocol))
    if not sides[0].identified.any():
        raise SourceError(
            f"none of {len(query.samples)} samples has an identity: nothing can be measured",
            "identity",
        )
    rows: list[Row] = []
    seen: set[bytes] = set()
    for subset in query.embeddings:
        views = [side.view(subset, card) for side in sides]
        mark = b"|".join(view.shown.tobytes() for view in views)
        if mark in seen or not all(len(view.rows) for view in views):
            continue
        seen.add(mark)
        try:
            rows += _score_subset(subset, views, card, protocol, reranked)
        except ValueError as error:
            if len(seen) == 1:
                raise SourceError(f"this source cannot be evaluated: {error}") from error
    return rows


@dataclass(frozen=True)
class _SideOfSubset:
    """One side by the images of a subset:

    `shown` bool [M, 3], and the `rows` int64 [n] of the samples that take part.
    """

    side: _Side
    subset: Subset
    shown: Present
    rows: NDArray[np.int64]

    @property
    def modalities(self) -> Subset:
        has = np.flatnonzero(self.shown[self.rows].sum(axis=0))
        return tuple(MODALITIES[number] for number in has)

    def features(self, columns: NDArray[np.int64]) -> Embeddings:
        return normalize(self.side.part.embeddings[self.subset][np.ix_(self.rows, columns)])


@dataclass(frozen=True)
class _Side:
    """Queries or gallery with their labels."""

    part: Embedded
    is_query: bool
    identities: list[Hashable]
    groups: list[Hashable]
    identified: NDArray[np.bool_]

    @classmethod
    def label(cls, part: Embedded, name: str, protocol: Protocol) -> _Side:
        samples = list(zip(part.samples, part.places, strict=True))
        identities: list[Hashable] = [
            (name, place) if s.identity is None else s.identity for s, place in samples
        ]
        groups = [protocol.group(sample, place) for sample, place in samples]
        return cls(
            part,
            name == "query",
            identities,
            groups,
            np.array([s.identity is not None for s in part.samples]),
        )

    def view(self, subset: Subset, card: Card) -> _SideOfSubset:
        shown = self.part.present & make_mask(subset, card)
        taking_part = shown.any(axis=1)
        if self.is_query:
            taking_part &= self.identified
        return _SideOfSubset(self, subset, shown, np.flatnonzero(taking_part))


def _score_subset(
    subset: Subset, views: Sequence[_SideOfSubset], card: Card, protocol: Protocol, reranked: bool
) -> Iterator[Row]:
    ids = list(encode_labels(*([view.side.identities[i] for i in view.rows] for view in views)))
    groups = list(encode_labels(*([view.side.groups[i] for i in view.rows] for view in views)))
    labels = ids[0], ids[1], groups[0], groups[1]
    query, gallery = views
    for pattern, branches in _patterns(card).items():
        columns = _columns(card, branches)
        sides = query.features(columns), gallery.features(columns)
        scores = [evaluate(*sides, *labels, other_groups=protocol.other_cameras)]
        if reranked:
            scores.append(
                evaluate_distance(rerank(*sides), *labels, other_groups=protocol.other_cameras)
            )
        for each in scores:
            is_reranked = each is not scores[0]
            yield Row(
                subset,
                query.modalities,
                gallery.modalities,
                pattern,
                is_reranked,
                each,
                len(gallery.rows),
            )


def make_mask(subset: Iterable[str], card: Card) -> NDArray[np.bool_]:
    """The modalities of a subset that a network sees, bool [3]."""
    return np.array([modality in subset and modality in card.modalities for modality in MODALITIES])


def list_subsets(card: Card) -> tuple[Subset, ...]:
    """Every subset of the modalities that a network sees, whole first."""
    return tuple(subset for subset in SUBSETS if set(subset) <= set(card.modalities))


def _patterns(card: Card) -> dict[int, tuple[str, ...]]:
    """The patterns that a network has: all three, or only the first where it has no head."""
    heads = any(segment.branch == "head" for segment in card.segments)
    return PATTERNS if heads else {1: PATTERNS[1]}


def _columns(card: Card, branches: Iterable[str]) -> NDArray[np.int64]:
    wanted = [np.arange(s.start, s.stop) for s in card.segments if s.branch in branches]
    return np.concatenate(wanted)


def decode_source(
    source: Source, card: Card, doing: str, rejected: list[tuple[str, str]] | None = None
) -> Iterator[tuple[list[Entry], tuple[Images, Cameras, Present]]]:
    """Batches of a source's good entries with what the graph takes of them, under a progress bar
    that says `doing`.

    A sample keeps no images, so that memory stays bounded. An entry that is rejected is appended to
    `rejected`: (place, message).
    """
    entries: list[Entry] = []
    parts: list[tuple[Images, Cameras, Present]] = []
    for entry in tqdm(
        source, total=len(source), desc=printable(doing), unit="sample", mininterval=0.5
    ):
        try:
            if entry.sample is None:
                raise entry.error or TrireidError("holds no sample")
            one = pixels([entry.sample], card)
        except TrireidError as error:
            if rejected is not None:
                rejected.append((entry.place, error.message))
            continue
        name = entry.sample.id or entry.name or entry.place
        entries.append(
            replace(entry, sample=replace(entry.sample, id=name, rgb=None, nir=None, tir=None))
        )
        parts.append(one)
        if len(entries) == BATCH:
            yield entries, _concatenate(parts)
            entries, parts = [], []
    if entries:
        yield entries, _concatenate(parts)


def _concatenate(parts: list[tuple[Images, Cameras, Present]]) -> tuple[Images, Cameras, Present]:
    images, camera, present = (np.concatenate(each) for each in zip(*parts, strict=True))
    return images, camera, present
