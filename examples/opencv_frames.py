"""Embed the frames of a video, and find where the view changes.

python examples/opencv_frames.py [VIDEO]
"""

import sys
from collections.abc import Iterator

import numpy as np

from trireid import Sample, load_artifact
from trireid.samples.sources import open_source


def read_frames(path: str) -> Iterator[np.ndarray]:
    try:
        import cv2
    except ModuleNotFoundError:
        sys.exit("reading a video needs OpenCV: pip install opencv-python-headless")
    video = cv2.VideoCapture(path)
    while (read := video.read())[0]:
        yield read[1]


def draw_frames() -> Iterator[np.ndarray]:
    """Frames without a video: blue, green, red, as OpenCV gives them."""
    for entry in open_source("synthetic:person:3"):
        yield np.asarray(entry.sample.rgb)[..., ::-1]


frames = read_frames(sys.argv[1]) if len(sys.argv) > 1 else draw_frames()
samples = [Sample.from_bgr(frame) for frame in frames]
embeddings = load_artifact("person").embed(samples)
similarities = (embeddings[1:] * embeddings[:-1]).sum(axis=1)
for number, similarity in enumerate(similarities, start=1):
    change = "  a change" if similarity < 0.5 else ""
    print(f"frame {number}: similarity to the frame before {similarity:.3f}{change}")
