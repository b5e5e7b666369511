"""Results of several searches put together, and scored again by better vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trireid.gallery.index.contract import Fetch, Keys, Scores, Vectors
from trireid.gallery.index.lists import NOTHING


def best(found: Sequence[tuple[Scores, Keys]], k: int) -> tuple[Scores, Keys]:
    """The k best of several results."""
    if len(found) == 1:
        return found[0]
    return _top(
        np.concatenate([scores for scores, _ in found], 1),
        np.concatenate([keys for _, keys in found], 1),
        k,
    )


def _top(scores: Scores, keys: Keys, k: int) -> tuple[Scores, Keys]:
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(keys, order, 1)


def scored_again(fetch: Fetch, queries: Vectors, keys: Keys, k: int) -> tuple[Scores, Keys]:
    """The k best of a shortlist [Q, n], by the vectors that `fetch` gives; those that are gone fall
    out.
    """
    wanted, places = np.unique(keys[keys != NOTHING], return_inverse=True)
    scores = np.full(keys.shape, -np.inf, np.float32)
    if len(wanted):
        rows = np.asarray(fetch(wanted), np.float32)[places]
        scores[keys != NOTHING] = np.einsum(
            "nd,nd->n", rows, queries[np.nonzero(keys != NOTHING)[0]]
        )
    scores[np.isnan(scores)] = -np.inf
    keys = np.where(np.isneginf(scores), NOTHING, keys)
    return _top(scores, keys, k)
