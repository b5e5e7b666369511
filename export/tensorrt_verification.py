"""Holding a built engine against the ONNX artifact that it was built from, in ONNX Runtime on the
CPU. Needs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trireid.export.probe_inputs import draw_probe_inputs
from trireid.inference.embedder import Embedder, Tokens
from trireid.inference.tensorrt.plan import Profile
from trireid.samples import ArtifactError


@dataclass(frozen=True)
class Tolerance:
    """At worst:

    `cosine` of an embedding with the ONNX's, `difference` of one number of it, `swapped` share of
    kept patches.
    """

    cosine: float
    difference: float
    swapped: float


#: By precision. Float32 is computed as float32 (TF32 is off); of the kept patches one in a set may
#: differ always, as at a tie. A swapped patch changes an embedding by more than float32's
#: tolerance, so that is for samples of which none is swapped.
TOLERANCES: Final = {"fp32": Tolerance(0.9999, 1e-3, 0.0), "fp16": Tolerance(0.999, 1e-2, 0.05)}


def verify(built: Embedder, reference: Embedder, profile: Profile) -> dict[str, float]:
    """The worst differences over batches of the profile's sizes and one more than its maximum.

    Raises ArtifactError where one is over the tolerance of the card's precision.
    """
    tolerance = TOLERANCES[built.card.precision]
    sizes = sorted({profile.minimum, profile.optimum, profile.maximum, profile.maximum + 1})
    cosines, differences, swaps = (
        np.concatenate(each)
        for each in zip(*(_compare(built, reference, size) for size in sizes), strict=True)
    )
    judged = swaps == 0
    # not so many ties that little is left to judge by
    if tolerance.swapped or 2 * judged.sum() < len(judged):
        judged = np.ones_like(judged)
    cosine, difference, swapped = (
        float(cosines[judged].min()),
        float(differences[judged].max()),
        int(swaps.max()),
    )
    allowed = max(1, int(tolerance.swapped * built.card.selected_patches))
    # so written that NaN fails, too
    if not (cosine >= tolerance.cosine and difference <= tolerance.difference):
        raise ArtifactError(
            f"the engine's embeddings differ from the ONNX by {difference:.2g} (at most {tolerance.difference}), "
            f"cosine {cosine:.6f} (at least {tolerance.cosine}); it is not left behind"
        )
    if swapped > allowed:
        raise ArtifactError(
            f"the engine keeps {swapped} other patches than the ONNX (at most {allowed}); it is not left behind"
        )
    return {
        "tensorrt_min_cosine": cosine,
        "tensorrt_max_difference": difference,
        "tensorrt_swapped": swapped,
    }


def _compare(
    built: Embedder, reference: Embedder, size: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Of each sample the cosine, the greatest difference, and the most kept patches that differ in
    a set, all [B].
    """
    given = draw_probe_inputs(built.card, size)
    (got, tokens), (expected, kept) = built.run(*given), reference.run(*given)
    cosine = np.sum(got * expected, axis=1, dtype=np.float64) / _lengths(got) / _lengths(expected)
    swapped = np.array([_most_swapped(*pair) for pair in zip(tokens, kept, strict=True)])
    return cosine, np.abs(got - expected).max(axis=1), swapped


def _lengths(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    lengths: NDArray[np.float64] = np.linalg.norm(rows.astype(np.float64), axis=1)
    return lengths


def _most_swapped(tokens: Tokens, expected: Tokens) -> int:
    return max(len(np.setdiff1d(b, a)) for a, b in zip(tokens, expected, strict=True))
