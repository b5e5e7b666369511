"""SDTPS exported two ways: with masks over all patches (what `trireid.models.sdtps` does), and with
the selected patches gathered.

    python -m benchmarks.selection [--runs N]

and the masks once more in opset 18, without operators of their own for GELU and attention. Prints,
per network and form, the graph's nodes, bytes other than weights, and the median forward pass of
ONNX Runtime at batch 1 and 8, the forms in turns within one run; the second network's passes are a
quarter as many. All are shown to give the same embedding.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnx
import torch
from torch import Tensor

from benchmarks.latency import measure_sgemm, run_in_turns
from trireid.export import export_onnx
from trireid.export.tracing import OPSET
from trireid.inference import load_artifact
from trireid.models import NetworkConfig, ReIdNetwork
from trireid.models.sdtps import NAMES, Sdtps, Selection, TokenAggregation, TokenSparse

NETWORKS = {
    "4 blocks of 128": NetworkConfig(width=128, depth=4, channels=128),
    "12 blocks of 768": NetworkConfig(width=768, depth=12, channels=512),
}
OLD_OPSET = 18


class GatheredSdtps(Sdtps):
    """The same head with one sort of all patches, whose first K and last N - K are gathered."""

    def _select_modality(self, index: int, patches: Tensor, globals_: Tensor) -> Selection:
        sparse, aggregation = (
            self.get_submodule(f"{NAMES[index]}_sparse"),
            self.get_submodule(f"{NAMES[index]}_aggr"),
        )
        assert isinstance(sparse, TokenSparse)
        assert isinstance(aggregation, TokenAggregation)
        first, second = (globals_[:, other] for other in range(3) if other != index)
        scores = sparse.score(patches, globals_[:, index], (first, second))
        count = sparse.selected_patches
        ranked = torch.topk(scores, patches.shape[1], dim=-1)
        kept, dropped = (
            gather(patches, order)
            for order in (ranked.indices[:, :count], ranked.indices[:, count:])
        )
        weights = torch.softmax(
            (aggregation.scale * aggregation.weight(kept)).transpose(1, 2), dim=-1
        )
        extra = torch.softmax(ranked.values[:, count:], dim=-1).unsqueeze(1) @ dropped
        tokens = torch.cat([weights @ kept, extra], dim=1)
        return Selection(tokens.mean(dim=1), ranked.indices[:, :count], scores)


def gather(patches: Tensor, order: Tensor) -> Tensor:
    """Take patches [B, N, C] in an order [B, K] -> [B, K, C]."""
    return patches.gather(1, order.unsqueeze(-1).expand(-1, -1, patches.shape[-1]))


def main() -> None:
    """Export, compare, time, print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.selection", description="masks against a gather"
    )
    parser.add_argument("--runs", type=int, default=60)
    given = parser.parse_args()
    print(f"sgemm: {measure_sgemm():.0f} GFLOP/s\n")
    print("| network | form | nodes | kB without weights | batch 1 | batch 8 | differs by |")
    print("|---|---|---|---|---|---|---|")
    for name, config in NETWORKS.items():
        with tempfile.TemporaryDirectory() as folder:
            report(
                name,
                export_forms(config, Path(folder)),
                given.runs if config.depth == 4 else given.runs // 4,
            )


def export_forms(config: NetworkConfig, folder: Path) -> dict[str, Path]:
    """Export the same weights in each form."""
    torch.manual_seed(0)
    masks, gather = ReIdNetwork(config), ReIdNetwork(config)
    gather.sdtps = GatheredSdtps(config)
    gather.load_state_dict(masks.state_dict())
    paths = {
        name: folder / f"{name}.onnx" for name in ("masks", "gather", f"masks, opset {OLD_OPSET}")
    }
    for path, network, opset in zip(
        paths.values(), (masks, gather, masks), (OPSET, OPSET, OLD_OPSET), strict=True
    ):
        with patch("trireid.export.tracing.OPSET", opset):
            export_onnx(network, path)
    return paths


def report(network: str, paths: dict[str, Path], runs: int) -> None:
    """Print a line per form: ratios are to the masks."""
    embedders = {form: load_artifact(path, provider="cpu") for form, path in paths.items()}
    (one, embeddings), (eight, _) = (run_in_turns(embedders, runs, batch) for batch in (1, 8))
    for form, path in paths.items():
        model = onnx.load(path)
        rest = path.stat().st_size - sum(len(tensor.raw_data) for tensor in model.graph.initializer)
        times = " | ".join(
            f"{each[form]:.1f} ms ({each[form] / each['masks']:.2f})" for each in (one, eight)
        )
        difference = float(np.abs(embeddings[form] - embeddings["masks"]).max())
        print(
            f"| {network} | {form} | {len(model.graph.node)} | {rest / 1e3:.0f} | {times}"
            f" | {difference:.1g} |"
        )


if __name__ == "__main__":
    main()
