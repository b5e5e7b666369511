"""Group images without labels by identity: images are linked if their embeddings are alike.

python examples/cluster.py [SOURCE] [THRESHOLD]
"""

import sys

import numpy as np

from trireid import load_artifact
from trireid.samples.sources import open_source

source = open_source(sys.argv[1] if len(sys.argv) > 1 else "synthetic:person:5")
threshold = float(sys.argv[2]) if len(sys.argv) > 2 else 0.75
samples = [entry.sample for entry in source if entry.sample is not None]

embeddings = load_artifact("person").embed(samples)
linked = embeddings @ embeddings.T > threshold
clusters, before = np.arange(len(samples)), None
while not np.array_equal(clusters, before):  # each image takes the smallest number it is linked to
    before, clusters = clusters, np.where(linked, clusters, len(samples)).min(axis=1)

for number in np.unique(clusters):
    members = [samples[i] for i in np.flatnonzero(clusters == number)]
    names = [str(sample.identity or sample.id) for sample in members]
    print(f"cluster {number}: {len(members)} images, of {', '.join(sorted(set(names)))}")
