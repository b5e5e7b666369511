"""The comparison's report: tables in Markdown and plots, from the files that the runs left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np

from research.arms import ARMS
from research.cost import read_costs
from research.plots import draw_curves, draw_gradients, draw_scores
from research.runs import Results, Run
from research.studies import Study, make_common_settings
from trireid.samples import TrireidError
from trireid.training.files import write_text
from trireid.training.settings import parse_settings

PATTERNS: Final = (1, 2, 3)
#: Which arms differ in one thing: the arm, and the one that it is compared with.
COMPARED: Final = (
    ("full", "none"),
    ("self", "none"),
    ("full, gumbel off", "gumbel off"),
    ("none", "gumbel off"),
    ("relaxed", "full"),
    ("sdtps delay", "full"),
    ("warm-up 10", "none"),
    ("faster backbone", "none"),
    ("batch 2 x 4", "none"),
    ("frozen", "none"),
    ("mask alone", "none"),
    ("mask, scores attached", "mask alone"),
    ("as published", "mask alone"),
    ("as published", "none"),
    ("failing run", "as published"),
    ("control", "full"),
)
_END: Final = "<!-- end of results -->\n"


def write_report(folder: Path, arms: Sequence[str], seeds: int, path: Path, study: Study) -> None:
    """Write the tables and plots of the runs in the folder and in the study's file of results; of
    an existing page, only the part between the study's two marks is replaced.

    The study's file of results is written, too. Raises TrireidError where no run is finished.
    """
    results = _collect_results(folder, arms, seeds, study)
    runs: dict[str, list[Run]] = {}
    for (arm, _), run in results.runs.items():
        runs.setdefault(arm, []).append(run)
    if not runs:
        raise TrireidError(
            f"{folder}: no run in it is finished, so there is nothing to report", str(folder)
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    images = _draw_images(runs, path, study)
    parts = [*_describe(runs, seeds, study), *_make_tables(runs, results.costs), *images]
    old = path.read_text() if path.exists() else "# The comparison of arms\n"
    mark = f"<!-- results{_suffix(study, ': ')} -->\n"
    write_text(path, _replace_results(old, mark, mark + "\n\n".join(parts) + "\n" + _END))
    if study.results:
        results.write(study.results)


def _collect_results(folder: Path, arms: Sequence[str], seeds: int, study: Study) -> Results:
    """The finished runs of a study, arm by arm: those in its file of results, else the folder's."""
    kept = Results.read(study.results)
    runs = [
        kept.runs.get((arm, seed)) or Run.read(folder, arm, seed)
        for arm, seed in product(arms, range(seeds))
    ]
    costs = {**read_costs(folder), **kept.costs}
    return Results({(run.arm, run.seed): run for run in runs if run}, costs)


def _suffix(study: Study, before: str) -> str:
    return before + study.name if study.name else ""


def _replace_results(old: str, mark: str, text: str) -> str:
    before, found, rest = old.partition(mark)
    return before + text + rest.partition(_END)[2] if found else old.rstrip() + "\n\n" + text


def _describe(runs: Mapping[str, Sequence[Run]], seeds: int, study: Study) -> Iterator[str]:
    finished = sum(len(of) for of in runs.values())
    settings = parse_settings(make_common_settings(study, Path()))
    data, optimizer, schedule = settings.data, settings.optimizer, settings.schedule
    yield (
        f"{finished} finished runs of {len(runs)} arms, {seeds} seeds each where finished (column "
        f"*runs*). Data: `{data.source}`, of which {data.validation_identities} identities for "
        f"validation, and `{data.test}`; {schedule.epochs} epochs of {schedule.steps_per_epoch} "
        f"steps; learning rate of the head {optimizer.lr:.3g}, of the backbone "
        f"{optimizer.backbone_lr:.3g}; {settings.runtime.precision}. "
        "Scores: mean ± standard deviation over seeds, in percent, on the test identities, of the "
        "checkpoint with the best validation mAP."
    )


def _make_tables(runs: Mapping[str, Sequence[Run]], costs: Mapping[str, float]) -> Iterator[str]:
    yield _make_scores_table(runs, costs)
    stopped = [
        f"- {run.arm}, seed {run.seed}: {run.stopped}"
        for of in runs.values()
        for run in of
        if run.stopped
    ]
    if stopped:
        yield "Runs that stopped themselves:\n\n" + "\n".join(stopped)
    differences = _make_difference_table(runs)
    if differences:
        yield differences
    yield _make_curve_table(runs)
    yield _make_gradient_table(runs)


