"""How long one tri-modal query takes to embed, and how fast this machine multiplies matrices, in
one run.

    python -m benchmarks.latency [ARTIFACT ...]

Prints the median, 10th and 90th percentile in milliseconds per artifact (the embedded defaults
where none is named): decoding and resizing apart from the forward pass in ONNX Runtime; and the
rate of a 2048-cube float32 matrix product, so that figures from different machines can be
compared.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from trireid.inference import Embedder, load_artifact
from trireid.inference.embedded import DEFAULTS, default_artifact
from trireid.inference.embedder import Embeddings
from trireid.samples import Sample, to_batch

SIDE = 2048


def measure_milliseconds(
    work: Callable[[], object], runs: int
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Percentiles 10, 50, 90 of `runs` runs, after two that do not count."""
    taken = []
    for _ in range(runs + 2):
        start = time.perf_counter()
        work()
        taken.append(1e3 * (time.perf_counter() - start))
    return np.percentile(taken[2:], [10, 50, 90])


def run_in_turns(
    embedders: Mapping[str, Embedder], runs: int, batch: int = 1
) -> tuple[dict[str, float], dict[str, Embeddings]]:
    """Measure the median forward pass of each in milliseconds, and return its output, too; five
    rounds alternate, so that a drifting machine treats all alike.
    """
    height, width = next(iter(embedders.values())).card.image_size
    images = np.random.default_rng(0).integers(0, 256, (batch, 3, height, width, 3), dtype=np.uint8)
    inputs = images, np.full(batch, -1), np.ones((batch, 3), np.bool_)
    medians: dict[str, list[float]] = {name: [] for name in embedders}
    for _ in range(5):
        for name, embedder in embedders.items():
            _, median, _ = measure_milliseconds(partial(embedder.run, *inputs), max(1, runs // 5))
            medians[name].append(float(median))
    times = {name: float(np.median(values)) for name, values in medians.items()}
    return times, {name: embedder.run(*inputs)[0] for name, embedder in embedders.items()}


def measure_sgemm() -> float:
    """GFLOP/s of a float32 product of two 2048 x 2048 matrices, the best of five."""
    left, right = (
        np.random.default_rng(i).random((SIDE, SIDE), dtype=np.float32) for i in range(2)
    )
    return float(2 * SIDE**3 / measure_milliseconds(lambda: left @ right, 5)[0] / 1e6)


def make_query(embedder: Embedder) -> Sample:
    """A triplet of JPEG files, as a camera would send, twice the network's size."""
    height, width = embedder.card.image_size
    draw = np.random.default_rng(0)
    images = []
    for _ in range(3):
        coarse = Image.fromarray(draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)).resize(
            (2 * width, 2 * height)
        )
        out = io.BytesIO()
        coarse.save(out, "JPEG")
        images.append(out.getvalue())
    return Sample(rgb=images[0], nir=images[1], tir=images[2])


def report(path: Path, runs: int) -> None:
    """Measure one artifact and print a line per part."""
    embedder = load_artifact(path)
    sample, camera = make_query(embedder), np.array([-1])
    batch = to_batch([sample], embedder.card.image_size)
    parts: dict[str, Callable[[], object]] = {
        "decode": lambda: to_batch([sample], embedder.card.image_size),
        "forward": lambda: embedder.run(batch.images, camera, batch.present),
        "whole": lambda: embedder.embed([sample]),
    }
    for name, work in parts.items():
        low, median, high = measure_milliseconds(work, runs)
        print(f"{path.name}: {name:<8} {median:6.1f} ms (p10 {low:.1f}, p90 {high:.1f})")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.latency", description="how long one tri-modal query takes"
    )
    parser.add_argument(
        "artifacts", nargs="*", type=Path, default=[default_artifact(name) for name in DEFAULTS]
    )
    parser.add_argument("--runs", type=int, default=100)
    given = parser.parse_args()
    print(f"sgemm {SIDE}: {measure_sgemm():.0f} GFLOP/s")
    for path in given.artifacts:
        report(path, given.runs)


if __name__ == "__main__":
    main()
