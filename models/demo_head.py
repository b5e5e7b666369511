"""DeMo's own head: HDM and ATMoE, the control group of SDTPS.

HDM (Hierarchical Decoupling Module): seven learned queries, one for each subset of the three
modalities, each with an attention of its own over the tokens of its modalities -> seven C-vectors.
ATMoE (Attention-Triggered Mixture of Experts): per head, a softmax over the seven gates what seven
experts make of their chunks.

Source: Wang et al., "Decoupled Feature-Based Mixture of Experts for Multi-Modal Object
Re-Identification" (AAAI 2025). Module names are those of published checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trireid.models.clip_vit import QuickGELU
from trireid.models.config import Head, NetworkConfig
from trireid.models.layers import attend, make_fused_projection

#: The seven subsets, in the order of the output, as indices of modalities (rgb, nir, tir).
SUBSETS = {
    "r": (0,),
    "n": (1,),
    "t": (2,),
    "rn": (0, 1),
    "rt": (0, 2),
    "nt": (1, 2),
    "rnt": (0, 1, 2),
}


class QueryAttention(nn.Module):
    """Multi-head attention of one query over many tokens, heads of 64 channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.in_proj_weight, self.in_proj_bias = make_fused_projection(channels)
        self.out_proj = nn.Linear(channels, channels)

    def forward(self, query: Tensor, tokens: Tensor) -> Tensor:
        """Query [B, 1, C], tokens [B, T, C] -> [B, C]."""
        to_query, to_key, to_value = zip(
            self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3), strict=True
        )
        projected = (
            nn.functional.linear(x, *to)
            for x, to in ((query, to_query), (tokens, to_key), (tokens, to_value))
        )
        out: Tensor = self.out_proj(attend(*projected)).squeeze(1)
        return out


class DemoHead(nn.Module):
    """HDM, with ATMoE on it where the configuration says so."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        for name in SUBSETS:
            self.register_parameter(
                f"{name}_token",
                nn.Parameter(config.channels**-0.5 * torch.randn(1, 1, config.channels)),
            )
            self.add_module(name, QueryAttention(config.channels))
        if config.head is Head.HDM_ATM:
            self.moe = Moe(config.channels, config.moe_heads)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B, 3, 1 + N, C], global first -> [B, 7C]."""
        decoupled = torch.stack([self._decouple(name, tokens) for name in SUBSETS], dim=1)
        if hasattr(self, "moe"):
            decoupled = self.moe(decoupled)
        return decoupled.flatten(1)

    def _decouple(self, name: str, tokens: Tensor) -> Tensor:
        query = self.get_parameter(f"{name}_token").expand(tokens.shape[0], -1, -1)
        seen = torch.cat([tokens[:, modality] for modality in SUBSETS[name]], dim=1)
        out: Tensor = self.get_submodule(name)(query, seen)
        return out


class Moe(nn.Module):
    """ATMoE: `heads` x 7 experts and the gates on them."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.experts = nn.ModuleList(ExpertHead(channels // heads) for _ in range(heads))
        self.gating_network = GatingNetwork(channels, heads)

    def forward(self, vectors: Tensor) -> Tensor:
        """The seven vectors [B, 7, C] -> [B, 7, C]: each expert's output times its gate, heads side
        by side.
        """
        gates = self.gating_network(vectors)
        chunks = vectors.chunk(len(self.experts), dim=-1)
        parts = [
            expert(chunk) * gates[:, head, :, None]
            for head, (expert, chunk) in enumerate(zip(self.experts, chunks, strict=True))
        ]
        return torch.cat(parts, dim=-1)


class ExpertHead(nn.Module):
    """The seven experts of one head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.expertHead = nn.ModuleList(Expert(channels) for _ in SUBSETS)

    def forward(self, chunks: Tensor) -> Tensor:
        """[B, 7, C / heads] -> the same shape, each vector by its own expert."""
        return torch.stack(
            [expert(chunks[:, index]) for index, expert in enumerate(self.expertHead)], dim=1
        )


class Expert(nn.Module):
    """Linear, QuickGELU, BatchNorm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(channels, channels), QuickGELU(), nn.BatchNorm1d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, C / heads] -> the same shape."""
        out: Tensor = self.mlp(x)
        return out


class GatingNetwork(nn.Module):
    """Holds the gate, as the published names have it."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.gate = Gate(channels, heads)

    def forward(self, vectors: Tensor) -> Tensor:
        """[B, 7, C] -> gates [B, heads, 7]."""
        out: Tensor = self.gate(vectors)
        return out


class Gate(nn.Module):
    """Per-head softmax over the seven vectors, scaled by (C / heads)^-0.5."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.linear_re = nn.Sequential(
            nn.Linear(7 * channels, channels), QuickGELU(), nn.BatchNorm1d(channels)
        )
        self.q_ = nn.Linear(channels, channels, bias=False)
        self.k_ = nn.Linear(channels, channels, bias=False)

    def forward(self, vectors: Tensor) -> Tensor:
        """[B, 7, C] -> gates [B, heads, 7], each head's summing to 1."""
        query = self.q_(self.linear_re(vectors.flatten(1))).unflatten(-1, (self.heads, -1))
        keys = self.k_(vectors).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        logits = (keys @ query.unsqueeze(-1)).squeeze(-1) * query.shape[-1] ** -0.5
        return torch.softmax(logits, dim=-1)
