"""The comparison's plots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from research.arms import ARMS

_PATTERN_NAMES = {1: "pattern 1 (global)", 2: "pattern 2 (head)", 3: "pattern 3 (both)"}
_CURVES = {
    "loss": "training loss",
    "accuracy_head": "head's accuracy, training",
    "mAP_3": "validation mAP, pattern 3, %",
}
_PATHS = {
    "tokens": "through the tokens",
    "predictor": "through the predictor",
    "mask": "through the mask",
}
Curve = Mapping[int, float]


def draw_scores(scores: Mapping[str, Mapping[int, Sequence[float]]], path: Path) -> None:
    """Draw a row per arm: for each pattern a dot per seed and a line over their range, in %."""
    with _open_figure(path, (8, 1.2 + 0.42 * len(scores))) as figure:
        axes = figure.add_subplot()
        for shift, (pattern, name) in zip((-0.22, 0, 0.22), _PATTERN_NAMES.items(), strict=True):
            rows = [
                (row + shift, values[pattern])
                for row, values in enumerate(scores.values())
                if values[pattern]
            ]
            dots = [(value, row) for row, values in rows for value in values]
            color = f"C{pattern - 1}"
            axes.hlines(
                [r for r, _ in rows],
                [min(v) for _, v in rows],
                [max(v) for _, v in rows],
                color,
                linewidth=1.5,
            )
            axes.scatter(
                [x for x, _ in dots], [y for _, y in dots], 18, color, label=name, zorder=3
            )
        axes.set(
            xlabel="mAP on the test identities, %",
            yticks=range(len(scores)),
            yticklabels=list(scores),
        )
        axes.invert_yaxis()
        axes.grid(axis="x", alpha=0.3)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)


def draw_curves(curves: Mapping[str, Mapping[str, Curve]], path: Path) -> None:
    """Draw three panels over the epochs, a line per arm."""
    with _open_figure(path, (13, 4.8)) as figure:
        panels = figure.subplots(1, len(_CURVES))
        for axes, (name, title) in zip(panels, _CURVES.items(), strict=True):
            for arm, curve in curves.items():
                line = curve[name]
                axes.plot(list(line), list(line.values()), label=arm, **_choose_style(arm))
            axes.set(xlabel="epoch", title=title)
            if name == "loss":
                axes.set_yscale("log")
                axes.yaxis.set_major_formatter("{x:g}")
                axes.yaxis.set_minor_formatter("{x:g}")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=7, frameon=False)


def draw_gradients(paths: Mapping[str, Mapping[str, Curve]], path: Path) -> None:
    """Draw three panels on a logarithmic scale, a line per arm."""
    with _open_figure(path, (13, 4.8)) as figure:
        panels = figure.subplots(1, len(_PATHS), sharey=True)
        for axes, (name, title) in zip(panels, _PATHS.items(), strict=True):
            for arm, curves in paths.items():
                line = {epoch: value for epoch, value in curves[name].items() if value > 0}
                axes.plot(list(line), list(line.values()), label=arm, **_choose_style(arm))
            axes.set(xlabel="epoch", title=title, yscale="log")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
        panels[0].set_ylabel("gradient norm at the backbone")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=7, frameon=False)


def _choose_style(arm: str) -> dict[str, Any]:
    """The same for an arm in every plot: ten colors, then the same again, dashed."""
    index = list(ARMS).index(arm)
    return {"color": f"C{index % 10}", "linestyle": "-" if index < 10 else "--", "linewidth": 1.5}


@contextmanager
def _open_figure(path: Path, inches: tuple[float, float]) -> Iterator[Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=inches, dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    yield figure
    figure.savefig(path)
