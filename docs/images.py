"""Make the README's image: hits of the embedded networks for queries of the demo galleries.

python -m docs.images
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


def shrink(sample: Sample, kind: Kind) -> NDArray[np.uint8]:
    """Fit a sample's images to half size, uint8 [3, H, W, 3]."""
    return to_batch([sample], HALF[kind]).images[0]


def make_image(kind: Kind) -> Image.Image:
    """Show three queries, each with its best hits from other cameras."""
    samples = list(synthetic_samples(kind, IDENTITIES))
    embeddings = load_artifact(default_artifact(kind)).embed(samples)
    rows = []
    for query in QUERIES:
        scores = embeddings @ embeddings[query]
        camera, identity = samples[query].camera, samples[query].identity
        others = [i for i in np.argsort(-scores) if samples[i].camera != camera]
        hits = []
        for i in others[:HITS]:
            caption = f"{scores[i]:.4f} camera {samples[i].camera}"
            is_right = samples[i].identity == identity
            hits.append(Ranked(shrink(samples[i], kind), is_right, caption))
        rows.append((shrink(samples[query], kind), f"query, camera {camera}", hits))
    return rank_list(rows)


if __name__ == "__main__":
    for name in KINDS:
        make_image(name).save(Path(__file__).with_name(f"{name}.png"), optimize=True)
