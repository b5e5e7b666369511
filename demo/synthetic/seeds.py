"""Random generators: every draw of the world has its own, named by integers.

A name never passes through Python's `hash()`, which differs from process to process.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from trireid.samples.sample import KINDS, Kind

Split = Literal["train", "test"]

SPLITS: tuple[Split, ...] = ("train", "test")
# Later ones come last: a stream's number goes into its draws.
STREAMS = (
    "traits",
    "itinerary",
    "camera",
    "scene",
    "shot",
    "outfit",
    "likeness",
    "surface",
    "response",
    "viewpoint",
    "pose",
    "framing",
    "background",
    "folds",
    "light",
    "palette",
)


def make_generator(seed: int, stream: str, kind: Kind, *name: int) -> np.random.Generator:
    """Make the generator of one draw: equal names give equal numbers, in any process and order."""
    return np.random.default_rng(
        np.random.SeedSequence([seed, STREAMS.index(stream), KINDS.index(kind), *name])
    )
