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
class SelectionReport:
    """`sets` of kept patches (one a picture): `equal`; `tied`, where the two networks score the
    picture alike and the swapped patches' scores lie closer together than twice what the scores
    differ by; `different`. `worst`, `mean`: share of patches in common. `margin`: the largest gap
    between the scores of swapped patches.
    """

    sets: int
    equal: int
    tied: int
    different: int
    worst: float
    mean: float
    margin: float


class SelectedSets:
    """Gathers pairs of sets. `patches`: N, how many there are to choose from."""

    def __init__(self, patches: int) -> None:
        self._patches = patches
        self._overlaps: list[float] = []
        self._margins: list[float] = []
        self._tied = 0

    def add(
        self,
        reference: Mapping[str, NDArray[Any]],
        candidate: Mapping[str, NDArray[Any]],
        alike: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        """Add a batch of stages: `kept` int64 [B, 3, K] and, where there are any, `scores` [B, 3,
        N].

        `alike` bool [B, 3]: whether the two networks score a picture alike, up to what the
        precision explains; where they do not, a swapped patch is no tie. -> bool [B]: of which
        samples a set is tied.
        """
        kept = [stages.get("selected_patches") for stages in (reference, candidate)]
        tied: NDArray[np.bool_] = np.zeros(alike.shape, bool)
        if kept[0] is None or kept[1] is None or not 0 < kept[0].shape[-1] < self._patches:
            return np.zeros(len(alike), bool)  # without selection there is nothing to compare
        shown = [stages["scores"] for stages in (reference, candidate) if "scores" in stages]
        for place in np.ndindex(*alike.shape):
            scores = [each[place] for each in shown]
            tied[place] = self._pair(kept[0][place], kept[1][place], scores, bool(alike[place]))
        return np.asarray(tied.any(axis=1))

    def report(self) -> SelectionReport | None:
        """What was found; None where no network selects."""
        if not self._overlaps:
            return None
        equal = sum(overlap == 1 for overlap in self._overlaps)
        return SelectionReport(
            sets=len(self._overlaps),
            equal=equal,
            tied=self._tied,
            different=len(self._overlaps) - equal - self._tied,
            worst=min(self._overlaps),
            mean=float(np.mean(self._overlaps)),
            margin=max(self._margins, default=0.0),
        )

    def _pair(
        self, one: NDArray[Any], other: NDArray[Any], scores: list[NDArray[Any]], alike: bool
    ) -> bool:
        """Add the two sets of a picture; whether they are tied."""
        lost, won = np.setdiff1d(one, other), np.setdiff1d(other, one)
        self._overlaps.append(1 - max(len(lost), len(won)) / len(one))
        known = (
            len(lost) == len(won) > 0 and scores and won.min() >= 0 and won.max() < self._patches
        )
        if not known:
            return False
        margin = float(scores[0][lost].max() - scores[0][won].min())
        self._margins.append(margin)
        off = UNSEEN / 2 if len(scores) < 2 else float(np.abs(scores[0] - scores[1]).max())
        tied = alike and margin <= max(TIE, 2 * off)
        self._tied += tied
        return tied
