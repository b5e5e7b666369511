"""Float16's rounding without float16's arithmetic: autocast as a GPU runs it, at float32's speed on
a CPU.

A CPU without float16 arithmetic takes ten times as long under real autocast. What training feels of
it is the range and the rounding: under autocast the matrix products read and write float16, and so
do their gradients, which overflow over 65504 and vanish under 6e-8. Here those values are rounded
to float16 and back; sums within a product stay float32, as on a tensor core.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import functional
from torch.overrides import TorchFunctionMode

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


class HalfProducts(TorchFunctionMode):
    """Within it, matrix products, convolutions and attention round what they read and write, and
    its gradients, to float16.
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
        return _rounded(func(*map(_rounded, args), **(kwargs or {})))


class _Round(torch.autograd.Function):
    """To float16's nearest value and back, forwards and backwards."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        return x.half().float()

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> Tensor:
        return gradients[0].half().float()


def _rounded(x: Any) -> Any:
    if isinstance(x, Tensor) and x.dtype is torch.float32:
        return _Round.apply(x)  # type: ignore[no-untyped-call]
    return x
