"""Fill a gallery from a table, and get hits as a table.

python examples/pandas_table.py [TABLE.csv]   # columns: rgb (a file), identity, camera
"""

import sys
import tempfile

from trireid import Gallery, Sample, load_artifact
from trireid.samples.sources import open_source

try:
    import pandas as pd
except ModuleNotFoundError:
    sys.exit("this example needs pandas: pip install pandas")

if len(sys.argv) > 1:
    table = pd.read_csv(sys.argv[1])
else:
    drawn = [entry.sample for entry in open_source("synthetic:person:5") if entry.sample]
    table = pd.DataFrame(map(vars, drawn))[["rgb", "identity", "camera"]]
print(table[["identity", "camera"]].value_counts().unstack("camera"))

samples = [Sample(**row) for row in table.to_dict("records")]
embedder = load_artifact("person")
with (
    tempfile.TemporaryDirectory() as folder,
    Gallery.open(f"{folder}/a.gallery", embedder) as gallery,
):
    gallery.add(samples[1:])
    hits = pd.DataFrame(vars(hit) for hit in gallery.search(samples[0], k=5))
print(f"query: identity {samples[0].identity}")
print(hits[["rank", "identity", "camera", "score"]].to_string(index=False))