def _make_scores_table(runs: Mapping[str, Sequence[Run]], costs: Mapping[str, float]) -> str:
    head = [
        "arm",
        "what",
        "runs",
        *(f"mAP / R1, pattern {p}" for p in PATTERNS),
        "CPU s a step",
        "peak MB",
    ]
    rows = [
        [
            arm,
            ARMS[arm].what,
            str(len(of)),
            *(
                f"{_format_spread(of, _test(f'mAP_{p}'))} / "
                f"{_format_spread(of, _test(f'rank1_{p}'))}"
                for p in PATTERNS
            ),
            f"{costs[arm]:.3f}" if arm in costs else "-",
            _format_spread(of, _result("peak_MB"), digits=0),
        ]
        for arm, of in runs.items()
    ]
    return _format_markdown(head, rows)


def _make_difference_table(runs: Mapping[str, Sequence[Run]]) -> str:
    """One arm less another, seed by seed: the same seed draws the same start and the same batches.

    Empty without a pair.
    """
    rows = []
    for arm, other in COMPARED:
        pairs = [
            (a, b)
            for a in runs.get(arm, ())
            for b in runs.get(other, ())
            if a.seed == b.seed and a.result and b.result
        ]
        if pairs:
            rows.append(
                [
                    f"{arm} - {other}",
                    str(len(pairs)),
                    *(_differences(pairs, _test(f"mAP_{p}")) for p in PATTERNS),
                ]
            )
    head = ["what less what", "pairs", *(f"mAP, pattern {p}" for p in PATTERNS)]
    note = "Difference in mAP between runs of the same seed: mean ± deviation, and each seed's."
    return f"{note}\n\n{_format_markdown(head, rows)}" if rows else ""


def _differences(pairs: Sequence[tuple[Run, Run]], figure: Callable[[Run], float | None]) -> str:
    values = [(figure(a) or 0) - (figure(b) or 0) for a, b in pairs]
    deviation = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):+.1f}{deviation} ({' '.join(f'{value:+.1f}' for value in values)})"


def _make_curve_table(runs: Mapping[str, Sequence[Run]]) -> str:
    epochs = (1, 4, 10)
    head = [
        "arm",
        *(f"loss / accuracy, epoch {e}" for e in epochs),
        "last",
        "best epoch",
        "mAP 2 / 3 of the last",
    ]
    head += ["skipped", "final scale", "zeros"]
    rows = [
        [
            arm,
            *(
                f"{_format_spread(of, _epoch('loss', e))} / "
                f"{_format_spread(of, _epoch('accuracy_head', e, 100), 0)}"
                for e in (*epochs, 0)
            ),
            _format_spread(of, _result("best_epoch"), 0),
            f"{_format_spread(of, _test('mAP_2', 'test_last'))} / "
            f"{_format_spread(of, _test('mAP_3', 'test_last'))}",
            _format_spread(of, _result("skipped"), 0),
            " ".join(
                f"{run.result['final_scale']:g}"
                for run in of
                if run.result and run.result["final_scale"]
            )
            or "-",
            _format_spread(of, _epoch("zero_gradients", 0, 100), 2),
        ]
        for arm, of in runs.items()
    ]
    note = (
        "Training loss and accuracy of the head's classifier (%), means of an epoch; the epoch "
        "that validation chose; mAP on "
        "the test identities of the last epoch's network, patterns 2 and 3; steps that the "
        "gradient scaler skipped, the scale "
        "it ended at, and the share of the network's gradient numbers that were exactly 0 in the "
        "last epoch (%)."
    )
    return f"{note}\n\n{_format_markdown(head, rows)}"


def _make_gradient_table(runs: Mapping[str, Sequence[Run]]) -> str:
    columns = (
        "branch_ori",
        "branch_head",
        *(f"path_{p}" for p in ("tokens", "predictor", "own", "cross", "extra", "mask")),
    )
    shares = [
        f"{of}_share_{name}" for of in ("mask", "update") for name in ("backbone", "predictor")
    ]
    head = ["arm", *(c.split("_", 1)[1] for c in columns)]
    head += [
        f"mask's share of the {of}: {name}"
        for of in ("gradient", "update")
        for name in ("backbone", "predictor")
    ]
    rows = [
        [
            arm,
            *(_format_typical(of, column) for column in columns),
            *(_format_typical(of, column, mean=True) for column in shares),
        ]
        for arm, of in runs.items()
    ]
    note = (
        "Norm of the gradient at the backbone's parameters, geometric mean over seeds and "
        "measured epochs: of the two "
        "branches' losses, then through each path of the head. *mask's share*: projected on the "
        "whole, arithmetic mean; "
        "*of the update*: of Adam's step for the gradient measured, each number divided by the "
        "root of its running mean "
        "square. `-`: nothing flows there."
    )
    return f"{note}\n\n{_format_markdown(head, rows)}"


