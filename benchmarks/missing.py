"""Ways of scoring samples that lack modalities, on the synthetic world: zero images, and the
segments both have.

    python -m benchmarks.missing [--kind person] [--identities 100] [--threads N]

By the kind's small default network.

The research code's way compares whole embeddings, in which an absent modality was a zero image. The
other compares the segments of the modalities that query and item both have, as they are or
standardized among the items that share the same. mAP and Rank-1 across cameras, pattern 3, for
every subset of the query against a gallery that has everything, one that lacks the same, and one
whose items have random subsets.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from trireid.evaluation import Scores, evaluate_distance
from trireid.gallery.scoring import Segments, make_mask
from trireid.inference import load_artifact
from trireid.inference.retrieval import Embedded, Subset, embed_source, list_subsets
from trireid.samples import KINDS
from trireid.samples.sources import open_source

Floats = NDArray[np.float32]
Score = Callable[[Floats, int, Floats, NDArray[np.int64]], Floats]


def main() -> None:
    """Embed every subset once, score both ways, print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.missing", description="scoring with modalities missing"
    )
    parser.add_argument("--kind", choices=KINDS, default="person")
    parser.add_argument("--identities", type=int, default=100)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    embedder = load_artifact(f"{given.kind}-tiny", given.threads)
    source = open_source(f"synthetic:{given.kind}:{given.identities}")
    embedded = embed_source(embedder, source, list_subsets(embedder.card))
    report(embedded, Segments(embedder.card))


def report(embedded: Embedded, segments: Segments) -> None:
    """Print the table."""
    ways: dict[str, Score] = {
        "zero images": compare_whole,
        "shared segments": segments.scores,
        "shared segments, standardized": partial(standardize, segments),
    }
    subsets = list(embedded.embeddings)
    mixed = np.random.default_rng(0).integers(0, len(subsets), len(embedded.samples))
    print("| query has | gallery has | " + " | ".join(ways) + " |\n|---|---|" + "---|" * len(ways))
    for subset in subsets:
        for name, choice in (
            ("everything", 0),
            ("the same", subsets.index(subset)),
            ("random subsets", mixed),
        ):
            chosen = np.broadcast_to(choice, len(embedded.samples))
            cells = [score(embedded, subset, chosen, way) for way in ways.values()]
            shown = " | ".join(f"{100 * each.mAP:.1f} / {100 * each.rank1:.1f}" for each in cells)
            print(f"| {'+'.join(subset)} | {name} | {shown} |", flush=True)


def score(embedded: Embedded, subset: Subset, chosen: NDArray[np.int64], way: Score) -> Scores:
    """Score every sample with `subset` of its modalities against all, each with the subset number
    `chosen`.
    """
    subsets = list(embedded.embeddings)
    every = np.stack([embedded.embeddings[each] for each in subsets])
    gallery = every[chosen, np.arange(len(chosen))]
    masks = np.array([make_mask(subsets[index]) for index in chosen])
    scores = np.stack(
        [way(query, make_mask(subset), gallery, masks) for query in embedded.embeddings[subset]]
    )
    identities = [str(sample.identity) for sample in embedded.samples]
    cameras = [sample.camera for sample in embedded.samples]
    return evaluate_distance(
        np.where(np.isfinite(scores), -scores, 1e3), identities, identities, cameras, cameras
    )


def compare_whole(
    query: Floats, query_mask: int, embeddings: Floats, masks: NDArray[np.int64]
) -> Floats:
    """Compare whole embeddings: the research code's way."""
    scores: Floats = embeddings @ query
    return scores


def standardize(
    segments: Segments, query: Floats, query_mask: int, embeddings: Floats, masks: NDArray[np.int64]
) -> Floats:
    """Compute cosines over shared segments, standardized among the items that share the same."""
    scores = segments.scores(query, query_mask, embeddings, masks)
    for shared in np.unique(masks & query_mask):
        rows = ((masks & query_mask) == shared) & np.isfinite(scores)
        if rows.any():
            scores[rows] = (scores[rows] - scores[rows].mean()) / max(
                float(scores[rows].std()), 1e-6
            )
    return scores


if __name__ == "__main__":
    main()
