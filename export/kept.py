"""Kept patches of two networks: equal sets, ties at the boundary, and real differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

#: Scores that are closer than this are equal, up to rounding in float32.
TIE: Final = 1e-5
#: What scores may be off by where the other network does not show its own: a plan, say.
UNSEEN: Final = 1e-2


@dataclass(frozen=True, kw_only=True)
class KeptReport:
    """`sets` of kept patches (one a picture): `equal`; `tied`, where the swapped patches' scores lie closer together than
    twice what the scores of the two networks differ by; `different`. `worst`, `mean`: share of patches in common. `margin`:
    the largest gap between the scores of swapped patches.
    """

    sets: int
    equal: int
    tied: int
    different: int
    worst: float
    mean: float
    margin: float


class KeptSets:
    """Gathers pairs of sets. `patches`: N, how many there are to choose from."""

    def __init__(self, patches: int) -> None:
        self._patches = patches
        self._overlaps: list[float] = []
        self._margins: list[float] = []
        self._tied = 0

    def add(self, reference: Mapping[str, NDArray[Any]], candidate: Mapping[str, NDArray[Any]]) -> None:
        """Add a batch of stages: `kept` int64 [B, 3, K] and, where there are any, `scores` [B, 3, N]."""
        kept = [stages.get("kept") for stages in (reference, candidate)]
        if kept[0] is None or kept[1] is None or not 0 < kept[0].shape[-1] < self._patches:
            return  # without selection there is nothing to compare
        scores, others = reference.get("scores"), candidate.get("scores")
        for place in np.ndindex(kept[0].shape[:2]):
            off = UNSEEN / 2 if scores is None or others is None else float(np.abs(scores[place] - others[place]).max())
            self._pair(kept[0][place], kept[1][place], None if scores is None else scores[place], max(TIE, 2 * off))

    def report(self) -> KeptReport | None:
        """What was found; None where no network selects."""
        if not self._overlaps:
            return None
        equal = sum(overlap == 1 for overlap in self._overlaps)
        return KeptReport(
            sets=len(self._overlaps),
            equal=equal,
            tied=self._tied,
            different=len(self._overlaps) - equal - self._tied,
            worst=min(self._overlaps),
            mean=float(np.mean(self._overlaps)),
            margin=max(self._margins, default=0.0),
        )

    def _pair(self, one: NDArray[Any], other: NDArray[Any], scores: NDArray[Any] | None, slack: float) -> None:
        lost, won = np.setdiff1d(one, other), np.setdiff1d(other, one)
        self._overlaps.append(1 - len(lost) / len(one))
        if not len(lost) or not len(won) or scores is None:
            return
        margin = float(scores[lost].max() - scores[won].min())
        self._margins.append(margin)
        self._tied += margin <= slack
