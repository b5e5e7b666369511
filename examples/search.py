"""Fill a gallery and search it by image.

python examples/search.py [SOURCE]
"""

import sys
import tempfile

from trireid import Gallery, SearchParams, load_artifact
from trireid.samples.sources import open_source

source = open_source(sys.argv[1] if len(sys.argv) > 1 else "synthetic:person:6")
samples = [entry.sample for entry in source if entry.sample is not None]
query, *others = samples
embedder = load_artifact("person")

with (
    tempfile.TemporaryDirectory() as folder,
    Gallery.open(f"{folder}/people.gallery", embedder) as gallery,
):
    gallery.add(others)
    print(f"query: identity {query.identity}, camera {query.camera}; gallery: {len(gallery)} items")
    for hit in gallery.search(query, SearchParams(k=5, other_cameras=query.camera is not None)):
        print(f"{hit.rank}. score {hit.score:.3f}  identity {hit.identity}  camera {hit.camera}")
