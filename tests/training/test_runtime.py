"""Float16 by rounding: the values, overflow and underflow of float16, and the course of a real
autocast pass.
"""

from __future__ import annotations

import pytest
import torch

from tests.goldens.make import CONFIG
from trireid.models import ReIdNetwork
from trireid.training.runtime import Float16Products


def test_products_are_rounded_forwards_and_backwards() -> None:
    x, weight = (
        torch.tensor([[1.0 + 2**-12]], requires_grad=True),
        torch.tensor([[3.0]], requires_grad=True),
    )
    with Float16Products():
        out = torch.nn.functional.linear(x, weight)
    assert out.item() == 3.0
    assert (x @ weight).item() != 3.0
    (1e-9 * out).sum().backward()
    assert x.grad is not None
    assert x.grad.item() == 0  # 1e-9 is under float16's smallest number
    with Float16Products():
        out = x @ weight
    (gradient,) = torch.autograd.grad((1e6 * out).sum(), x)
    assert torch.isinf(gradient).all()


def test_outside_products_and_outside_the_mode_nothing_changes() -> None:
    x = torch.rand(4, 4)
    with Float16Products():
        assert torch.equal(x + 1e-5, x.add(1e-5))
        assert not torch.equal(x @ x, torch.mm(x, x))
    assert torch.equal(x @ x, torch.mm(x, x))


@pytest.mark.parametrize("seed", [0, 1])
def test_it_goes_as_real_autocast_goes(seed: int) -> None:
    """One pass of the network: the emulation lies nearer to autocast in float16 than float32 does,
    in values and gradients.
    """
    torch.manual_seed(seed)
    network = ReIdNetwork(CONFIG)
    images, camera = torch.randn(4, 3, 3, 64, 32), torch.zeros(4, dtype=torch.int64)

    def run_pass(context: object) -> tuple[torch.Tensor, torch.Tensor]:
        network.zero_grad()
        with context:  # type: ignore[attr-defined]
            both = network.features(images, camera).both.float()
        both.square().sum().backward()
        gradient = network.get_parameter("backbone.base.proj").grad
        assert gradient is not None
        return both.detach(), gradient.clone()

    real = run_pass(torch.autocast("cpu", torch.float16))
    emulated, plain = run_pass(Float16Products()), run_pass(torch.autocast("cpu", enabled=False))
    for a, b, c in zip(real, emulated, plain, strict=True):
        assert float((a - b).norm()) < 0.02 * float(a.norm())
        assert not torch.equal(b, c)
