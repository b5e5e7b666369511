"""DeMo's own head: HDM against PyTorch's attention, ATMoE against its definition written out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.goldens.make import CONFIG
from trireid.models import Head, ReIdNetwork, get_published_state, load_checkpoint, to_research_yaml
from trireid.models.demo_head import SUBSETS, DemoHead, QueryAttention

HDM = replace(CONFIG, channels=128, head=Head.HDM)
ATM = replace(HDM, head=Head.HDM_ATM, moe_heads=4)


def by_pytorch(head: DemoHead, tokens: Tensor) -> Tensor:
    """The seven vectors [B, 7, C], from torch.nn.MultiheadAttention with the head's weights."""
    vectors = []
    for name, subset in SUBSETS.items():
        own = head.get_submodule(name)
        assert isinstance(own, QueryAttention)
        attention = nn.MultiheadAttention(128, 2, batch_first=True).eval()
        attention.load_state_dict(own.state_dict())
        seen = torch.cat([tokens[:, modality] for modality in subset], dim=1)
        query = head.get_parameter(f"{name}_token").expand(len(tokens), -1, -1)
        vectors.append(attention(query, seen, seen)[0][:, 0])
    return torch.stack(vectors, dim=1)


def test_hdm_is_an_attention_per_subset() -> None:
    torch.manual_seed(0)
    head, tokens = DemoHead(HDM).eval(), torch.randn(2, 3, 9, 128)
    with torch.inference_mode():
        torch.testing.assert_close(
            head(tokens), by_pytorch(head, tokens).flatten(1), atol=1e-5, rtol=1e-5
        )


def test_atmoe_gates_what_its_experts_make() -> None:
    torch.manual_seed(0)
    head, tokens = DemoHead(ATM).eval(), torch.randn(2, 3, 9, 128)
    with torch.inference_mode():
        vectors = by_pytorch(head, tokens)
        gate = head.moe.gating_network.gate
        query, keys = gate.q_(gate.linear_re(vectors.flatten(1))), gate.k_(vectors)
        expected = torch.empty_like(vectors)
        for h in range(4):
            part = slice(32 * h, 32 * h + 32)
            gates = functional.softmax(
                (keys[:, :, part] * query[:, None, part]).sum(-1) / 32**0.5, dim=-1
            )
            for e, expert in enumerate(head.moe.experts[h].get_submodule("expertHead").children()):
                expected[:, e, part] = expert(vectors[:, e, part]) * gates[:, e, None]
        torch.testing.assert_close(head(tokens), expected.flatten(1), atol=1e-5, rtol=1e-5)


def test_hdm_alone_loads_and_is_seven_wide(tmp_path: Path) -> None:
    network = ReIdNetwork(HDM).eval()
    torch.save(get_published_state(network), tmp_path / "hdm.pth")
    loaded = load_checkpoint(tmp_path / "hdm.pth", to_research_yaml(HDM))
    assert loaded.config == HDM
    images = torch.randn(2, 3, 3, 64, 32)
    with torch.inference_mode():
        assert loaded(images, pattern=2).shape == (2, 7 * 128)
        assert torch.equal(loaded(images), network(images))
        assert torch.equal(loaded(images)[:, : 3 * 128], loaded(images, pattern=1))
