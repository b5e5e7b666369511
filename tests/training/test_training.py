"""Training: the losses, the sampler, one geometry for three modalities, rates, and a run with its
checkpoints.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
import subprocess
import sys
from collections import namedtuple
from dataclasses import replace
from functools import partial
from operator import mul
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.training.conftest import Changed, make_image_set
from trireid.models import Backbone, Head, ReIdNetwork, get_published_state, load_checkpoint
from trireid.models.sdtps import Gumbel
from trireid.samples import CheckpointError, ConfigError, SourceError, TrireidError
from trireid.training.augment import Augmentation
from trireid.training.batch import Batches, IdentitySampler
from trireid.training.data import Data, check_batch, split_validation
from trireid.training.initialization import initialize_network
from trireid.training.loop import Training
from trireid.training.losses import (
    average_segments,
    batch_hard_triplet,
    center_share,
    contrastive_loss,
    identity_loss,
)
from trireid.training.optimizer import compute_lr, freeze_blocks, make_optimizer
from trireid.training.settings import (
    BatchSettings,
    DataSettings,
    OptimizerName,
    OptimizerSettings,
    Precision,
    Settings,
)
from trireid.training.validation import validate


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_triplet_loss_takes_the_hardest_pair() -> None:
    """On a line: anchors at 0 and 3 of one identity, 4 and 6 of the other.

    Hardest positive minus negative.
    """
    features, labels = torch.tensor([[0.0], [3.0], [4.0], [6.0]]), torch.tensor([0, 0, 1, 1])
    differences = [p - n for p, n in ((3, 4), (3, 1), (2, 1), (2, 3))]
    soft = np.mean([math.log1p(math.exp(d)) for d in differences])
    assert float(batch_hard_triplet(features, labels)) == pytest.approx(soft, rel=1e-5)
    assert float(batch_hard_triplet(features, labels, 0.3)) == pytest.approx(
        (2.3 + 1.3) / 4, rel=1e-5
    )


def test_the_centre_share_is_the_common_part_of_the_features() -> None:
    common, own = torch.tensor([3.0, 0.0]), torch.tensor([[0.0, 4.0], [0.0, -4.0]])
    assert float(center_share(common + own)) == pytest.approx(9 / 25)
    assert float(center_share(own)) == 0
    assert float(center_share(common.expand(5, 2))) == 1
    assert float(center_share(torch.zeros(2, 2))) == 0


def test_the_contrastive_loss_is_the_published_one() -> None:
    draw = torch.Generator().manual_seed(0)
    features, labels = torch.randn(6, 5, generator=draw), torch.tensor([0, 0, 0, 1, 1, 2])
    features, labels = features[:5], labels[:5]
    unit = (features / features.norm(dim=1, keepdim=True)).tolist()
    losses = []
    for a, anchor in enumerate(unit):
        products = [math.exp(sum(map(mul, anchor, other)) / 0.1) for other in unit]
        all_others = sum(products) - products[a]
        same = [p for p in range(5) if p != a and labels[p] == labels[a]]
        losses.append(-sum(math.log(products[p] / all_others) for p in same) / len(same))
    found = float(contrastive_loss(features, labels, 0.1))
    assert found == pytest.approx(sum(losses) / 5, rel=1e-5)
    assert float(contrastive_loss(3 * features, labels, 0.1)) == pytest.approx(found)


def test_the_segment_loss_is_the_mean_of_each_segment_by_itself() -> None:
    draw = torch.Generator().manual_seed(0)
    features, labels = torch.randn(8, 12, generator=draw), torch.arange(8) // 2
    parts = [batch_hard_triplet(features[:, at : at + 4], labels, 0.3) for at in (0, 4, 8)]
    triplet = partial(batch_hard_triplet, labels=labels, margin=0.3)
    assert float(average_segments(features, 4, triplet)) == pytest.approx(float(sum(parts)) / 3)
    # a modality that the whole batch lacks: all alike, and no gradient that is not a number
    features[:, 4:8] = 7
    features.requires_grad_(True)
    average_segments(features, 4, triplet).backward()
    assert features.grad is not None
    assert (features.grad[:, 4:8] == 0).all()
    assert (features.grad[:, :4] != 0).any()


def test_the_centre_weight_counts_on_each_branch(
    changed: Changed, data: Data, tmp_path: Path
) -> None:
    plain, centred = (
        Training(changed(loss={"center": weight}), data, tmp_path / str(weight)).take_step()
        for weight in (0.0, 100.0)
    )
    # features of an untrained network are nearly all alike
    for branch in ("loss_ori", "loss_head"):
        assert 50 < centred[branch] - plain[branch] <= 100


def test_the_segment_weight_counts_on_each_branch(
    changed: Changed, data: Data, tmp_path: Path
) -> None:
    plain, apart = (
        Training(changed(loss={"segments": weight}), data, tmp_path / str(weight)).take_step()
        for weight in (0.0, 10.0)
    )
    for branch in ("loss_ori", "loss_head"):
        assert 0.5 < apart[branch] - plain[branch] < 20


def test_the_identity_loss_smooths_by_a_tenth() -> None:
    logits = torch.tensor([[2.0, 0.0, 0.0, 0.0]])
    log_p = torch.log_softmax(logits, dim=1)[0]
    expected = -(0.925 * log_p[0] + 0.025 * log_p[1:].sum())
    assert float(identity_loss(logits, torch.tensor([0]))) == pytest.approx(float(expected))


@hypothesis_settings(max_examples=30, deadline=None)
@given(
    people=st.integers(4, 9),
    p=st.integers(1, 4),
    k=st.integers(1, 5),
    more=st.integers(0, 3),
    step=st.integers(0, 50),
)
def test_a_batch_is_p_identities_of_k_samples(
    people: int, p: int, k: int, more: int, step: int
) -> None:
    labels = np.repeat(np.arange(people), k + more)
    sampler = IdentitySampler(labels, p, k, seed=3)
    batch = sampler.draw(step)
    assert np.array_equal(batch, IdentitySampler(labels, p, k, seed=3).draw(step))
    drawn, counts = np.unique(labels[batch], return_counts=True)
    assert len(drawn) == p
    assert (counts == k).all()
    assert len(set(batch.tolist())) == p * k


def test_an_epoch_shows_every_identity_once() -> None:
    labels = np.repeat(np.arange(6), 4)
    sampler = IdentitySampler(labels, 2, 2, seed=0)
    assert sampler.steps_per_epoch == 3
    for epoch in range(2):
        seen = np.concatenate([labels[sampler.draw(3 * epoch + i)] for i in range(3)])
        assert sorted(set(seen.tolist())) == list(range(6))


def test_too_few_identities_or_samples_are_said() -> None:
    with pytest.raises(SourceError, match="takes 4 identities, and 2 are there"):
        IdentitySampler(np.array([0, 0, 1, 1]), 4, 2, seed=0)
    with pytest.raises(SourceError, match="takes 3 samples of an identity, and one has 2"):
        IdentitySampler(np.array([0, 0, 0, 1, 1]), 2, 3, seed=0)


def test_augmentation_treats_the_three_modalities_alike() -> None:
    one = np.random.default_rng(1).integers(0, 256, (64, 32, 3), dtype=np.uint8)
    changed = Augmentation(erase=1).augment_images(
        np.stack([np.stack([one] * 3)] * 8), np.ones((8, 3), np.bool_), np.random.default_rng(2)
    )
    assert (changed[:, 0] == changed[:, 1]).all()
    assert (changed[:, 0] == changed[:, 2]).all()
    assert len({image.tobytes() for image in changed[:, 0]}) == 8


def test_a_flip_is_a_mirror() -> None:
    one = np.random.default_rng(1).integers(0, 256, (1, 3, 64, 32, 3), dtype=np.uint8)
    mirrored = Augmentation(flip=1, erase=0, pad=0).augment_images(
        one, np.ones((1, 3), np.bool_), np.random.default_rng(2)
    )
    assert np.array_equal(mirrored, one[:, :, :, ::-1])


def test_some_modality_is_always_shown_and_none_is_made_up() -> None:
    draw = np.random.default_rng(0)
    there = draw.permuted(np.tile([True, True, False], (500, 1)), axis=1)
    there[:100] = [True, False, False]
    shown = Augmentation(drop_modality=1).drop_modalities(there, draw)
    assert set(shown.sum(axis=1).tolist()) == {1}
    assert not (shown & ~there).any()
    whole = np.ones((500, 3), np.bool_)
    assert set(Augmentation(drop_modality=1).drop_modalities(whole, draw).sum(axis=1).tolist()) == {
        1,
        2,
    }
    assert np.array_equal(Augmentation().drop_modalities(there, draw), there)


def test_dropped_together_a_batch_lacks_the_same() -> None:
    draw = np.random.default_rng(0)
    together = Augmentation(drop_modality=0.5, drop_together=True)
    rows = [together.drop_modalities(np.ones((8, 3), np.bool_), draw) for _ in range(300)]
    assert all((batch == batch[0]).all() for batch in rows)
    kinds = {tuple(batch[0].tolist()) for batch in rows}
    assert len(kinds) == 7
    assert sum(batch.all() for batch in rows) == pytest.approx(150, abs=30)
    some = np.array([[True, False, False], [True, True, True]])
    shown = np.array([together.drop_modalities(some, draw) for _ in range(100)])
    assert shown[:, 0].tolist() == [[True, False, False]] * 100
    assert not shown[:, 1].all()


def test_the_rate_warms_up_and_falls() -> None:
    """Every group starts at 3.5e-5 as in the research code: the head's rises to its peak, the
    backbone's falls to it.
    """
    head = [compute_lr(step, 3.5e-4, 3.5e-5, 30, 500) for step in range(500)]
    backbone = [compute_lr(step, 5e-6, 3.5e-5, 30, 500) for step in range(500)]
    assert head[0] == pytest.approx(3.5e-5 + 3.15e-4 / 30)
    assert head[29] == head[30] == max(head) == pytest.approx(3.5e-4)
    assert backbone[29] == pytest.approx(5e-6)
    assert max(backbone) == backbone[0] > 6 * 5e-6
    assert head[265] == pytest.approx(3.5e-4 * 0.5005)
    assert head[499] == pytest.approx(3.5e-7, rel=0.05)
    assert compute_lr(0, 1e-3, None, 10, 100) == pytest.approx(1.9e-4)


def test_each_parameter_learns_at_its_own_rate(settings: Settings) -> None:
    network = initialize_network(settings)
    loss_heads = torch.nn.ModuleDict()
    groups = make_optimizer(network, loss_heads, OptimizerSettings()).param_groups
    rates = {
        id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]
    }
    expected = {
        "backbone.base.conv1.weight": 5e-6,
        "backbone.base.transformer.resblocks.0.ln_1.bias": 5e-6,
        "backbone.cv_embed": 3.5e-4,
        "rgb_reduce.1.weight": 3.5e-4,
        "rgb_reduce.1.bias": 7e-4,
        "sdtps.rgb_sparse.score_predictor.0.bias": 7e-4,
    }
    for name, rate in expected.items():
        assert rates[id(network.get_parameter(name))] == (pytest.approx(rate), 1e-4), name
    assert len(rates) == len(list(network.parameters()))
    scratch = OptimizerSettings(
        name=OptimizerName.ADAMW, backbone_lr=None, bias_factor=1, decay_vectors=False
    )
    groups = make_optimizer(network, loss_heads, scratch).param_groups
    assert sorted((group["lr"], group["weight_decay"]) for group in groups) == [
        (3.5e-4, 0.0),
        (3.5e-4, 1e-4),
    ]


def test_a_run_learns_and_leaves_what_it_promises(
    settings: Settings, data: Data, tmp_path: Path
) -> None:
    trained = Training(settings, data, tmp_path).run()
    start = initialize_network(settings).state_dict()
    moved = {
        name for name, value in trained.state_dict().items() if not torch.equal(value, start[name])
    }
    for part in (
        "backbone.base.conv1",
        "sdtps.tir_sparse.score_predictor",
        "nir_reduce",
        "sdtps.rgb_aggr",
    ):
        assert any(name.startswith(part) for name in moved), part

    steps, epochs = read_rows(tmp_path / "log.csv"), read_rows(tmp_path / "epochs.csv")
    assert [row["step"] for row in steps] == [str(i) for i in range(1, 13)]
    assert float(steps[-1]["loss"]) < float(steps[0]["loss"])
    assert [bool(row["mAP_2"]) for row in epochs] == [False, True, False, True]
    assert float(epochs[1]["loss"]) == pytest.approx(
        np.mean([float(row["loss"]) for row in steps[3:6]]), rel=1e-4
    )
    assert [row["epoch"] for row in read_rows(tmp_path / "gradients.csv")] == ["0", "2", "4"]
    result = json.loads((tmp_path / "result.json").read_text())
    best = max(epochs, key=lambda row: float(row["mAP_3"] or -1))
    assert str(result["best_epoch"]) == best["epoch"]
    assert 100 * result["validation_mAP"] == pytest.approx(float(best["mAP_3"]), abs=1e-3)
    assert set(result["test"]) == {f"{name}_{p}" for name in ("mAP", "rank1") for p in (1, 2, 3)}


def test_the_checkpoint_loads_and_carries_its_configuration(
    settings: Settings, data: Data, tmp_path: Path
) -> None:
    trained = Training(settings, data, tmp_path).run()
    content = torch.load(tmp_path / "best.pth", weights_only=True)
    for config in (content["config"], tmp_path / "best.yml"):
        loaded = load_checkpoint(tmp_path / "best.pth", config)
        assert loaded.config == settings.network
        for name, value in trained.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], value), name
    assert content["training"] == settings.to_mapping()
    assert {key for key in content["state_dict"] if key.startswith("classifier")} == {
        "classifier_ori.weight",
        "classifier_head.weight",
    }


def test_the_best_epoch_is_chosen_on_validation_alone(
    settings: Settings, data: Data, tmp_path: Path
) -> None:
    """With a test set that nothing could be right on, the same checkpoint is chosen, with the same
    to_percent.
    """
    assert data.test is not None
    shuffled = np.random.default_rng(0).permutation(data.test.identities)
    other = replace(data, test=replace(data.test, identities=shuffled))
    Training(settings, data, tmp_path / "one").run()
    Training(settings, other, tmp_path / "two").run()
    one, two = ((tmp_path / name / "best.pth") for name in ("one", "two"))
    assert (
        torch.load(one, weights_only=True)["measured"]
        == torch.load(two, weights_only=True)["measured"]
    )
    for name, value in torch.load(one, weights_only=True)["state_dict"].items():
        assert torch.equal(torch.load(two, weights_only=True)["state_dict"][name], value)


@pytest.mark.parametrize("head", [Head.NONE, Head.HDM_ATM, Head.SDTPS])
def test_every_head_trains(head: Head, changed: Changed, data: Data, tmp_path: Path) -> None:
    network = {"head": head, "channels": 64}
    settings = changed(network=network, schedule={"epochs": 1}, augmentation={"drop_modality": 0.5})
    Training(settings, data, tmp_path).run()
    (row,) = read_rows(tmp_path / "epochs.csv")
    assert math.isfinite(float(row["loss"]))
    assert (row.get("accuracy_head") is None) == (head is Head.NONE)


def test_a_delayed_head_does_not_move_until_it_is_due(
    changed: Changed, data: Data, tmp_path: Path
) -> None:
    settings = changed(
        schedule={"sdtps_delay_epochs": 2, "epochs": 3}, logging={"evaluate_every": 0}
    )
    training = Training(settings, data, tmp_path)
    start = {
        name: value.clone()
        for name, value in training.network.state_dict().items()
        if name.startswith("sdtps")
    }
    for _ in range(6):
        training.take_step()
    held = training.network.state_dict()
    assert all(torch.equal(held[name], value) for name, value in start.items())
    training.take_step()
    assert not all(torch.equal(held[name], value) for name, value in start.items())
    again = Training(settings, data, tmp_path / "whole")
    again.run()
    epochs = read_rows(tmp_path / "whole" / "epochs.csv")
    assert [bool(row["loss_head"]) for row in epochs] == [False, False, True]


def test_a_frozen_backbone_stays(changed: Changed, data: Data, tmp_path: Path) -> None:
    torch.manual_seed(5)
    donor = changed(network={}).network
    torch.save(get_published_state(ReIdNetwork(donor)), tmp_path / "start.pth")
    settings = replace(
        changed(optimizer={}, schedule={"epochs": 1}), pretrained=str(tmp_path / "start.pth")
    )
    settings = replace(settings, optimizer=replace(settings.optimizer, frozen=True))
    trained = Training(settings, data, tmp_path / "run").run()
    start = load_checkpoint(
        tmp_path / "start.pth", torch.load(tmp_path / "run" / "best.pth")["config"]
    ).state_dict()
    moved = {
        name.split(".")[0]
        for name, value in trained.state_dict().items()
        if not torch.equal(value, start[name])
    }
    assert "backbone" not in moved
    assert {"sdtps", "rgb_reduce"} <= moved


@pytest.mark.parametrize("backbone", list(Backbone))
def test_frozen_blocks_and_what_is_below_them_stay(settings: Settings, backbone: Backbone) -> None:
    config = replace(settings.network, backbone=backbone, depth=3, width=64, channels=64)
    network = ReIdNetwork(config)
    freeze_blocks(network, 2)
    moving = [name for name, weight in network.named_parameters() if weight.requires_grad]
    of_backbone = [name for name in moving if name.startswith("backbone.base.")]
    assert all(re.search(r"blocks\.2\.|\.norm\.|ln_post|\.proj$", name) for name in of_backbone)
    assert any("blocks.2." in name for name in of_backbone)
    assert any(name.startswith("sdtps.") for name in moving)


def test_absent_images_go_through_the_backbone_once_and_give_the_same(settings: Settings) -> None:
    torch.manual_seed(0)
    network = ReIdNetwork(replace(settings.network, cameras=0)).train()
    images = torch.randn(4, 3, 3, *settings.network.image_size)
    present, unknown = torch.ones(4, 3, dtype=torch.bool), torch.full((4,), -1)
    present[:, 1] = False
    present[2, 2] = False
    seen: list[int] = []
    network.backbone.register_forward_hook(lambda _, given, out: seen.append(len(given[0])))
    found = network.features(images, unknown, present)
    network.eval()
    expected = network.features(images, unknown, present)
    assert seen == [8, 12]
    assert torch.allclose(found.both, expected.both, atol=1e-5)
    network.train().features(images, unknown, present).both.sum().backward()
    weight = next(network.backbone.parameters())
    once, weight.grad = weight.grad, None
    network.eval().features(images, unknown, present).both.sum().backward()
    assert once is not None
    assert weight.grad is not None
    assert torch.allclose(once, weight.grad, rtol=1e-3, atol=1e-4)


def test_start_weights_of_a_bare_backbone_fill_it(settings: Settings, tmp_path: Path) -> None:
    torch.manual_seed(5)
    base = ReIdNetwork(settings.network).backbone.base.state_dict()
    torch.save(base, tmp_path / "backbone.pth")
    network = initialize_network(replace(settings, pretrained=str(tmp_path / "backbone.pth")))
    for name, value in network.backbone.base.state_dict().items():
        assert torch.equal(value, base[name]), name


def test_start_weights_says_which_of_several_are_meant(settings: Settings, tmp_path: Path) -> None:
    base = ReIdNetwork(settings.network).backbone.base.state_dict()
    path = tmp_path / "both.pth"
    torch.save({"model": {name: value * 0 for name, value in base.items()}, "ema": base}, path)
    with pytest.raises(CheckpointError, match="pretrained_weights: NAME"):
        initialize_network(replace(settings, pretrained=str(path)))
    network = initialize_network(replace(settings, pretrained=str(path), pretrained_weights="ema"))
    assert all(
        torch.equal(value, base[name]) for name, value in network.backbone.base.state_dict().items()
    )
    with pytest.raises(
        ConfigError, match="pretrained_weights: names a set of weights of pretrained"
    ):
        replace(settings, pretrained=None, pretrained_weights="ema")


def test_pretraining_on_smaller_images_brings_all_but_the_head(
    changed: Changed, data: Data, tmp_path: Path
) -> None:
    """The two stages of the embedded defaults: positions are resized, the classifier of the
    same identities comes along.
    """
    small = {"image_size": (32, 16), "head": Head.NONE}
    halves = replace(
        data, train=replace(data.train, images=data.train.images[:, :, ::2, ::2].copy())
    )
    halves = replace(
        halves,
        validation=replace(data.validation, images=data.validation.images[:, :, ::2, ::2].copy()),
        test=None,
    )
    settings = changed(network=small, schedule={"epochs": 1}, logging={"diagnose_every": 0})
    donor = Training(settings, halves, tmp_path / "half")
    donor.run()
    whole = replace(changed(schedule={"epochs": 1}), pretrained=str(tmp_path / "half" / "last.pth"))
    started = Training(whole, data, tmp_path / "whole")
    own, given = started.network.state_dict(), donor.network.state_dict()
    assert own["backbone.base.positional_embedding"].shape[0] == 1 + 8
    for name in given.keys() - {"backbone.base.positional_embedding"}:
        assert torch.equal(own[name], given[name]), name
    classifier = donor.loss_heads.get_parameter("ori.classifier.weight")
    assert torch.equal(started.loss_heads.get_parameter("ori.classifier.weight"), classifier)
    other = replace(whole, data=replace(whole.data, world=1))
    new = Training(other, data, tmp_path / "other").loss_heads.get_parameter(
        "ori.classifier.weight"
    )
    assert not torch.equal(new, classifier)
    wide = replace(whole, network=replace(whole.network, channels=64))
    with pytest.raises(
        CheckpointError,
        match=r"last\.pth: backbone\.base\.proj has the shape \[64, 64\] in the network, and",
    ):
        initialize_network(wide)


@pytest.mark.parametrize("precision", [Precision.BFLOAT16, Precision.FLOAT16, Precision.EMULATED])
def test_lower_precisions_train(
    precision: Precision, changed: Changed, data: Data, tmp_path: Path
) -> None:
    settings = changed(
        runtime={"precision": precision}, schedule={"epochs": 1}, logging={"diagnose_every": 0}
    )
    Training(settings, data, tmp_path).run()
    rows = read_rows(tmp_path / "log.csv")
    assert all(math.isfinite(float(row["loss"])) for row in rows)
    assert ("scale" in rows[0]) == (precision is not Precision.BFLOAT16)


def test_a_step_is_a_pure_function_of_seed_and_step(settings: Settings, data: Data) -> None:
    one, two = Batches(data.train, settings), Batches(data.train, settings)
    one.make(0), one.make(1)
    for a, b in zip(one.make(7), two.make(7), strict=True):
        assert torch.equal(a, b)
    alike = replace(data.train, images=np.repeat(data.train.images[:1], len(data.train), axis=0))
    augmented = Batches(alike, settings)
    assert not torch.equal(augmented.make(7).images, augmented.make(8).images)


def test_measuring_gradients_changes_nothing(
    settings: Settings, changed: Changed, data: Data, tmp_path: Path
) -> None:
    with_gumbel = {"sdtps": {"gumbel": Gumbel.ON}}
    measured = Training(changed(**with_gumbel), data, tmp_path / "measured").run()
    plain = Training(
        changed(**with_gumbel, logging={"diagnose_every": 0}), data, tmp_path / "plain"
    ).run()
    for (name, one), two in zip(
        measured.state_dict().items(), plain.state_dict().values(), strict=True
    ):
        assert torch.equal(one, two), name
    states = [
        torch.load(tmp_path / run / "last.pth", weights_only=True)["state_dict"]
        for run in ("measured", "plain")
    ]
    for name, value in states[0].items():  # the necks' running statistics among them
        assert torch.equal(value, states[1][name]), name


def test_a_folder_of_another_run_is_refused(changed: Changed, data: Data, tmp_path: Path) -> None:
    settings = changed(schedule={"epochs": 1})
    Training(settings, data, tmp_path).run()
    other = changed(schedule={"epochs": 1}, optimizer={"lr": 1.0})
    with pytest.raises(ConfigError, match=r"another run: optimizer\.lr was 0\.001, and is 1\.0"):
        Training(other, data, tmp_path)


def test_a_save_without_a_setting_that_came_later_is_of_the_same_run(
    settings: Settings, data: Data, tmp_path: Path
) -> None:
    Training(settings, data, tmp_path).run()
    path = tmp_path / "resume.pt"
    state = torch.load(path, weights_only=True)
    del state["run"]["network.registers"], state["run"]["augmentation.light"]
    torch.save(state, path)
    assert Training(settings, data, tmp_path).step == state["step"]
    lit = replace(settings, augmentation=replace(settings.augmentation, light=0.5))
    with pytest.raises(ConfigError, match=r"augmentation\.light was 0\.0, and is 0\.5"):
        Training(lit, data, tmp_path)


def test_a_gradient_that_is_not_finite_stops_the_run(
    changed: Changed, data: Data, tmp_path: Path
) -> None:
    training = Training(changed(logging={"diagnose_every": 0}), data, tmp_path)
    training.network.get_parameter("rgb_reduce.1.weight").register_hook(
        lambda gradient: gradient * torch.inf
    )
    with pytest.raises(TrireidError, match="stopped at step 0: the gradient is not finite"):
        training.run()
    assert (tmp_path / "stopped.pt").exists()


@pytest.mark.parametrize("error", ["nan", "high"])
def test_divergence_stops_with_its_batch_saved(
    error: str, changed: Changed, data: Data, tmp_path: Path
) -> None:
    settings = changed(
        logging={"loss_limit": 1000.0 if error == "nan" else 0.5, "diagnose_every": 0}
    )
    training = Training(settings, data, tmp_path)
    if error == "nan":
        training.step = 2
        with torch.no_grad():
            training.network.get_parameter("rgb_reduce.1.weight").fill_(torch.nan)
    with pytest.raises(
        TrireidError, match=f"stopped at step {training.step}: the loss is"
    ) as raised:
        training.run()
    assert raised.value.code == "diverged"
    assert "\n" not in raised.value.message
    saved = torch.load(tmp_path / "stopped.pt", weights_only=True)
    assert saved["step"] == training.step
    assert torch.equal(saved["images"], training.batches.make(training.step).images)


def test_a_full_disk_is_said_before_the_first_step(
    settings: Settings, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("trireid.training.files.shutil.disk_usage", lambda path: usage(1, 1, 1000))
    with pytest.raises(
        TrireidError, match="0 MB are free, and the run's checkpoints need"
    ) as raised:
        Training(settings, data, tmp_path)
    assert raised.value.code == "no_space"


def test_a_disk_that_fills_up_leaves_the_last_save_whole(
    settings: Settings, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(settings, data, tmp_path)
    training.step = 1
    training._save()
    before = (tmp_path / "resume.pt").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    training.step = 2
    with pytest.raises(TrireidError, match=r"resume\.pt: could not be written: .*No space left"):
        training._save()
    assert (tmp_path / "resume.pt").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if "resume" in path.name] == ["resume.pt"]


def test_held_out_identities_are_in_one_set_only() -> None:
    train, validation = split_validation(make_image_set(9), 3, "source")
    names = [set(part.identities.tolist()) for part in (train, validation)]
    assert [len(part) for part in names] == [6, 3]
    assert not names[0] & names[1]
    assert (
        split_validation(make_image_set(9), 3, "source")[1].identities.tolist()
        == validation.identities.tolist()
    )


def test_a_source_of_one_identity_is_refused() -> None:
    with pytest.raises(SourceError, match="has 1 identity, of which 3 are for validation"):
        split_validation(make_image_set(1), 3, "one.csv")


def test_a_source_too_small_for_a_batch_is_refused() -> None:
    few = make_image_set(4, each=3)
    with pytest.raises(
        SourceError, match=r"identity p0 has 3 samples, fewer than batch\.samples = 4 \(4 such\)"
    ):
        check_batch(few, BatchSettings(identities=2, samples=4), 2, "few.csv")
    with pytest.raises(SourceError, match="4 identities are left to train on, and a batch takes 8"):
        check_batch(few, BatchSettings(identities=8, samples=2), 8, "few.csv")


def test_a_synthetic_source_trains_on_other_identities_than_it_tests(
    settings: Settings, tmp_path: Path
) -> None:
    source = DataSettings(
        source="synthetic:person:4",
        validation_identities=2,
        test="synthetic:person:4",
        shots=1,
        cache=str(tmp_path),
    )
    network = settings.network.__class__(image_size=(64, 32), cameras=6)
    data = Data.load(source, network, BatchSettings(identities=2), 2)
    assert data.test is not None
    assert not {p.tobytes() for p in data.test.images} & {
        p.tobytes() for p in [*data.train.images, *data.validation.images]
    }
    again = Data.load(source, network, BatchSettings(identities=2), 2)
    assert np.array_equal(again.train.images, data.train.images)
    assert len(list(tmp_path.glob("*.npz"))) == 2
    varied = Data.load(
        replace(source, test=None, varied=("pose",)), network, BatchSettings(identities=2), 2
    )
    assert not np.array_equal(varied.train.images, data.train.images)
    assert len(list(tmp_path.glob("*.npz"))) == 3


def test_a_network_without_cameras_is_validated_across_them_all_the_same(
    settings: Settings, tmp_path: Path
) -> None:
    source = DataSettings(
        source="synthetic:person:4", validation_identities=2, shots=1, cache=str(tmp_path)
    )
    without, told = (replace(settings.network, cameras=cameras) for cameras in (0, 6))
    for network in (without, told):  # the second reads what the first cached
        data = Data.load(source, network, BatchSettings(identities=2), 2)
        assert len(set(data.validation.cameras.tolist())) >= 4
        assert min(data.train.cameras) >= 0
    assert len(list(tmp_path.glob("*.npz"))) == 1


def test_a_camera_the_network_does_not_know_is_refused(settings: Settings) -> None:
    source = DataSettings(source="synthetic:person:4", validation_identities=2, shots=1)
    few = replace(settings.network, cameras=2)
    with pytest.raises(
        ConfigError, match=r"network\.cameras: 2, but synthetic:person:4 has a camera"
    ):
        Data.load(source, few, BatchSettings(identities=2), 2)


def test_validation_leaves_the_mode_and_tells_patterns_apart(settings: Settings) -> None:
    network = initialize_network(settings).train()
    scores = validate(network, make_image_set(3, seed=1), (1, 2, 3))
    assert network.training
    assert set(scores) == {1, 2, 3}
    with torch.no_grad():
        for parameter in network.sdtps.parameters():
            parameter.mul_(-3)
    later = validate(network, make_image_set(3, seed=1), (1, 2, 3))
    assert later[1].mAP == scores[1].mAP


def test_a_process_is_not_charged_with_the_memory_of_the_one_that_started_it() -> None:
    own = (
        "from trireid.training.memory import peak_megabytes; held = bytearray(30 << 20); "
        "print(peak_megabytes())"
    )
    parent = (
        "import subprocess, sys; held = bytearray(600 << 20); "
        f"subprocess.run([sys.executable, '-c', {own!r}], check=True)"
    )
    alone, below = (
        int(subprocess.check_output([sys.executable, "-c", code])) for code in (own, parent)
    )
    assert alone > 20
    assert below == pytest.approx(alone, abs=50)
