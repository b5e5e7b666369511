"""The small embedded networks beat what needs no training, on identities never trained on, by the
margins promised.
"""

from __future__ import annotations

import pytest

from tests.demo.conftest import World
from trireid.demo.train_tiny import Default
from trireid.evaluation import evaluate
from trireid.inference import load_artifact
from trireid.inference.embedded import default_artifact
from trireid.inference.retrieval import ALL, SUBSETS
from trireid.samples import KINDS, Kind


@pytest.mark.slow
def test_it_beats_the_baselines_on_unseen_identities(world: World) -> None:
    embedder = load_artifact(default_artifact(f"{world.kind}-tiny"))
    embeddings = embedder.embed(world.samples)
    ids = [sample.identity for sample in world.samples]
    cameras = [sample.camera for sample in world.samples]
    network = 100 * evaluate(embeddings, embeddings, ids, ids, cameras, cameras).mAP
    assert network >= world.baselines["pixels"] + 30
    assert network >= world.baselines["histogram"] + 15
    written = embedder.card.measured["test"]
    assert network >= written["untrained network"]["mAP"] + 25
    assert network == pytest.approx(written["network"]["mAP"], abs=0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_its_card_says_how_it_was_made(kind: Kind) -> None:
    card = load_artifact(default_artifact(f"{kind}-tiny")).card
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
    assert default_artifact(f"{kind}-tiny").stat().st_size <= 16e6
