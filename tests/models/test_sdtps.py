"""SDTPS, step by step: the mask form against a gather written out, and the counts that the ratios
give.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from tests.goldens.make import CONFIG
from trireid.models import NetworkConfig, ReIdNetwork
from trireid.models.sdtps import Sdtps, TokenAggregation, TokenSparse
from trireid.samples import ConfigError


@pytest.mark.parametrize(
    ("sparse", "aggregation", "kept", "tokens"), [(0.5, 0.4, 64, 25), (0.7, 0.5, 90, 44)]
)
def test_the_ratios_of_the_research_code(
    sparse: float, aggregation: float, kept: int, tokens: int
) -> None:
    config = NetworkConfig(sparse_ratio=sparse, aggregation_ratio=aggregation)
    assert (config.patches, config.selected_patches, config.aggregated) == (128, kept, tokens)


def test_ratios_that_leave_no_token_are_refused() -> None:
    with pytest.raises(ConfigError, match="no token"):
        replace(CONFIG, aggregation_ratio=0.1)


def gather(
    patches: Tensor, scores: Tensor, sparse: TokenSparse, aggregation: TokenAggregation
) -> Tensor:
    """Steps 4 to 7 for one sample [N, C], selected and dropped patches gathered by index."""
    order = torch.argsort(scores, descending=True)
    kept, dropped = patches[order[: sparse.selected_patches]], order[sparse.selected_patches :]
    weights = functional.softmax(aggregation.scale[0] * aggregation.weight(kept).T, dim=-1)
    fused = (
        functional.softmax(scores[dropped], dim=0) @ patches[dropped]
        if len(dropped)
        else torch.zeros(patches.shape[1])
    )
    return torch.cat([weights @ kept, fused[None]]).mean(dim=0)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    sparse_ratio=st.sampled_from([0.25, 0.5, 0.7, 1.0]),
    batch=st.integers(1, 3),
)
def test_masks_give_what_a_gather_gives(seed: int, sparse_ratio: float, batch: int) -> None:
    torch.manual_seed(seed)
    config = replace(CONFIG, sparse_ratio=sparse_ratio)
    head = Sdtps(config)
    patches, globals_ = torch.randn(batch, 3, config.patches, 32), torch.randn(batch, 3, 32)
    with torch.inference_mode():
        for index, (name, selection) in enumerate(
            zip(("rgb", "nir", "tir"), head(patches, globals_), strict=True)
        ):
            sparse, aggregation = getattr(head, f"{name}_sparse"), getattr(head, f"{name}_aggr")
            for row in range(batch):
                expected = gather(patches[row, index], selection.scores[row], sparse, aggregation)
                torch.testing.assert_close(selection.feature[row], expected, atol=1e-5, rtol=1e-4)
                best = torch.topk(selection.scores[row], config.selected_patches).indices
                assert set(selection.selected_patches[row].tolist()) == set(best.tolist())


def test_a_score_is_what_the_paper_says() -> None:
    """Own similarity counts twice, each of the others once, the predictor for the rest; all in [0,
    1].
    """
    torch.manual_seed(0)
    sparse = TokenSparse(32, selected_patches=4, beta=0.25)
    patches, own, first, second = (
        torch.randn(1, 8, 32),
        torch.randn(1, 32),
        torch.randn(1, 32),
        torch.randn(1, 32),
    )

    def similarity(feature: Tensor) -> Tensor:
        cosine = functional.cosine_similarity(patches, feature[:, None], dim=-1)
        return (cosine - cosine.min()) / (cosine.max() - cosine.min())

    predicted = sparse.score_predictor(patches)[..., 0]
    expected = 0.5 * predicted + 0.25 * (
        similarity(first) + similarity(second) + 2 * similarity(own)
    )
    torch.testing.assert_close(
        sparse.score(patches, own, (first, second)), expected, atol=1e-5, rtol=1e-5
    )


def test_every_branch_passes_gradient_to_the_backbone() -> None:
    network = ReIdNetwork(CONFIG)
    weight = network.get_parameter("backbone.base.conv1.weight")
    features = network.features(torch.randn(2, 3, 3, 64, 32), torch.tensor([0, -1]))
    assert features.head is not None
    for branch in (features.ori, features.head):
        (gradient,) = torch.autograd.grad(branch.square().sum(), weight, retain_graph=True)
        assert float(gradient.abs().max()) > 0
