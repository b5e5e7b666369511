"""What tests of the gallery share: a second network."""

from __future__ import annotations

import pytest

from export import Embedder, load_artifact
from tests.conftest import export_tiny


@pytest.fixture(scope="session")
def successor(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    """Another network, of another dimension, that selects no patches."""
    path = tmp_path_factory.mktemp("successor") / "next.onnx"
    return load_artifact(export_tiny(path, seed=7, channels=96, head="none"))
