"""The identity sampler: every batch holds P identities with K samples each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trireid.samples import SourceError


class IdentitySampler:
    """Batches of P identities x K samples, each a pure function of the seed and the step, so a run
    resumes exactly.

    `labels` int64 [samples]. Raises SourceError with fewer than P identities, or fewer than K
    samples of one.
    """

    def __init__(self, labels: NDArray[np.int64], identities: int, samples: int, seed: int) -> None:
        self.members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        self.identities, self.samples, self.seed = identities, samples, seed
        if len(self.members) < identities:
            raise SourceError(
                f"a batch takes {identities} identities, and {len(self.members)} are there to train on",
                "batch.identities",
            )
        fewest = min(map(len, self.members))
        if fewest < samples:
            raise SourceError(
                f"a batch takes {samples} samples of an identity, and one has {fewest}",
                "batch.samples",
            )

    @property
    def steps_per_epoch(self) -> int:
        """Steps after which every identity was drawn once."""
        return len(self.members) // self.identities

    def batch(self, step: int) -> NDArray[np.int64]:
        """The sample indices [P * K] of a step; within an epoch no identity comes twice."""
        epoch, position = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.members))
        draw = np.random.default_rng((self.seed, epoch, position))
        chosen = order[position * self.identities : (position + 1) * self.identities]
        return np.concatenate(
            [draw.choice(self.members[i], self.samples, replace=False) for i in chosen]
        )
