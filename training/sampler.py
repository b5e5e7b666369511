"""The identity sampler: every batch holds P identities with K samples each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class IdentitySampler:
    """Batches of P identities x K samples, each a pure function of the seed and the step, so a run resumes exactly.

    `labels` int64 [samples]. An identity with fewer than K samples repeats some. Raises ValueError with fewer than P
    identities.
    """

    def __init__(self, labels: NDArray[np.int64], identities: int, samples: int, seed: int) -> None:
        self.members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        self.identities, self.samples, self.seed = identities, samples, seed
        if len(self.members) < identities:
            raise ValueError(f"a batch takes {identities} identities, the data have {len(self.members)}")

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
        return np.concatenate([self._draw(self.members[i], draw) for i in chosen])

    def _draw(self, members: NDArray[np.int64], draw: np.random.Generator) -> NDArray[np.int64]:
        return draw.choice(members, self.samples, replace=len(members) < self.samples)
