"""Gradient flow: the parts add up to the whole, and the three errors of the notes are caught
when planted.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import trireid.models.sdtps
import trireid.training.diagnosis
from tests.goldens.make import CONFIG
from tests.training.conftest import Changed
from trireid.models import Features, ReIdNetwork
from trireid.models.sdtps import AttentionGradient, Gumbel, Sdtps, TokenAggregation, TokenSparse
from trireid.samples import ConfigError
from trireid.training.batch import Batch, Batches
from trireid.training.data import Data
from trireid.training.diagnosis import (
    Diagnosis,
    diagnose,
    diagnose_file,
    format_diagnosis,
    to_mapping,
)
from trireid.training.gradients import get_module_name, measure_gradients
from trireid.training.initialization import initialize_network
from trireid.training.loop import Training
from trireid.training.loss_heads import LossHeads, sum_losses
from trireid.training.optimizer import compute_root_mean_square, get_exp_avg_sq
from trireid.training.settings import Settings


def run_diagnosis(settings: Settings, data: Data) -> Diagnosis:
    torch.manual_seed(0)
    return diagnose(*make_parts(settings, data), settings)


def make_parts(settings: Settings, data: Data) -> tuple[ReIdNetwork, LossHeads, Batch]:
    batches = Batches(data.train, settings)
    loss_heads = LossHeads(settings.network, int(batches.labels.max()) + 1, settings.loss)
    return initialize_network(settings), loss_heads, batches.make(0)


def test_the_default_recipe_has_no_errors(settings: Settings, changed: Changed, data: Data) -> None:
    assert run_diagnosis(settings, data).errors == []
    assert run_diagnosis(changed(sdtps={"gumbel": Gumbel.ON}), data).errors == []


def test_norms_are_those_of_a_plain_backward_pass(changed: Changed, data: Data) -> None:
    """Against PyTorch's own `.grad`, with the same noise."""
    network, loss_heads, batch = make_parts(changed(sdtps={"gumbel": Gumbel.ON}), data)
    torch.manual_seed(1)
    measured = measure_gradients(network, loss_heads, batch)
    torch.manual_seed(1)
    features = network.train().features(batch.images, batch.camera, batch.present)
    sum_losses(loss_heads.train().compute_losses(features, batch.labels)).backward()
    squares: dict[str, float] = {}
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        squares[get_module_name(name)] = squares.get(get_module_name(name), 0) + float(
            parameter.grad.square().sum()
        )
    for name, square in squares.items():
        assert measured.modules[name] == pytest.approx(square**0.5, rel=1e-3), name


def test_the_paths_add_up_to_the_head(changed: Changed, data: Data) -> None:
    """Tokens, predictor, own and cross are all the ways from the head's loss to the backbone: on
    vectors, not norms.
    """
    import trireid.training.gradients as module

    network, loss_heads, batch = make_parts(changed(sdtps={"gumbel": Gumbel.ON}), data)
    torch.manual_seed(1)
    with module._record_paths(network.train()) as taps:
        features = network.features(batch.images, batch.camera, batch.present)
        loss = loss_heads.train().compute_losses(features, batch.labels)["head"].loss
    backbone = {
        name: p for name, p in network.named_parameters() if name.startswith("backbone.base.")
    }
    whole = module._compute_gradient([loss], None, backbone)
    parts = [
        module._propagate(taps[path], module._compute_arriving(loss, taps[path]), backbone)
        for path in ("tokens", "predictor", "own", "cross")
    ]
    for index, (name, gradient) in enumerate(whole.items()):
        torch.testing.assert_close(
            sum((part[index] for part in parts), torch.zeros(())),
            gradient,
            atol=1e-5,
            rtol=1e-3,
            msg=name,
        )
    by_score = [
        module._propagate(taps[path], module._compute_arriving(loss, taps[path]), backbone)
        for path in ("extra", "mask")
    ]
    for index, name in enumerate(whole):
        scores = sum((part[index] for part in parts[1:]), torch.zeros(()))
        torch.testing.assert_close(
            by_score[0][index] + by_score[1][index], scores, atol=1e-5, rtol=1e-3, msg=name
        )


@pytest.mark.parametrize(
    ("switch", "cut"),
    [
        (AttentionGradient.NONE, {"own", "cross"}),
        (AttentionGradient.SELF, {"cross"}),
        (AttentionGradient.FULL, set()),
    ],
)
def test_detached_scores_are_caught(
    switch: AttentionGradient, cut: set[str], changed: Changed, data: Data
) -> None:
    found = run_diagnosis(changed(sdtps={"attention_gradient": switch}), data)
    assert {name for name in ("own", "cross") if found.gradients.paths[name] is None} == cut
    assert [
        error for error in found.errors if "detached by sdtps.attention_gradient" in error
    ] == found.errors
    assert len(found.errors) == len(cut)