def _test(name: str, of: str = "test") -> Callable[[Run], float | None]:
    """A figure of the test source;

    `of` test_last: of the last epoch's network, not the best one's.
    """
    return lambda run: run.result[of][name] if run.result else None


def _result(name: str) -> Callable[[Run], float | None]:
    """A figure of the run as a whole."""
    return lambda run: run.result[name] if run.result else None


def _epoch(name: str, epoch: int, factor: float = 1) -> Callable[[Run], float | None]:
    """A figure of an epoch (0: the last); None where it was not reached or not measured."""

    def figure(run: Run) -> float | None:
        cells = [row.get(name, "") for row in run.epochs if int(row["epoch"]) == epoch or not epoch]
        return factor * float(cells[-1]) if cells and cells[-1] else None

    return figure


def _format_spread(
    runs: Sequence[Run], figure: Callable[[Run], float | None], digits: int = 1
) -> str:
    values = [float(value) for run in runs if (value := figure(run)) is not None]
    if not values:
        return "-"
    deviation = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{deviation}"


def _format_typical(runs: Sequence[Run], column: str, *, mean: bool = False) -> str:
    cells = [float(cell) for run in runs for row in run.gradients if (cell := row.get(column, ""))]
    if not cells or not any(cells):
        return "-"
    return f"{np.mean(cells) if mean else np.exp(np.mean(np.log([c for c in cells if c > 0]))):.2g}"


def _draw_images(runs: Mapping[str, Sequence[Run]], report: Path, study: Study) -> list[str]:
    stem = report.with_name(report.stem + _suffix(study, "-"))
    scores = {
        arm: {p: _collect_values(of, _test(f"mAP_{p}")) for p in PATTERNS}
        for arm, of in runs.items()
    }
    draw_scores(scores, Path(f"{stem}-scores.png"))
    curves = {
        arm: {name: _average_epochs(of, name) for name in ("loss", "accuracy_head", "mAP_3")}
        for arm, of in runs.items()
    }
    draw_curves(curves, Path(f"{stem}-curves.png"))
    paths = {
        arm: {p: _average_gradient(of, f"path_{p}") for p in ("tokens", "predictor", "mask")}
        for arm, of in runs.items()
    }
    flowing = {
        arm: of for arm, of in paths.items() if any(any(curve.values()) for curve in of.values())
    }
    draw_gradients(flowing, Path(f"{stem}-gradients.png"))
    captions = {
        "scores": "mAP on the test identities, a dot per seed",
        "curves": "Loss, accuracy of the head's classifier, and mAP of pattern 3 on the validation "
        "identities, per epoch",
        "gradients": "Gradient at the backbone through the tokens, the score predictor and the "
        "mask, per epoch",
    }
    return [
        f"![{caption}]({stem.name}-{name}.png)\n\n*{caption}*" for name, caption in captions.items()
    ]


def _collect_values(runs: Sequence[Run], figure: Callable[[Run], float | None]) -> list[float]:
    return [value for run in runs if (value := figure(run)) is not None]


def _average_epochs(runs: Sequence[Run], column: str) -> dict[int, float]:
    return _average_by_epoch(
        [(int(row["epoch"]), row.get(column, "")) for run in runs for row in run.epochs]
    )


def _average_gradient(runs: Sequence[Run], column: str) -> dict[int, float]:
    return _average_by_epoch(
        [(int(row["epoch"]), row.get(column, "")) for run in runs for row in run.gradients]
    )


def _average_by_epoch(cells: Sequence[tuple[int, str]]) -> dict[int, float]:
    """Mean over seeds of each epoch that has to_percent."""
    held: dict[int, list[float]] = {}
    for epoch, cell in cells:
        if cell:
            held.setdefault(epoch, []).append(float(cell))
    return {epoch: float(np.mean(values)) for epoch, values in sorted(held.items())}


def _format_markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
