"""The tolerances of every verification: of `export_onnx`, `export_tensorrt` and `verify` alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """The bounds within which two networks are the same.

    Args:
        cosine: Least cosine of an image's stage, or a sample's embedding, with the reference's.
        difference: By how much a number of an embedding may differ; None: by any.
        swapped: Share of a set of selected patches that may differ, one patch always; None: only
            patches whose scores tie.
        ignored: Samples that the embedding's figures leave out: those in which a tie swaps
            patches, or those in which any are swapped, unless that is more than half of them.
        map_change: By how much mAP may change, as a fraction.
    """

    cosine: float
    difference: float | None = None
    swapped: float | None = None
    ignored: Literal["none", "ties", "swaps"] = "none"
    map_change: float = 0.005

    def count_allowed(self, patches: int) -> int:
        """Return how many of a set of selected patches may differ."""
        return 0 if self.swapped is None else max(1, int(self.swapped * patches))


#: By precision; on a GPU in TensorRT, whose kernels round otherwise, by the second group.
TOLERANCES: Final[Mapping[str, Tolerance]] = MappingProxyType(
    {
        "fp32": Tolerance(cosine=1 - 1e-6, difference=1e-4, ignored="ties"),
        "fp16": Tolerance(cosine=0.9995),
        "int8": Tolerance(cosine=0.995),
        "fp32 in TensorRT": Tolerance(cosine=0.9999, difference=1e-3, swapped=0.0, ignored="swaps"),
        "fp16 in TensorRT": Tolerance(cosine=0.999, difference=1e-2, swapped=0.05),
    }
)
#: The precisions, from the finest to the coarsest.
PRECISIONS: Final = ("fp32", "fp16", "int8")


def name_tolerance(precision: str, *, in_tensorrt: bool) -> str:
    """Return the row of the table that a comparison uses."""
    name = f"{precision} in TensorRT"
    return name if in_tensorrt and name in TOLERANCES else precision
