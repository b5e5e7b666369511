"""Name the persons that a detector found in a frame.

python examples/detector_boxes.py [FRAME LEFT,TOP,RIGHT,BOTTOM ...]
"""

import sys
import tempfile

import numpy as np
from PIL import Image

from trireid import Gallery, Sample, load_artifact
from trireid.samples.sources import open_source

drawn = [entry.sample for entry in open_source("synthetic:person:4") if entry.sample]
if len(sys.argv) > 2:
    frame = np.asarray(Image.open(sys.argv[1]).convert("RGB"))[..., ::-1]
    boxes = [tuple(map(float, text.split(","))) for text in sys.argv[2:]]
else:  # a frame of three persons, side by side
    crops = [np.asarray(each.rgb) for each in drawn[::8][:3]]
    height, width = crops[0].shape[:2]
    frame = np.hstack(crops)[..., ::-1]  # blue, green, red, as OpenCV has it
    boxes = [(n * width, 0, (n + 1) * width, height) for n in range(3)]

embedder = load_artifact("person")
with (
    tempfile.TemporaryDirectory() as folder,
    Gallery.open(f"{folder}/a.gallery", embedder) as gallery,
):
    gallery.add([sample for n, sample in enumerate(drawn) if n % 8])
    for box in boxes:
        (hit,) = gallery.search(Sample.from_bgr(frame, box), k=1)
        print(f"box {box}: identity {hit.identity}, score {hit.score:.3f}")
