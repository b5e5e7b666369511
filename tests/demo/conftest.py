"""Images of the synthetic world that several tests share: drawing them takes seconds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from trireid.demo.baselines import describe_by_histogram, describe_by_pixels
from trireid.demo.synthetic.source import synthetic_samples
from trireid.evaluation import evaluate
from trireid.samples import KINDS, Kind, Sample
from trireid.training.image_set import ImageSet


class World(NamedTuple):
    """The samples of 100 test identities, seen by four cameras, twice; and the mAP in percent of
    each baseline on the first shot of each camera.
    """

    kind: Kind
    samples: list[Sample]
    baselines: dict[str, float]


@pytest.fixture(scope="session", params=KINDS)
def world(request: pytest.FixtureRequest) -> World:
    """Each kind's test identities."""
    kind: Kind = request.param
    samples = list(synthetic_samples(kind, 100, shots=2))
    first = samples[::2]
    height, width = np.shape(first[0].rgb)[:2]  # type: ignore[arg-type]
    data = ImageSet.decode(first, (height, width))
    baselines = {}
    for name, describe in (("pixels", describe_by_pixels), ("histogram", describe_by_histogram)):
        features = describe(data.images)
        assert features.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
        ids, cameras = data.identities, data.cameras
        baselines[name] = 100 * evaluate(features, features, ids, ids, cameras, cameras).mAP
    return World(kind, samples, baselines)
