"""The embedded default networks beat what needs no training, on identities never trained on, by the
margins promised.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trireid.demo.baselines import describe_by_histogram, describe_by_pixels
from trireid.demo.synthetic.source import synthetic_samples
from trireid.demo.train_defaults import Default
from trireid.evaluation import evaluate
from trireid.inference import load_artifact
from trireid.inference.embedded import default_artifact
from trireid.inference.retrieval import ALL, SUBSETS
from trireid.samples import KINDS, Kind, Sample, to_batch


@pytest.fixture(scope="module", params=KINDS)
def test_set(request: pytest.FixtureRequest) -> tuple[Kind, list[Sample]]:
    """100 test identities, seen by four cameras, twice."""
    kind: Kind = request.param
    return kind, list(synthetic_samples(kind, 100, shots=2))


def mean_average_precision(
    samples: list[Sample], describe: Callable[[list[Sample]], NDArray[np.float32]]
) -> float:
    features = np.concatenate(
        [describe(samples[start : start + 32]) for start in range(0, len(samples), 32)]
    )
    ids, cameras = [sample.identity for sample in samples], [sample.camera for sample in samples]
    return 100 * evaluate(features, features, ids, ids, cameras, cameras).mAP


def test_it_beats_raw_pixels_and_histogram_on_unseen_identities(
    test_set: tuple[Kind, list[Sample]],
) -> None:
    kind, samples = test_set
    embedder = load_artifact(default_artifact(kind))

    def pixels(part: list[Sample]) -> Any:
        return to_batch(part, embedder.card.image_size).images

    network = mean_average_precision(samples, embedder.embed)
    raw = mean_average_precision(samples, lambda part: describe_by_pixels(pixels(part)))
    histogram = mean_average_precision(samples, lambda part: describe_by_histogram(pixels(part)))
    assert raw < 35
    assert histogram < 55
    assert network >= raw + 30
    assert network >= histogram + 15
    written = embedder.card.measured["test"]
    assert network >= written["untrained network"]["mAP"] + 25
    assert network == pytest.approx(written["network"]["mAP"], abs=0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_its_card_says_how_it_was_made(kind: Kind) -> None:
    card = load_artifact(default_artifact(kind)).card
    assert (card.name, card.kind) == (f"trireid-default-{kind}", kind)
    assert card.image_size == {"person": (256, 128), "vehicle": (128, 256)}[kind]
    assert (card.selected_patches, card.dimension, card.cameras) == (64, 768, 0)
    default = Default(kind=kind)
    steps = (
        f"--half-steps {default.half_steps} --steps {default.steps} "
        f"--segment-steps {default.segment_steps}"
    )
    command = f"--kind {kind} {steps} --seed {default.seed}"
    assert command in card.measured["training"]["command"]
    subsets = {
        "+".join(shown): "network" if shown == ALL else f"network, {'+'.join(shown)}"
        for shown in SUBSETS
    }
    assert len(subsets) == 7
    scores = {part: card.measured["test"][name]["mAP"] for part, name in subsets.items()}
    assert scores["rgb+nir+tir"] == max(scores.values())
    assert min(scores.values()) > 23
    assert default_artifact(kind).stat().st_size <= 16e6
