"""Training: the losses, the sampler, one geometry for three modalities, and a run that resumes exactly."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import ReIdNetwork
from tests.goldens.make import CONFIG
from training.augment import Augmentation
from training.loop import Recipe, Training
from training.losses import batch_hard_triplet, identity_loss
from training.pictures import PictureSet
from training.sampler import IdentitySampler


def drawn_set(identities: int = 6, each: int = 4) -> PictureSet:
    draw = np.random.default_rng(0)
    colours = draw.integers(40, 216, (identities, 3, 1, 1, 3))
    noise = draw.integers(-40, 40, (identities, each, 3, 64, 32, 3))
    images = (colours[:, None] + noise).clip(0, 255).astype(np.uint8).reshape(-1, 3, 64, 32, 3)
    names = np.repeat([f"p{i}" for i in range(identities)], each)
    return PictureSet(images, names, np.tile(np.arange(each, dtype=np.int64), identities))


def test_the_triplet_loss_takes_the_hardest_pair() -> None:
    """On a line: anchors at 0 and 3 of one identity, 4 and 6 of the other. Hardest positive minus negative, soft margin."""
    features = torch.tensor([[0.0], [3.0], [4.0], [6.0]])
    expected = np.mean([math.log1p(math.exp(p - n)) for p, n in ((3, 4), (3, 1), (2, 1), (2, 3))])
    assert float(batch_hard_triplet(features, torch.tensor([0, 0, 1, 1]))) == pytest.approx(expected, rel=1e-5)


def test_the_identity_loss_smooths_by_a_tenth() -> None:
    logits = torch.tensor([[2.0, 0.0, 0.0, 0.0]])
    log_p = torch.log_softmax(logits, dim=1)[0]
    expected = -(0.925 * log_p[0] + 0.025 * log_p[1:].sum())
    assert float(identity_loss(logits, torch.tensor([0]))) == pytest.approx(float(expected))


@settings(max_examples=30, deadline=None)
@given(people=st.integers(4, 9), each=st.integers(1, 6), p=st.integers(1, 4), k=st.integers(1, 5), step=st.integers(0, 50))
def test_a_batch_is_p_identities_of_k_samples(people: int, each: int, p: int, k: int, step: int) -> None:
    labels = np.repeat(np.arange(people), each)
    sampler = IdentitySampler(labels, p, k, seed=3)
    batch = sampler.batch(step)
    assert np.array_equal(batch, IdentitySampler(labels, p, k, seed=3).batch(step))
    drawn, counts = np.unique(labels[batch], return_counts=True)
    assert len(drawn) == p
    assert (counts == k).all()
    if each >= k:
        assert len(set(batch.tolist())) == p * k


def test_too_few_identities_are_said() -> None:
    with pytest.raises(ValueError, match="takes 4 identities, the data have 2"):
        IdentitySampler(np.array([0, 0, 1]), 4, 2, seed=0)


def test_augmentation_treats_the_three_modalities_alike() -> None:
    one = np.random.default_rng(1).integers(0, 256, (64, 32, 3), dtype=np.uint8)
    changed = Augmentation(erase=1).pictures(np.stack([np.stack([one] * 3)] * 8), np.random.default_rng(2))
    assert (changed[:, 0] == changed[:, 1]).all()
    assert (changed[:, 0] == changed[:, 2]).all()
    assert len({picture.tobytes() for picture in changed[:, 0]}) == 8


def test_a_flip_is_a_mirror() -> None:
    one = np.random.default_rng(1).integers(0, 256, (1, 3, 64, 32, 3), dtype=np.uint8)
    mirrored = Augmentation(flip=1, erase=0, pad=0).pictures(one, np.random.default_rng(2))
    assert np.array_equal(mirrored, one[:, :, :, ::-1])


def test_some_modality_is_always_shown() -> None:
    present = Augmentation(drop_modality=1).presence(500, np.random.default_rng(0))
    assert set(present.sum(axis=1).tolist()) == {1, 2}


def test_training_learns_and_resumes_to_the_same_weights(tmp_path: Path) -> None:
    recipe = Recipe(steps=12, identities=4, samples=2, warmup=2, save_every=5, augmentation=Augmentation(pad=2))
    data = drawn_set()
    straight = Training(CONFIG, data, recipe, tmp_path / "straight").run()

    broken = Training(CONFIG, data, recipe, tmp_path / "broken")
    broken.folder.mkdir()
    while broken.step < 7:  # killed two steps after its last save
        broken._log(broken._step())
        if broken.step == 5:
            broken._save()
    resumed = Training(CONFIG, data, recipe, tmp_path / "broken").run()
    for (name, one), two in zip(straight.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, two), name

    torch.manual_seed(recipe.seed)
    start = ReIdNetwork(CONFIG).state_dict()
    moved = [name for name, value in straight.state_dict().items() if not torch.equal(value, start[name])]
    assert any(name.startswith("sdtps.rgb_sparse.score_predictor") for name in moved)
    rows = (tmp_path / "straight" / "log.csv").read_text().splitlines()
    assert rows[0] == "step,loss,accuracy_ori,accuracy_sdtps"
    assert len(rows) == 13
    assert (tmp_path / "broken" / "log.csv").read_text().splitlines() == rows


def test_a_folder_of_another_recipe_is_refused(tmp_path: Path) -> None:
    recipe = Recipe(steps=1, identities=4, samples=2, save_every=1)
    Training(CONFIG, drawn_set(), recipe, tmp_path).run()
    with pytest.raises(ValueError, match="another recipe"):
        Training(CONFIG, drawn_set(), replace(recipe, rate=1.0), tmp_path).run()
