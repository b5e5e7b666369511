"""Selected patches of two networks: equal sets, ties at the boundary, and real differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

#: Scores that are closer than this are equal, up to rounding in float32.
TIE: Final = 1e-5


@dataclass(frozen=True, kw_only=True)
class SelectionReport:
    """`sets` of `size` selected patches (one an image): `equal`; `tied`, if the two networks score
    the image alike and the swapped patches' scores lie closer together than twice the scores'
    difference; `different`. `swapped`: the most patches of a set that differ. `worst`, `mean`:
    share of patches in common. `margin`: the largest gap between the scores of swapped patches.
    """

    sets: int
    size: int
    equal: int
    tied: int
    different: int
    swapped: int
    worst: float
    mean: float
    margin: float


class SelectedSets:
    """Gathers pairs of sets. `patches`: N, how many there are to choose from."""

    def __init__(self, patches: int) -> None:
        self._patches = patches
        self._size = 0
        self._swaps: list[int] = []
        self._margins: list[float] = []
        self._tied = 0

    def add(
        self,
        reference: Mapping[str, NDArray[Any]],
        candidate: Mapping[str, NDArray[Any]],
        alike: NDArray[np.bool_],
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Add a batch.

        Args:
            reference: Stages, `selected_patches` int64 [B, 3, K] and, if shown, `scores` [B, 3, N].
            candidate: The same of the other network.
            alike: [B, 3]: whether the two score an image alike, up to the precision. If they do
                not, a swapped patch is not a tie.

        Returns:
            Two masks [B]: the samples of which a set is tied, and those of which a set differs.
        """
        sets = [stages.get("selected_patches") for stages in (reference, candidate)]
        tied, differs = np.zeros(alike.shape, bool), np.zeros(alike.shape, bool)
        if sets[0] is None or sets[1] is None or not 0 < sets[0].shape[-1] < self._patches:
            # without selection there is nothing to compare
            return np.asarray(tied.any(axis=1)), np.asarray(differs.any(axis=1))
        self._size = sets[0].shape[-1]
        shown = [stages["scores"] for stages in (reference, candidate) if "scores" in stages]
        for image in np.ndindex(*alike.shape):
            scores = [each[image] for each in shown]
            tied[image] = self._add_pair(sets[0][image], sets[1][image], scores, bool(alike[image]))
            differs[image] = self._swaps[-1] > 0
        return np.asarray(tied.any(axis=1)), np.asarray(differs.any(axis=1))

    def report(self) -> SelectionReport | None:
        """Return the counts; None if neither network selects."""
        if not self._swaps:
            return None
        equal = self._swaps.count(0)
        return SelectionReport(
            sets=len(self._swaps),
            size=self._size,
            equal=equal,
            tied=self._tied,
            different=len(self._swaps) - equal - self._tied,
            swapped=max(self._swaps),
            worst=1 - max(self._swaps) / self._size,
            mean=float(np.mean([1 - swapped / self._size for swapped in self._swaps])),
            margin=max(self._margins, default=0.0),
        )

    def _add_pair(
        self, one: NDArray[Any], other: NDArray[Any], scores: list[NDArray[Any]], alike: bool
    ) -> bool:
        """Add the two sets of an image; return whether they are tied."""
        lost, won = np.setdiff1d(one, other), np.setdiff1d(other, one)
        self._swaps.append(max(len(lost), len(won)))
        is_swap = len(lost) == len(won) > 0 and won.min() >= 0 and won.max() < self._patches
        if not is_swap or len(scores) < 2:
            return False
        margin = float(scores[0][lost].max() - scores[0][won].min())
        self._margins.append(margin)
        is_tied = alike and margin <= max(TIE, 2 * float(np.abs(scores[0] - scores[1]).max()))
        self._tied += is_tied
        return is_tied
