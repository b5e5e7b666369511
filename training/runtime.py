"""The device and the precision of a run.

Float16 is emulated by its rounding. A CPU without float16 arithmetic takes ten times as long under
real autocast. Training feels the range and the rounding: under autocast the matrix products read
and write float16, and so do their gradients, which overflow over 65504 and vanish under 6e-8. Here
those values are rounded to float16 and back; sums within a product stay float32, as on a tensor
core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from trireid.samples import ConfigError
from trireid.training.settings import Precision

#: Precisions whose small gradients vanish without a gradient scaler.
SCALED: Final = (Precision.FLOAT16, Precision.EMULATED)
_AUTOCAST: Final = {Precision.FLOAT16: torch.float16, Precision.BFLOAT16: torch.bfloat16}


@contextmanager
def autocast_to(precision: Precision, device: torch.device) -> Iterator[None]:
    """Run the forward passes of the block in this precision."""
    with ExitStack() as stack:
        if precision in _AUTOCAST:
            stack.enter_context(torch.autocast(device.type, _AUTOCAST[precision]))
        if precision is Precision.EMULATED:
            stack.enter_context(Float16Products())
        yield


def resolve_device(name: str) -> torch.device:
    """Resolve `auto`, `cpu` or `cuda`. Raises ConfigError where there is no GPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("runtime.device: cuda, but PyTorch finds no GPU here", "runtime.device")
    return torch.device(name)


_PRODUCTS: frozenset[Callable[..., Any]] = frozenset(
    {
        functional.linear,
        functional.scaled_dot_product_attention,
        torch.conv2d,
        functional.conv2d,
        torch.matmul,
        Tensor.matmul,
        Tensor.__matmul__,
    }
)


class Float16Products(TorchFunctionMode):
    """A block in which matrix products, convolutions and attention round their inputs, outputs and
    gradients to float16.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Wrap one call of torch."""
        if func not in _PRODUCTS:
            return func(*args, **(kwargs or {}))
        return _round(func(*map(_round, args), **(kwargs or {})))


class _Float16Rounding(torch.autograd.Function):
    """To float16's nearest value and back, forwards and backwards."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        return x.half().float()

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> Tensor:
        return gradients[0].half().float()


def _round(x: Any) -> Any:
    if isinstance(x, Tensor) and x.dtype is torch.float32:
        return _Float16Rounding.apply(x)  # type: ignore[no-untyped-call]
    return x
