"""The text, tables and figures of `trireid evaluate`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from trireid.evaluation import normalize, table
from trireid.evaluation.curve import plot_cmc
from trireid.evaluation.rank_list import Ranked, rank_list
from trireid.evaluation.table import Line
from trireid.inference.card import Card
from trireid.inference.evaluate_artifact import Evaluation
from trireid.inference.retrieval import Row
from trireid.samples import MODALITIES, to_batch
from trireid.samples.atomic_write import write_atomic
from trireid.samples.source import Source

QUERIES: Final = 5
HITS: Final = 10
_PATTERN_NAMES: Final = {1: "1 global", 2: "2 head", 3: "3 both"}


def text_lines(evaluation: Evaluation, source: str) -> list[str]:
    """Return the counts and the table, line by line."""
    rows = evaluation.rows
    lines = table_lines(
        rows, counts=len({(row.scores.queries, row.gallery_items) for row in rows}) > 1
    )
    return [
        f"{evaluation.card.name} on {source}: {_counts(evaluation)}, in percent",
        *table.as_text(lines).split("\n"),
    ]


def as_json(evaluation: Evaluation) -> str:
    """Return one object: what the run was about, what was not used, and a list of rows."""
    return table.as_json(table_lines(evaluation.rows), about(evaluation))


def remarks(evaluation: Evaluation) -> Iterator[str]:
    """Yield what was rejected, how the source was read and what is not used, a line each."""
    yield from (f"rejected: {place}: {error}" for place, error in evaluation.rejected)
    yield from evaluation.notes()
    yield from (f"not used: {each}" for each in evaluation.not_used())


def table_lines(rows: Sequence[Row], *, counts: bool = True) -> list[Line]:
    """Return the table's lines: modalities, pattern, re-ranked or not, counts, scores."""
    return [
        (
            {
                "modalities": row.name,
                "pattern": _PATTERN_NAMES[row.pattern],
                "re-ranked": "yes" if row.reranked else "no",
                **(
                    {"queries": row.scores.queries, "gallery_items": row.gallery_items}
                    if counts
                    else {}
                ),
            },
            row.scores,
        )
        for row in rows
    ]


def about(evaluation: Evaluation) -> dict[str, Any]:
    """Return the subject of a run, and everything that was not used.

    `queries` had a match and count; `queries_given` of them have an identity.
    """
    counted = evaluation.rows[0].scores.queries
    return {
        "query": evaluation.sources[0].name,
        "gallery": evaluation.sources[1].name,
        "queries": counted,
        "queries_given": evaluation.identified,
        "queries_without_match": evaluation.identified - counted,
        "without_identity": evaluation.without_identity,
        "gallery_items": len(evaluation.gallery.samples),
        "query_modalities": evaluation.modalities(evaluation.query),
        "gallery_modalities": evaluation.modalities(evaluation.gallery),
        "protocol": str(evaluation.protocol),
        "set_aside": len(evaluation.rejected),
        "rejected": [{"location": place, "error": error} for place, error in evaluation.rejected],
        "notes": evaluation.notes(),
        "not_used": [each.to_json() for each in evaluation.not_used()],
        "model": evaluation.card.name,
        "fingerprint": evaluation.card.fingerprint,
    }


def write_csv(evaluation: Evaluation, path: Path) -> None:
    """Write the table as CSV, a file in one step."""
    text = table.as_csv(table_lines(evaluation.rows))
    if path.exists() and not path.is_file():  # a pipe, or /dev/stdout
        path.write_text(text, encoding="utf-8")
    else:
        write_atomic(path, text.encode())


def draw(folder: Path, evaluation: Evaluation) -> None:
    """Write `cmc.png`, a curve per pattern, and `ranks.png`, five queries with their ten best hits,
    into `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole = [row for row in evaluation.rows if row.subset == evaluation.rows[0].subset]
    names = {
        f"pattern {row.pattern}{', re-ranked' if row.reranked else ''}": row.scores for row in whole
    }
    title = f"{evaluation.card.name} on {evaluation.sources[0].name}, {whole[0].name}"
    plot_cmc(names, title, folder / "cmc.png")
    _draw_ranks(evaluation, folder / "ranks.png")


def _counts(evaluation: Evaluation) -> str:
    counted, given = evaluation.rows[0].scores.queries, evaluation.identified
    matched = "" if counted == given else f" with a match (of {given})"
    said = [f"{counted} queries{matched}", f"{len(evaluation.gallery.samples)} gallery items"]
    if evaluation.without_identity:
        said.append(f"{evaluation.without_identity} without an identity, which are not queries")
    kinds = evaluation.modalities(evaluation.gallery)
    if len(kinds) > 1:
        said.append(
            "gallery images " + ", ".join(f"{name} ({count})" for name, count in kinds.items())
        )
    return ", ".join(said)


def _draw_ranks(evaluation: Evaluation, path: Path) -> None:
    query, gallery, card = evaluation.query, evaluation.gallery, evaluation.card
    asked = np.flatnonzero([sample.identity is not None for sample in query.samples])
    chosen = np.unique(asked[np.linspace(0, len(asked) - 1, QUERIES).round().astype(int)])
    whole = evaluation.rows[0].subset
    similarity = normalize(query.embeddings[whole][chosen]) @ normalize(gallery.embeddings[whole]).T
    best = [
        [i for i in np.argsort(-row).tolist() if not _is_dropped(evaluation, q, i)][:HITS]
        for q, row in zip(chosen.tolist(), similarity, strict=True)
    ]
    compared = {*evaluation.rows[0].modalities, *evaluation.rows[0].gallery_modalities}
    shown = [row for row, modality in enumerate(MODALITIES) if modality in compared]
    shown_queries = _images(evaluation.sources[0], {query.places[q] for q in chosen}, card, shown)
    shown_hits = _images(
        evaluation.sources[1], {gallery.places[i] for hits in best for i in hits}, card, shown
    )
    rows = []
    for q, scores, hits in zip(chosen.tolist(), similarity, best, strict=True):
        identity = query.samples[q].identity
        ranked = [
            Ranked(
                shown_hits[gallery.places[i]],
                gallery.samples[i].identity == identity,
                f"{gallery.samples[i].identity or '-'} {scores[i]:.4f}",
            )
            for i in hits
        ]
        rows.append((shown_queries[query.places[q]], f"{identity} (query)", ranked))
    rank_list(rows).save(path)


def _is_dropped(evaluation: Evaluation, query: int, item: int) -> bool:
    """Whether the protocol leaves the item out for a query."""
    parts = (evaluation.query, query), (evaluation.gallery, item)
    groups = [evaluation.protocol.group(part.samples[row], part.places[row]) for part, row in parts]
    is_same = evaluation.query.samples[query].identity == evaluation.gallery.samples[item].identity
    return groups[0] == groups[1] and (evaluation.protocol.other_cameras or is_same)


def _images(source: Source, places: set[str], card: Card, shown: Sequence[int]) -> dict[str, Any]:
    """The images uint8 [M, H, W, 3] of some samples, at half the network's size, of the modalities
    that are shown.
    """
    size = (card.image_size[0] // 2, card.image_size[1] // 2)
    found = {}
    for entry in source:
        if entry.sample is not None and entry.place in places:
            found[entry.place] = to_batch([entry.sample], size).images[0][list(shown)]
            if len(found) == len(places):
                break
    return found