def test_scores_detached_in_the_code_are_caught(
    settings: Settings, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error itself, whatever the switch says: similarities computed under `no_grad`."""

    attention = trireid.models.sdtps.score_similarity

    def under_no_grad(directions: Tensor, feature: Tensor) -> Tensor:
        with torch.no_grad():
            return attention(directions, feature)

    monkeypatch.setattr(trireid.models.sdtps, "score_similarity", under_no_grad)
    errors = run_diagnosis(settings, data).errors
    assert errors == [
        "no gradient passes through the own score",
        "no gradient passes through the cross scores",
    ]


def test_the_published_mask_is_caught(changed: Changed, data: Data) -> None:
    found = run_diagnosis(changed(sdtps={"gumbel": Gumbel.PUBLISHED}), data)
    assert any("through the mask of the selected explodes" in error for error in found.errors)
    assert any("score_predictor explodes" in error for error in found.errors)
    assert found.gradients.mask_share["backbone"] == pytest.approx(1, abs=1e-3)
    assert found.gradients.update_share["backbone"] > 0.9
    assert "is the mask's share of the first step of Adam at the backbone" in format_diagnosis(
        found
    )
    assert "<- exploding" in format_diagnosis(found)


def test_a_sound_mask_has_a_small_share_of_the_update(changed: Changed, data: Data) -> None:
    found = run_diagnosis(changed(sdtps={"gumbel": Gumbel.ON}), data)
    assert abs(found.gradients.mask_share["backbone"]) < 0.01
    assert abs(found.gradients.update_share["backbone"]) < 0.05


def test_what_adam_divides_by_is_what_torch_divides_by() -> None:
    layer, draw = torch.nn.Linear(3, 2, bias=False), torch.Generator().manual_seed(0)
    # no mean of gradients: a step is g / rms
    adam = torch.optim.Adam(layer.parameters(), lr=1.0, betas=(0.0, 0.999))
    for _ in range(3):
        before = layer.weight.detach().clone()
        exp_avg_sq = {
            name: (mean.clone(), steps)
            for name, (mean, steps) in get_exp_avg_sq(adam, layer).items()
        }
        gradient = torch.randn(2, 3, generator=draw)
        layer.weight.grad = gradient
        adam.step()
        step = gradient.double() / compute_root_mean_square(gradient, exp_avg_sq.get("weight"))
        torch.testing.assert_close(before - layer.weight.detach(), step.float())


def test_evaluation_that_hides_the_head_is_caught(changed: Changed, data: Data) -> None:
    found = run_diagnosis(changed(logging={"patterns": (3,)}), data)
    assert found.reads == {3: ("ori", "head")}
    assert [error for error in found.errors if "never shows the head features apart" in error]
    assert "evaluation's pattern 3 reads: ori, head" in format_diagnosis(found)


def test_evaluation_that_says_pattern_2_and_reads_both_is_caught(
    settings: Settings, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error itself: a flag that forgot SDTPS, so that every pattern was the concatenation."""

    def concatenate(features: Features, pattern: int) -> Tensor:
        return features.both

    monkeypatch.setattr(trireid.training.diagnosis, "select_embedding", concatenate)
    errors = run_diagnosis(settings, data).errors
    assert any(
        "never shows the head features apart (it reports patterns [1, 2, 3])" in error
        for error in errors
    )


def test_a_dead_module_is_named(settings: Settings, data: Data) -> None:
    network, loss_heads, batch = make_parts(settings, data)
    with torch.no_grad():
        network.get_parameter("nir_reduce.1.weight").zero_()
        network.get_parameter("nir_reduce.1.bias").zero_()
        network.get_parameter("nir_reduce.0.weight").zero_()
        network.get_parameter("nir_reduce.0.bias").zero_()
        network.get_parameter("tir_reduce.1.weight").fill_(torch.inf)
    errors = diagnose(
        network, loss_heads, batch._replace(camera=torch.full_like(batch.camera, -1)), settings
    ).errors
    assert "backbone.cv_embed is dead: no gradient reaches it" in errors
    assert any("tir_reduce explodes: its gradient's norm is nan" in error for error in errors)


def test_a_checkpoint_is_diagnosed_with_its_own_settings(run_yaml: Path, tmp_path: Path) -> None:
    run_yaml.write_text(
        run_yaml.read_text()
        .replace("epochs: 20", "epochs: 1")
        .replace("warmup_epochs: 2", "warmup_epochs: 0")
    )
    from trireid.training.loop import prepare_training
    from trireid.training.settings import read_settings

    prepare_training(read_settings(run_yaml), tmp_path / "run").run()
    found = diagnose_file(tmp_path / "run" / "best.pth")
    start = diagnose_file(run_yaml)
    assert found.gradients.loss < start.gradients.loss
    assert to_mapping(found)["reads"] == {1: ("ori",), 2: ("head",), 3: ("ori", "head")}
    content = torch.load(tmp_path / "run" / "best.pth", weights_only=True)
    training = content["training"]
    training |= {"start": training.pop("pretrained"), "upkeep": training.pop("logging")}
    torch.save(content, tmp_path / "old.pth")  # as of version 0.1
    assert diagnose_file(tmp_path / "old.pth").gradients.loss == found.gradients.loss
    other = tmp_path / "other.pth"
    torch.save({"state_dict": {}}, other)
    with pytest.raises(ConfigError, match="carries no training settings"):
        diagnose_file(other)


def make_head(gumbel: Gumbel) -> Sdtps:
    torch.manual_seed(0)
    head = Sdtps(CONFIG).train()
    head.train_with(AttentionGradient.FULL, gumbel, tau=0.7)
    return head


def get_parts(head: Sdtps) -> tuple[TokenSparse, TokenAggregation]:
    sparse, aggregation = head.get_submodule("rgb_sparse"), head.get_submodule("rgb_aggr")
    assert isinstance(sparse, TokenSparse)
    assert isinstance(aggregation, TokenAggregation)
    return sparse, aggregation


def embed(gumbel: Gumbel, patches: Tensor, globals_: Tensor) -> Tensor:
    torch.manual_seed(4)
    return torch.cat(
        [selection.feature for selection in make_head(gumbel)(patches, globals_)], dim=-1
    )


def test_no_estimate_changes_a_value() -> None:
    patches, globals_ = torch.randn(2, 3, CONFIG.patches, 32), torch.randn(2, 3, 32)
    off = embed(Gumbel.OFF, patches, globals_)
    for gumbel in (Gumbel.ON, Gumbel.PUBLISHED):
        assert torch.equal(embed(gumbel, patches, globals_), off)


def test_the_estimate_has_the_soft_masks_gradient() -> None:
    """`values * mask` at mask = 1, differentiated by hand:

    (dL/dmask) J, J the softmax's Jacobian, against autograd.
    """
    sparse, aggregation = get_parts(make_head(Gumbel.ON))
    patches, scores = (
        torch.randn(1, CONFIG.patches, 32),
        torch.rand(1, CONFIG.patches, requires_grad=True),
    )
    kept = sparse.select(scores)[1]
    direction = torch.randn(1, CONFIG.aggregated, 32)

    torch.manual_seed(9)
    estimate = sparse.straight_through(scores)
    assert estimate is not None
    assert torch.equal(estimate, torch.zeros_like(estimate))
    (by_autograd,) = torch.autograd.grad(
        (aggregation(patches * (1 + estimate).unsqueeze(-1), kept) * direction).sum(), scores
    )

    torch.manual_seed(9)
    noise = -torch.log(torch.empty_like(scores).exponential_())
    soft = torch.softmax((scores.detach() + noise) / 0.7, dim=-1)
    mask = torch.ones_like(soft, requires_grad=True)
    (by_mask,) = torch.autograd.grad(
        (aggregation(patches * mask.unsqueeze(-1), kept) * direction).sum(), mask
    )
    jacobian = (torch.diag(soft[0]) - torch.outer(soft[0], soft[0])) / 0.7
    torch.testing.assert_close(by_autograd[0], by_mask[0] @ jacobian, atol=1e-6, rtol=1e-4)
    assert float(by_autograd.abs().max()) > 0


def test_the_published_estimate_is_ten_thousand_million_times_too_large() -> None:
    sparse, aggregation = get_parts(make_head(Gumbel.PUBLISHED))
    patches, scores = (
        torch.randn(1, CONFIG.patches, 32),
        torch.rand(1, CONFIG.patches, requires_grad=True),
    )
    kept = sparse.select(scores)[1]
    torch.manual_seed(9)
    estimate = sparse.straight_through(scores)
    assert estimate is not None
    added = torch.zeros_like(scores, requires_grad=True)
    (by_logit,) = torch.autograd.grad(
        aggregation(patches, kept, added * 1e-10).square().sum(), added
    )
    (by_score,) = torch.autograd.grad(aggregation(patches, kept, estimate).square().sum(), scores)
    assert float(by_score.norm()) > 1e6 * float(by_logit.norm())


def test_noise_is_for_training_only() -> None:
    sparse, _ = get_parts(make_head(Gumbel.ON).eval())
    assert sparse.straight_through(torch.rand(1, CONFIG.patches)) is None


def test_a_finished_run_can_be_diagnosed_while_frozen(
    changed: Changed, data: Data, tmp_path: Path
) -> None:
    settings = changed(schedule={"epochs": 1}, logging={"diagnose_every": 1})
    training = Training(settings, data, tmp_path)
    training.network.backbone.requires_grad_(False)
    measured = measure_gradients(training.network, training.loss_heads, training.batches.make(0))
    assert measured.branches == {}
    assert measured.paths["predictor"] is None or measured.paths["predictor"].backbone == 0
