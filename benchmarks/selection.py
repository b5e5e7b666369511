"""SDTPS exported two ways: with masks over all patches (what `models.sdtps` does), and with the kept patches gathered.

    python -m benchmarks.selection [--width 768 --depth 12 --channels 512]

Prints, per form, the graph's nodes, bytes beside the weights, and the median forward pass of ONNX Runtime at batch 1 and 8, the
two forms in turns within one run. Both are first shown to give the same embedding.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor

from benchmarks.latency import milliseconds
from export import export_onnx, load_artifact
from models import NetworkConfig, ReIdNetwork
from models.sdtps import NAMES, Sdtps, Selection, TokenAggregation, TokenSparse


class GatheredSdtps(Sdtps):
    """The same head with one sort of all patches, whose first K and last N - K are gathered."""

    def _modality(self, index: int, patches: Tensor, globals_: Tensor) -> Selection:
        sparse, aggregation = self.get_submodule(f"{NAMES[index]}_sparse"), self.get_submodule(f"{NAMES[index]}_aggr")
        assert isinstance(sparse, TokenSparse)
        assert isinstance(aggregation, TokenAggregation)
        first, second = (globals_[:, other] for other in range(3) if other != index)
        scores = sparse.scores(patches, globals_[:, index], (first, second))
        ranked = torch.topk(scores, patches.shape[1], dim=-1)
        kept, dropped = (
            gathered(patches, order) for order in (ranked.indices[:, : sparse.kept], ranked.indices[:, sparse.kept :])
        )
        weights = torch.softmax((aggregation.scale * aggregation.weight(kept)).transpose(1, 2), dim=-1)
        extra = torch.softmax(ranked.values[:, sparse.kept :], dim=-1).unsqueeze(1) @ dropped
        tokens = torch.cat([weights @ kept, extra], dim=1)
        return Selection(tokens.mean(dim=1), ranked.indices[:, : sparse.kept], scores)


def gathered(patches: Tensor, order: Tensor) -> Tensor:
    """Patches [B, N, C] in an order [B, K] -> [B, K, C]."""
    return patches.gather(1, order.unsqueeze(-1).expand(-1, -1, patches.shape[-1]))


def main() -> None:
    """Export, compare, time, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.selection", description="masks against a gather")
    for name, default in (("width", 128), ("depth", 4), ("channels", 128), ("runs", 60)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    torch.manual_seed(0)
    network = ReIdNetwork(NetworkConfig(width=given.width, depth=given.depth, channels=given.channels))
    other = ReIdNetwork(network.config)
    other.sdtps = GatheredSdtps(network.config)
    other.load_state_dict(network.state_dict())
    with tempfile.TemporaryDirectory() as folder:
        paths = {"masks": Path(folder) / "masks.onnx", "gather": Path(folder) / "gather.onnx"}
        for model, path in zip((network, other), paths.values(), strict=True):
            export_onnx(model, path)
        compare(paths, given.runs)


def compare(paths: dict[str, Path], runs: int) -> None:
    """Print size and speed of the artifacts; the rounds alternate, so that a drifting machine treats them alike."""
    embedders = {name: load_artifact(path) for name, path in paths.items()}
    for name, path in paths.items():
        model = onnx.load(path)
        weights = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
        print(f"{name:<7} {len(model.graph.node)} nodes, {(path.stat().st_size - weights) / 1e3:.0f} kB beside the weights")
    height, width = next(iter(embedders.values())).card.image_size
    for batch in (1, 8):
        images = np.random.default_rng(0).integers(0, 256, (batch, 3, height, width, 3), dtype=np.uint8)
        inputs = images, np.full(batch, -1), np.ones((batch, 3), np.bool_)
        results = [embedder.run(*inputs)[0] for embedder in embedders.values()]
        medians: dict[str, list[float]] = {name: [] for name in embedders}
        for _ in range(5):
            for name, embedder in embedders.items():
                _, median, _ = milliseconds(partial(embedder.run, *inputs), max(1, runs // 5))
                medians[name].append(float(median))
        masks, gather = (float(np.median(values)) for values in medians.values())
        difference = float(np.abs(results[0] - results[1]).max())
        times = f"masks {masks:.1f} ms, gather {gather:.1f} ms, ratio {gather / masks:.2f}"
        print(f"batch {batch}: {times}; differ by {difference:.1g}")


if __name__ == "__main__":
    main()
