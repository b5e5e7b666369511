"""Retrieval on a SOURCE, by the field's protocol: patterns side by side, with modalities missing, re-ranked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from evaluation import Scores, evaluate, evaluate_distance, normalise, rerank
from export.card import Card
from export.embedder import BATCH, Cameras, Embedder, Embeddings, Images, Present, pixels
from samples import MODALITIES, Modality, Sample, SourceError, TrireidError
from samples.printable import printable
from samples.source import Source

Subset = tuple[Modality, ...]
ALL: Final[Subset] = MODALITIES
#: Every subset of the modalities, whole first.
SUBSETS: Final[tuple[Subset, ...]] = tuple(s for n in (3, 2, 1) for s in combinations(MODALITIES, n))
#: What each pattern looks at, as branches of the card's segments.
PATTERNS: Final = {1: ("global",), 2: ("head",), 3: ("global", "head")}


@dataclass(frozen=True)
class Row:
    """One line of the table: which modalities were shown, which pattern was compared, whether re-ranked, and the scores."""

    modalities: Subset
    pattern: int
    reranked: bool
    scores: Scores


@dataclass(frozen=True)
class Embedded:
    """A source's samples with their embeddings by subset, float32 [M, D]; `faults`: (place, message) of what was set aside."""

    samples: list[Sample]
    embeddings: dict[Subset, Embeddings]
    faults: list[tuple[str, str]]


def embed_source(embedder: Embedder, source: Source, subsets: Sequence[Subset] = (ALL,)) -> Embedded:
    """Embed a source once for each subset of modalities, with a progress bar; entries with a fault are set aside.

    Raises SourceError where nothing is left.
    """
    samples: list[Sample] = []
    faults: list[tuple[str, str]] = []
    parts: dict[Subset, list[Embeddings]] = {subset: [] for subset in subsets}
    for batch, (images, camera, present) in decoded(source, embedder.card, f"embedding {source.name}", faults):
        for subset in subsets:
            shown = present & np.array([modality in subset for modality in MODALITIES])
            parts[subset].append(embedder.run(images, camera, shown)[0])
        samples += batch
    if not samples:
        raise SourceError(f"{source.name}: no sample in it can be used ({len(faults)} set aside)", source.name)
    return Embedded(samples, {subset: np.concatenate(part) for subset, part in parts.items()}, faults)


def retrieval(query: Embedded, gallery: Embedded, card: Card, *, by_scene: bool = False, reranked: bool = False) -> list[Row]:
    """The table: every subset that both were embedded for, patterns 1 to 3, and re-ranked where asked.

    Gallery items of the query's identity and camera (or scene) are dropped; a sample without a camera is a camera of its own.
    Raises SourceError where a sample has no identity, or no query has a match.
    """
    ids = [_identities(part.samples) for part in (query, gallery)]
    groups = [_groups(part.samples, by_scene) for part in (query, gallery)]
    rows = []
    for subset in query.embeddings:
        for pattern, branches in _patterns(card).items():
            columns = _columns(card, branches)
            sides = [normalise(part.embeddings[subset][:, columns]) for part in (query, gallery)]
            try:
                rows.append(Row(subset, pattern, False, evaluate(sides[0], sides[1], ids[0], ids[1], groups[0], groups[1])))
                if reranked:
                    distance = rerank(sides[0], sides[1])
                    rows.append(Row(subset, pattern, True, evaluate_distance(distance, ids[0], ids[1], groups[0], groups[1])))
            except ValueError as error:
                raise SourceError(f"this source cannot be evaluated: {error}") from error
    return rows


def subsets_of(card: Card) -> tuple[Subset, ...]:
    """Every subset of the modalities that a network sees, whole first."""
    return tuple(subset for subset in SUBSETS if set(subset) <= set(card.modalities))


def _patterns(card: Card) -> dict[int, tuple[str, ...]]:
    """The patterns that a network has: all three, or only the first where it has no head."""
    heads = any(segment.branch == "head" for segment in card.segments)
    return PATTERNS if heads else {1: PATTERNS[1]}


def _columns(card: Card, branches: Iterable[str]) -> NDArray[np.int64]:
    wanted = [np.arange(s.start, s.stop) for s in card.segments if s.branch in branches]
    return np.concatenate(wanted)


def decoded(
    source: Source, card: Card, doing: str, faults: list[tuple[str, str]] | None = None
) -> Iterator[tuple[list[Sample], tuple[Images, Cameras, Present]]]:
    """Batches of a source's good samples with what the graph takes of them, under a progress bar that says `doing`.

    A sample keeps no pictures, so that memory stays bounded. What is set aside is appended to `faults`: (place, message).
    """
    samples: list[Sample] = []
    parts: list[tuple[Images, Cameras, Present]] = []
    for entry in tqdm(source, total=len(source), desc=printable(doing), unit="sample", mininterval=0.5):
        try:
            if entry.sample is None:
                raise entry.fault or TrireidError("holds no sample")
            one = pixels([entry.sample], card)
        except TrireidError as fault:
            if faults is not None:
                faults.append((entry.place, fault.message))
            continue
        samples.append(replace(entry.sample, id=entry.sample.id or entry.name or entry.place, rgb=None, nir=None, tir=None))
        parts.append(one)
        if len(samples) == BATCH:
            yield samples, _joined(parts)
            samples, parts = [], []
    if samples:
        yield samples, _joined(parts)


def _joined(parts: list[tuple[Images, Cameras, Present]]) -> tuple[Images, Cameras, Present]:
    images, camera, present = (np.concatenate(each) for each in zip(*parts, strict=True))
    return images, camera, present


def _identities(samples: Sequence[Sample]) -> list[str]:
    without = [sample.id for sample in samples if sample.identity is None]
    if without:
        raise SourceError(
            f"{len(without)} samples have no identity, {without[0]} for one: nothing can be measured on them", "identity"
        )
    return [str(sample.identity) for sample in samples]


def _groups(samples: Sequence[Sample], by_scene: bool) -> list[object]:
    known = [sample.scene if by_scene else sample.camera for sample in samples]
    return [f"sample {sample.id}" if group is None else group for sample, group in zip(samples, known, strict=True)]
