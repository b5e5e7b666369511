"""Compare two images: the cosine similarity of their embeddings.

python examples/compare.py [IMAGE IMAGE]
"""

import sys

from trireid import Sample, load_artifact
from trireid.samples.sources import open_source

embedder = load_artifact("person")

if len(sys.argv) == 3:
    pairs = [(Sample(rgb=sys.argv[1]), Sample(rgb=sys.argv[2]))]
else:
    drawn = [entry.sample for entry in open_source("synthetic:person:2") if entry.sample]
    pairs = [(drawn[0], drawn[1]), (drawn[0], drawn[-1])]

for first, second in pairs:
    a, b = embedder.embed([first, second])
    about = f"identities {first.identity} and {second.identity}: " if first.identity else ""
    print(f"{about}similarity {a @ b:.3f}")
