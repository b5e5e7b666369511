"""The defaults' three stages: each begins with what the one before has learned, and a killed run
goes on in the right one.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from trireid.demo import train_tiny as recipe
from trireid.demo.train_tiny import Default, train
from trireid.models import get_published_state, load_checkpoint
from trireid.models.files import read_weights
from trireid.training.initialization import initialize_network
from trireid.training.loop import Training

STEPS = 2
SMALL = Default(
    kind="person",
    threads=1,
    identities=16,
    validation_identities=2,
    half_steps=STEPS,
    steps=STEPS,
    segment_steps=STEPS,
)


@pytest.fixture(scope="module", autouse=True)
def small_stages() -> Iterator[None]:
    """Stages of two steps, on images of a sixteenth of the size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "SIZES", {"person": (64, 32)})
        patch.setattr(recipe, "_EPOCH", STEPS)
        yield


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory, small_stages: None) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    train(SMALL, folder)
    return folder


def read_states(folder: Path) -> dict[str, dict[str, Tensor]]:
    """Read the weights of each stage, in order."""
    return {
        stage: read_weights(folder / stage / "last.pth") for stage in ("half", "whole", "segments")
    }


def distance(state: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """How far two stages' weights lie apart, of those that both have in one shape."""
    both = [key for key in state if key in other and state[key].shape == other[key].shape]
    weights = [key for key in both if "running" not in key and "num_batches" not in key]
    return float(
        torch.stack([(state[key] - other[key]).square().sum() for key in weights]).sum().sqrt()
    )


def test_a_stage_begins_with_what_the_one_before_has_learned(
    whole_run: Path, tmp_path: Path
) -> None:
    half, whole, segments = read_states(whole_run).values()
    new = get_published_state(
        initialize_network(SMALL.make_settings(SMALL.camera_network, STEPS, tmp_path))
    )
    # one seed: without the first stage it would begin as `new`
    assert 0 < distance(half, whole) < distance(new, whole)
    assert 0 < distance(whole, segments) < distance(half, segments)


def test_only_the_last_stage_and_what_is_shipped_know_no_cameras(whole_run: Path) -> None:
    assert ["BACKBONE.cv_embed" in state for state in read_states(whole_run).values()] == [
        True,
        True,
        False,
    ]
    best = whole_run / "segments" / "best.pth"
    assert load_checkpoint(best, best.with_suffix(".yml")).config == SMALL.network
    assert SMALL.network.cameras == 0


@pytest.mark.parametrize("killed_in", [1, 2, 3])
def test_a_killed_run_goes_on_in_the_stage_it_was_in(
    whole_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_in: int
) -> None:
    shutil.copytree(whole_run / "images", tmp_path / "images")
    step, taken, left = Training.take_step, 0, killed_in * STEPS - 1

    def count_step(self: Training) -> dict[str, float]:
        nonlocal taken
        if taken == left:
            raise KeyboardInterrupt
        taken += 1
        return step(self)

    monkeypatch.setattr(Training, "take_step", count_step)
    with pytest.raises(KeyboardInterrupt):
        train(SMALL, tmp_path)
    taken, left = 0, -1
    train(SMALL, tmp_path)
    # finished stages are passed over; of the one begun nothing had been saved
    assert taken == (4 - killed_in) * STEPS
    expected, found = read_states(whole_run), read_states(tmp_path)
    for stage in expected:
        assert all(torch.equal(expected[stage][key], found[stage][key]) for key in expected[stage])
