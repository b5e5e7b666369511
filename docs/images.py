"""Make the README's picture: what the embedded defaults answer to queries of the demo galleries.

python docs/pictures.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trireid.demo.synthetic.source import synthetic_samples
from trireid.evaluation.rank_list import Ranked, rank_list
from trireid.inference import load_artifact
from trireid.inference.embedded import default_artifact
from trireid.samples import KINDS, Kind, Sample, to_batch

IDENTITIES, QUERIES, HITS = 50, (5, 88, 221), 5
HALF = {"person": (128, 64), "vehicle": (64, 128)}


def shown(sample: Sample, kind: Kind) -> NDArray[np.uint8]:
    """A sample's pictures at half size."""
    return to_batch([sample], HALF[kind]).images[0]


def picture(kind: Kind) -> Image.Image:
    """Three queries and their five best hits among other cameras' pictures."""
    samples = list(synthetic_samples(kind, IDENTITIES))
    embeddings = load_artifact(default_artifact(kind)).embed(samples)
    rows = []
    for query in QUERIES:
        scores = embeddings @ embeddings[query]
        order = [i for i in np.argsort(-scores) if samples[i].camera != samples[query].camera][
            :HITS
        ]
        hits = [
            Ranked(
                shown(samples[i], kind),
                samples[i].identity == samples[query].identity,
                f"{scores[i]:.4f} camera {samples[i].camera}",
            )
            for i in order
        ]
        rows.append((shown(samples[query], kind), f"query, camera {samples[query].camera}", hits))
    return rank_list(rows)


if __name__ == "__main__":
    for name in KINDS:
        picture(name).save(Path(__file__).with_name(f"{name}.png"), optimize=True)
