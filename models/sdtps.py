"""SDTPS: Sparse and Dense Token-aware Patch Selection, guided by the two other modalities.

From SEPS (image-text retrieval), moved to tri-modal re-identification. For patches v_1..v_N of one
modality, its own global feature g and those of the two others, a and b:

1. `s_pred = sigmoid(Linear(GELU(Linear(v))))`
2. `s_x = minmax(cos(v, x))` for x in g, a, b
3. `score = (1 - 2 beta) s_pred + beta (s_a + s_b + 2 s_g)`
4. the K patches that score best are selected
5. `extra = sum of softmax(score) v` over the dropped
6. `W v` over the selected, `W = softmax(scale * Linear(GELU(Linear(LayerNorm(v)))))` -> N_c tokens
7. the modality's feature: the mean of the N_c + 1 tokens

Steps 5 to 7 are written with masks over all N patches instead of a gather of the selected ones: the
same numbers, and the only data-dependent operation left is one top-k with a constant K.

Two switches change how the head trains, not its output: which scores carry gradient
(`AttentionGradient`), and whether the choice of patches does (`Gumbel`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from trireid.models.config import NetworkConfig
from trireid.models.layers import normalize

NAMES = ("rgb", "nir", "tir")
#: The paths on which gradient leaves the head: through the tokens themselves, through the parts of
#: the scores (predictor, own and cross-modal similarity), and through the use of the scores (the
#: fusion of the dropped, the mask of the selected). Each is an identity module, for hooks.
PATHS: Final = ("tokens", "predictor", "own", "cross", "extra", "mask")


class AttentionGradient(StrEnum):
    """Which similarities carry gradient: none, the modality's own, or the cross-modal ones too.

    The predictor always does.
    """

    NONE = "none"
    SELF = "self"
    FULL = "full"


class Gumbel(StrEnum):
    """How the choice of patches carries gradient while training: not at all, or by a
    straight-through estimate.

    The estimate's value is 1 on the selected patches, its gradient that of `softmax((score + Gumbel
    noise) / tau)`. `ON` multiplies the selected tokens by it. `PUBLISHED` does as the research code
    does: `logits - (1 - estimate) * 1e10`, which multiplies its gradient by 1e10; for comparison
    only.
    """

    OFF = "off"
    ON = "on"
    PUBLISHED = "published"

    @classmethod
    def _missing_(cls, value: object) -> Gumbel | None:
        """Take the booleans that YAML makes of a bare `on` and `off`."""
        if isinstance(value, bool):
            return cls.ON if value else cls.OFF
        return None


#: The factor of the research code's mask.
PUBLISHED_MASK: Final = 1e10
_TINY = torch.finfo(torch.float32).tiny


class Selection(NamedTuple):
    """The selection of one modality.

    `feature` [B, C]; `selected_patches` int64 [B, K], best first; `scores` [B, N].
    """

    feature: Tensor
    selected_patches: Tensor
    scores: Tensor


class TokenSparse(nn.Module):
    """Steps 1 to 5: score the patches, select the best, fuse the rest into one token."""

    def __init__(self, channels: int, selected_patches: int, beta: float) -> None:
        super().__init__()
        self.selected_patches, self.beta = selected_patches, beta
        hidden = channels // 4
        self.score_predictor = nn.Sequential(
            nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, 1), nn.Sigmoid()
        )
        self.attention_gradient, self.gumbel, self.tau = AttentionGradient.FULL, Gumbel.OFF, 1.0
        self.paths = nn.ModuleDict({name: nn.Identity() for name in PATHS})

    def score(self, patches: Tensor, own: Tensor, others: tuple[Tensor, Tensor]) -> Tensor:
        """Steps 1 to 3. Patches [B, N, C], global features [B, C] -> [B, N]."""
        predicted: Tensor = self.score_predictor(self.paths["predictor"](patches)).squeeze(-1)
        directions = normalize(patches)
        own_score = score_similarity(*(self.paths["own"](x) for x in (directions, own)))
        towards = self.paths["cross"](directions)
        first, second = (score_similarity(towards, self.paths["cross"](other)) for other in others)
        own_score, cross = self._detach(own_score, first + second)
        return (1 - 2 * self.beta) * predicted + self.beta * (cross + 2 * own_score)

    def _detach(self, own: Tensor, cross: Tensor) -> tuple[Tensor, Tensor]:
        """The two similarities, cut off from the gradient as the switch says."""
        if self.attention_gradient is AttentionGradient.NONE:
            return own.detach(), cross.detach()
        return own, cross.detach() if self.attention_gradient is AttentionGradient.SELF else cross

    def select(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Step 4. [B, N] -> indices of the selected int64 [B, K], best first, and a mask bool
        [B, N] that is true on them.
        """
        selected = torch.topk(scores, self.selected_patches, dim=-1).indices
        patches = torch.arange(scores.shape[-1], device=scores.device)
        # a scatter would ask for the shape in an exported graph
        return selected, (selected.unsqueeze(-1) == patches).any(dim=-2)

    def fuse_dropped(self, patches: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
        """Step 5. -> [B, 1, C]; zeros where nothing is dropped."""
        if self.selected_patches == patches.shape[1]:
            return 0 * patches[:, :1]  # zeros_like would ask for the shape in an exported graph
        scores = self.paths["extra"](scores)
        weights = torch.softmax(scores.masked_fill(mask, _get_lowest(scores)), dim=-1)
        return weights.unsqueeze(1) @ patches

    def straight_through(self, scores: Tensor) -> Tensor | None:
        """The straight-through estimate's part that is 0 in value and has the soft mask's gradient,
        [B, N]; None when off.

        Source: Jang et al., "Categorical Reparameterization with Gumbel-Softmax" (2017). The noise
        is in the soft mask only: as in the research code, the patches are chosen without it.
        """
        if self.gumbel is Gumbel.OFF or not self.training:
            return None
        noise = -torch.log(
            torch.empty_like(scores, dtype=torch.float32).exponential_().clamp_min(_TINY)
        )
        soft = torch.softmax((self.paths["mask"](scores) + noise) / self.tau, dim=-1)
        return soft - soft.detach()


class TokenAggregation(nn.Module):
    """Step 6: the selected patches, aggregated to N_c tokens by learned weights."""

    def __init__(self, channels: int, tokens: int) -> None:
        super().__init__()
        hidden = int(0.2 * channels)
        self.weight = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, hidden),
            nn.GELU(),
            nn.Linear(hidden, tokens),
        )
        self.scale = nn.Parameter(torch.ones(1, 1, 1))

    def forward(self, patches: Tensor, mask: Tensor, published: Tensor | None = None) -> Tensor:
        """Patches [B, N, C], mask of the selected [B, N] -> [B, N_c, C].

        `published`: the logits that `Gumbel.PUBLISHED` adds, [B, N].
        """
        logits = (self.scale * self.weight(patches)).transpose(1, 2)
        if published is not None:
            logits = logits + published.unsqueeze(1) * PUBLISHED_MASK
        weights = torch.softmax(logits.masked_fill(~mask.unsqueeze(1), _get_lowest(logits)), dim=-1)
        return weights @ patches


class Sdtps(nn.Module):
    """The head: one selection and one aggregation per modality."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        for name in NAMES:
            self.add_module(
                f"{name}_sparse", TokenSparse(config.channels, config.selected_patches, config.beta)
            )
            self.add_module(f"{name}_aggr", TokenAggregation(config.channels, config.aggregated))

    def forward(self, patches: Tensor, globals_: Tensor) -> tuple[Selection, Selection, Selection]:
        """Patches [B, 3, N, C] and global features [B, 3, C] of the three modalities -> their
        selections.
        """
        rgb, nir, tir = (
            self._select_modality(index, patches[:, index], globals_) for index in range(3)
        )
        return rgb, nir, tir

    def _select_modality(self, index: int, patches: Tensor, globals_: Tensor) -> Selection:
        sparse, aggregation = (
            self.get_submodule(f"{NAMES[index]}_sparse"),
            self.get_submodule(f"{NAMES[index]}_aggr"),
        )
        assert isinstance(sparse, TokenSparse)
        first, second = (globals_[:, other] for other in range(3) if other != index)
        scores = sparse.score(patches, globals_[:, index], (first, second))
        selected, mask = sparse.select(scores)
        values = sparse.paths["tokens"](patches)
        estimate = sparse.straight_through(scores)
        if estimate is None:
            aggregated = aggregation(values, mask)
        elif sparse.gumbel is Gumbel.PUBLISHED:
            aggregated = aggregation(values, mask, estimate)
        else:
            aggregated = aggregation(values * (1 + estimate).unsqueeze(-1), mask)
        tokens = torch.cat([aggregated, sparse.fuse_dropped(values, scores, mask)], dim=1)
        return Selection(tokens.mean(dim=1), selected, scores)

    def train_with(
        self, attention_gradient: AttentionGradient, gumbel: Gumbel, tau: float = 1.0
    ) -> None:
        """Set the switches of all three modalities; `tau`: temperature of the soft mask."""
        for name in NAMES:
            sparse = self.get_submodule(f"{name}_sparse")
            assert isinstance(sparse, TokenSparse)
            sparse.attention_gradient, sparse.gumbel, sparse.tau = attention_gradient, gumbel, tau


def score_similarity(directions: Tensor, feature: Tensor) -> Tensor:
    """Step 2.

    Unit patch vectors [B, N, C] and a feature [B, C] -> cosine, min-max normalized over the
    patches, [B, N].
    """
    cosine = (directions @ normalize(feature).unsqueeze(-1)).squeeze(-1)
    low, high = cosine.amin(dim=-1, keepdim=True), cosine.amax(dim=-1, keepdim=True)
    return (cosine - low) / (high - low + 1e-8)


def _get_lowest(x: Tensor) -> float:
    """The finite stand-in for minus infinity in x's precision: float16 under autocast, float32
    otherwise.
    """
    return torch.finfo(x.dtype).min
