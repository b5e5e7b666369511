"""A card: its JSON stays as it was, and one that cannot be is an error that names the key."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, get_args

import pytest

from trireid.inference import Card, Embedder
from trireid.inference.card import FitMode, Resize
from trireid.samples import ArtifactError
from trireid.samples.fitting import FITS, RESIZES


def test_selected_patches_are_kept_on_disk(embedder: Embedder) -> None:
    card = embedder.card
    values = json.loads(card.to_json())
    assert (values["kept"], "selected_patches" in values) == (4, False)
    assert json.loads(card.identity())["kept"] == 4
    values["selected_patches"] = values.pop("kept")
    assert Card.from_json(json.dumps(values), "here") == card
    assert card.kept == card.selected_patches


def test_a_license_is_in_the_card_and_not_in_the_fingerprint(embedder: Embedder) -> None:
    card = replace(embedder.card, license="MIT, of Ann")
    assert Card.from_json(card.to_json(), "here").license == "MIT, of Ann"
    assert card.identity() == embedder.card.identity()
    assert "license" not in json.loads(embedder.card.to_json())


def test_a_card_allows_the_ways_of_fitting() -> None:
    assert (get_args(Resize), get_args(FitMode)) == (tuple(RESIZES), FITS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "its card has version 2, this trireid reads 1; export it again"),
        ({"version": 2, "colour": 1}, "its card has version 2"),
        ({"colour": 1}, "colour: is not a known key"),
        ({"grid": [4]}, "grid.1: is missing"),
        ({"dimension": "192"}, "dimension: expected a valid integer, not '192'"),
        ({"fit": "crop"}, "fit: expected 'stretch' or 'letterbox', not 'crop'"),
        ({"mean": [0.5, 0.5, None]}, "mean.2"),
        ({"segments": [{"modality": "rgb"}]}, "segments.0.branch: is missing"),
    ],
)
def test_a_card_that_cannot_be_names_the_key(
    embedder: Embedder, change: dict[str, Any], words: str
) -> None:
    text = json.dumps(json.loads(embedder.card.to_json()) | change)
    with pytest.raises(ArtifactError) as caught:
        Card.from_json(text, "net.onnx")
    assert words in caught.value.message
    assert caught.value.message.startswith("net.onnx: its card ")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("text", ["{", "[]", "5", '"a"', "[" * 100_000, "NaN"])
def test_text_that_is_not_a_card_is_refused(text: str) -> None:
    with pytest.raises(ArtifactError, match=r"^net\.onnx: its card cannot be read: "):
        Card.from_json(text, "net.onnx")
