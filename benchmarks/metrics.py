"""How long scoring takes, and how much memory, at the size of a large test set.

    python -m benchmarks.metrics [--queries 5000 --gallery 20000 --dimension 1536]

Prints seconds, the process's peak memory, and the time of the bare matrix product in the same run,
which no scoring can beat.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from trireid.evaluation import evaluate
from trireid.training.memory import peak_megabytes


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.metrics", description="how long scoring takes"
    )
    parser.add_argument("--queries", type=int, default=5000)
    parser.add_argument("--gallery", type=int, default=20_000)
    parser.add_argument("--dimension", type=int, default=1536)
    given = parser.parse_args()
    draw = np.random.default_rng(0)
    sizes = (given.queries, given.gallery)
    ids = [draw.integers(0, 1000, size) for size in sizes]
    cameras = [draw.integers(0, 6, size) for size in sizes]
    centres = draw.standard_normal((1000, given.dimension), dtype=np.float32)
    features = [
        centres[i] + 3 * draw.standard_normal((len(i), given.dimension), dtype=np.float32)
        for i in ids
    ]
    start = time.perf_counter()
    for block in range(0, given.queries, 500):
        features[0][block : block + 500] @ features[1].T
    bare = time.perf_counter() - start
    start = time.perf_counter()
    scores = evaluate(features[0], features[1], ids[0], ids[1], cameras[0], cameras[1])
    taken = time.perf_counter() - start
    peak = peak_megabytes() / 1024
    print(
        f"{sizes[0]} queries x {sizes[1]} gallery items, {given.dimension} numbers each:"
        f" mAP {100 * scores.mAP:.1f} %"
    )
    print(
        f"scored in {taken:.1f} s ({taken / bare:.1f} times the bare matrix product),"
        f" peak memory {peak:.2f} GiB"
    )


if __name__ == "__main__":
    main()
