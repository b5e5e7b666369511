"""SDTPS: Sparse and Dense Token-aware Patch Selection, guided by the two other modalities.

From SEPS (image-text retrieval), moved to tri-modal re-identification. For patches v_1..v_N of one modality, its own global
feature g and those of the two others, a and b:

1. `s_pred = sigmoid(Linear(GELU(Linear(v))))`
2. `s_x = minmax(cos(v, x))` for x in g, a, b
3. `score = (1 - 2 beta) s_pred + beta (s_a + s_b + 2 s_g)`
4. the K patches that score best are kept
5. `extra = sum of softmax(score) v` over the dropped
6. `W v` over the kept, `W = softmax(scale * Linear(GELU(Linear(LayerNorm(v)))))` -> N_c tokens
7. the modality's feature: the mean of the N_c + 1 tokens

Steps 5 to 7 are written with masks over all N patches instead of a gather of the kept ones: the same numbers, and the only
data-dependent operation left is one top-k with a constant K.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.config import NetworkConfig
from models.norm import unit

NAMES = ("rgb", "nir", "tir")
_MASKED = torch.finfo(torch.float32).min


class Selection(NamedTuple):
    """One modality's outcome: `feature` [B, C]; `kept` int64 [B, K], best first; `scores` [B, N]."""

    feature: Tensor
    kept: Tensor
    scores: Tensor


class TokenSparse(nn.Module):
    """Steps 1 to 5: score the patches, keep the best, fuse the rest into one token."""

    def __init__(self, channels: int, kept: int, beta: float) -> None:
        super().__init__()
        self.kept, self.beta = kept, beta
        hidden = channels // 4
        self.score_predictor = nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, 1), nn.Sigmoid())

    def scores(self, patches: Tensor, own: Tensor, others: tuple[Tensor, Tensor]) -> Tensor:
        """Steps 1 to 3. Patches [B, N, C], global features [B, C] -> [B, N]."""
        predicted: Tensor = self.score_predictor(patches).squeeze(-1)
        directions = unit(patches)
        first, second = (attention(directions, other) for other in others)
        cross = first + second + 2 * attention(directions, own)
        return (1 - 2 * self.beta) * predicted + self.beta * cross

    def select(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Step 4. [B, N] -> indices of the kept int64 [B, K], best first, and the mask bool [B, N] that is true on them."""
        kept = torch.topk(scores, self.kept, dim=-1).indices
        patches = torch.arange(scores.shape[-1], device=scores.device)
        return kept, (kept.unsqueeze(-1) == patches).any(dim=-2)  # a scatter would ask for the shape in an exported graph

    def extra(self, patches: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
        """Step 5. -> [B, 1, C]; zeros where nothing is dropped."""
        if self.kept == patches.shape[1]:
            return 0 * patches[:, :1]  # zeros_like would ask for the shape in an exported graph
        weights = torch.softmax(scores.masked_fill(mask, _MASKED), dim=-1)
        return weights.unsqueeze(1) @ patches


class TokenAggregation(nn.Module):
    """Step 6: the kept patches, aggregated to N_c tokens by learned weights."""

    def __init__(self, channels: int, tokens: int) -> None:
        super().__init__()
        hidden = int(0.2 * channels)
        self.weight = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, tokens))
        self.scale = nn.Parameter(torch.ones(1, 1, 1))

    def forward(self, patches: Tensor, mask: Tensor) -> Tensor:
        """Patches [B, N, C], mask of the kept [B, N] -> [B, N_c, C]."""
        logits = (self.scale * self.weight(patches)).transpose(1, 2)
        weights = torch.softmax(logits.masked_fill(~mask.unsqueeze(1), _MASKED), dim=-1)
        return weights @ patches


class Sdtps(nn.Module):
    """The head: one selection and one aggregation per modality."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        for name in NAMES:
            self.add_module(f"{name}_sparse", TokenSparse(config.channels, config.kept, config.beta))
            self.add_module(f"{name}_aggr", TokenAggregation(config.channels, config.aggregated))

    def forward(self, patches: Tensor, globals_: Tensor) -> tuple[Selection, Selection, Selection]:
        """Patches [B, 3, N, C] and global features [B, 3, C] of the three modalities -> their selections."""
        rgb, nir, tir = (self._modality(index, patches[:, index], globals_) for index in range(3))
        return rgb, nir, tir

    def _modality(self, index: int, patches: Tensor, globals_: Tensor) -> Selection:
        sparse, aggregation = self.get_submodule(f"{NAMES[index]}_sparse"), self.get_submodule(f"{NAMES[index]}_aggr")
        assert isinstance(sparse, TokenSparse)
        first, second = (globals_[:, other] for other in range(3) if other != index)
        scores = sparse.scores(patches, globals_[:, index], (first, second))
        kept, mask = sparse.select(scores)
        tokens = torch.cat([aggregation(patches, mask), sparse.extra(patches, scores, mask)], dim=1)
        return Selection(tokens.mean(dim=1), kept, scores)


def attention(directions: Tensor, feature: Tensor) -> Tensor:
    """Step 2. Unit patch vectors [B, N, C] and a feature [B, C] -> cosine, min-max normalised over the patches, [B, N]."""
    cosine = (directions @ unit(feature).unsqueeze(-1)).squeeze(-1)
    low, high = cosine.amin(dim=-1, keepdim=True), cosine.amax(dim=-1, keepdim=True)
    return (cosine - low) / (high - low + 1e-8)
