"""The CMC curve as an image file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from trireid.evaluation.metrics import RANKS, Scores


def plot_cmc(curves: Mapping[str, Scores], title: str, path: Path) -> None:
    """Draw a curve per name: the share of queries with a match among the first r hits, r = 1 to 50,
    in percent.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    ranks = np.arange(1, RANKS + 1)
    for name, scores in curves.items():
        axes.plot(
            ranks,
            100 * scores.cmc,
            label=f"{name}: mAP {100 * scores.mAP:.1f}, Rank-1 {100 * scores.rank1:.1f}",
            linewidth=2,
        )
    lowest = min(100 * scores.rank1 for scores in curves.values())
    axes.set(
        xlabel="rank",
        ylabel="queries with a match, %",
        title=title,
        xlim=(1, RANKS),
        ylim=(max(0, lowest - 5), 100.5),
    )
    axes.set_xticks([1, 5, 10, 20, 30, 40, 50])
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", frameon=False)
    figure.savefig(path)
