"""What `trireid evaluate` prints and draws."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from evaluation import normalise
from evaluation.curve import plot_cmc
from evaluation.rank_list import Ranked, rank_list
from evaluation.table import Line
from export.card import Card
from export.retrieval import Embedded, Row, subsets_of
from samples import Sample, to_batch
from samples.source import Source

QUERIES: Final = 5
HITS: Final = 10
_PATTERN_NAMES: Final = {1: "1 global", 2: "2 head", 3: "3 both"}


def lines(rows: Sequence[Row]) -> list[Line]:
    """The table's lines: modalities, pattern, re-ranked or not, scores."""
    return [
        (
            {
                "modalities": "+".join(row.modalities),
                "pattern": _PATTERN_NAMES[row.pattern],
                "re-ranked": "yes" if row.reranked else "no",
            },
            row.scores,
        )
        for row in rows
    ]


def about(query: Source, gallery: Source, parts: tuple[Embedded, Embedded], card: Card) -> dict[str, Any]:
    """What a run was about: sources, counts, network."""
    return {
        "query": query.name,
        "gallery": gallery.name,
        "queries": len(parts[0].samples),
        "gallery_items": len(parts[1].samples),
        "set_aside": sum(len(part.faults) for part in {id(part): part for part in parts}.values()),
        "model": card.name,
        "fingerprint": card.fingerprint,
    }


def draw(
    folder: Path, rows: Sequence[Row], sources: tuple[Source, Source], parts: tuple[Embedded, Embedded], card: Card
) -> None:
    """Write `cmc.png`, a curve per pattern, and `ranks.png`, five queries with their ten best hits, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = [row for row in rows if row.modalities == subsets_of(card)[0]]
    names = {f"pattern {row.pattern}{', re-ranked' if row.reranked else ''}": row.scores for row in whole}
    plot_cmc(names, f"{card.name} on {sources[0].name}", folder / "cmc.png")
    _ranks(sources, parts, card, folder / "ranks.png")


def _ranks(sources: tuple[Source, Source], parts: tuple[Embedded, Embedded], card: Card, path: Path) -> None:
    query, gallery = parts
    chosen = np.unique(np.linspace(0, len(query.samples) - 1, QUERIES).round().astype(int))
    whole = subsets_of(card)[0]
    similarity = normalise(query.embeddings[whole][chosen]) @ normalise(gallery.embeddings[whole]).T
    best = [
        [i for i in np.argsort(-row).tolist() if not _dropped(query.samples[q], gallery.samples[i])][:HITS]
        for q, row in zip(chosen, similarity, strict=True)
    ]
    shown_queries = _pictures(sources[0], {str(query.samples[q].id) for q in chosen}, card)
    shown_hits = _pictures(sources[1], {str(gallery.samples[i].id) for hits in best for i in hits}, card)
    rows = []
    for q, scores, hits in zip(chosen, similarity, best, strict=True):
        sample = query.samples[q]
        ranked = [
            Ranked(
                shown_hits[str(gallery.samples[i].id)],
                gallery.samples[i].identity == sample.identity,
                f"{gallery.samples[i].identity} {scores[i]:.4f}",
            )
            for i in hits
        ]
        rows.append((shown_queries[str(sample.id)], f"{sample.identity} (query)", ranked))
    rank_list(rows).save(path)


def _dropped(query: Sample, item: Sample) -> bool:
    """Whether the camera protocol drops the item: the same identity by the same camera, or the query itself."""
    return item.identity == query.identity and (item.camera == query.camera or item.id == query.id)


def _pictures(source: Source, ids: set[str], card: Card) -> dict[str, Any]:
    """The pictures uint8 [3, H, W, 3] of some samples, at half the network's size."""
    size = (card.image_size[0] // 2, card.image_size[1] // 2)
    found = {}
    for entry in source:
        if entry.sample is not None and (name := entry.sample.id or entry.name or entry.place) in ids:
            found[name] = to_batch([entry.sample], size).images[0]
            if len(found) == len(ids):
                break
    return found
