"""Where and in which precision a run computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import torch

from trireid.samples import ConfigError
from trireid.training.half import HalfProducts
from trireid.training.settings import Precision

#: Precisions whose small gradients vanish without a gradient scaler.
SCALED: Final = (Precision.FLOAT16, Precision.EMULATED)
_AUTOCAST: Final = {Precision.FLOAT16: torch.float16, Precision.BFLOAT16: torch.bfloat16}


@contextmanager
def in_precision(precision: Precision, device: torch.device) -> Iterator[None]:
    """Forward passes within it run in this precision."""
    with ExitStack() as stack:
        if precision in _AUTOCAST:
            stack.enter_context(torch.autocast(device.type, _AUTOCAST[precision]))
        if precision is Precision.EMULATED:
            stack.enter_context(HalfProducts())
        yield


def device_of(name: str) -> torch.device:
    """`auto`, `cpu` or `cuda`, as PyTorch's. Raises ConfigError."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("machine.device: cuda, but PyTorch finds no GPU here", "machine.device")
    if name not in ("cpu", "cuda"):
        raise ConfigError(
            f"machine.device: must be auto, cpu or cuda, not {name}", "machine.device"
        )
    return torch.device(name)
