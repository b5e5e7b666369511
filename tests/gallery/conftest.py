"""What tests of the gallery share: a second network, and what the first one is given."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.conftest import export_tiny, make_once
from trireid.inference import Embedder, load_artifact


@pytest.fixture(scope="session")
def successor(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    """Another network, of another dimension, that selects no patches."""
    export = partial(export_tiny, seed=7, channels=96, head="none")
    return load_artifact(make_once(tmp_path_factory, "successor.onnx", export))


@pytest.fixture
def embedded(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of every batch that the network is given."""
    sizes: list[int] = []
    run = embedder.run

    def counted(images: Any, camera: Any, present: Any) -> Any:
        sizes.append(len(images))
        return run(images, camera, present)

    monkeypatch.setattr(embedder, "run", counted)
    return sizes
