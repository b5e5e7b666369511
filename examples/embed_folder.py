"""Embed every sample of a folder, a manifest or a data set, and save the embeddings.

python examples/embed_folder.py [SOURCE] [FILE.npz]
"""

import sys

import numpy as np

from trireid import load_artifact
from trireid.samples.sources import open_source

source = open_source(sys.argv[1] if len(sys.argv) > 1 else "synthetic:person:4")
embedder = load_artifact("person")

entries = [entry for entry in source if entry.sample is not None]  # the others hold an error
embeddings = embedder.embed([entry.sample for entry in entries])  # float32 [N, D], unit length
print(f"{source.name}: {len(entries)} samples of {len(source)}, embeddings {embeddings.shape}")

if len(sys.argv) > 2:
    np.savez(sys.argv[2], embeddings=embeddings, names=[entry.place for entry in entries])
    print(f"saved to {sys.argv[2]}")
