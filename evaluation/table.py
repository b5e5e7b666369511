"""Tables of scores, as text for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from trireid.evaluation.metrics import Scores

#: The columns of scores, in percent.
COLUMNS = ("mAP", "Rank-1", "Rank-5", "Rank-10", "mINP")
Line = tuple[Mapping[str, Any], Scores]


def percentages(scores: Scores) -> dict[str, float]:
    """The columns of one line, in percent."""
    ranks = {f"Rank-{rank}": float(scores.cmc[rank - 1]) for rank in (1, 5, 10)}
    values = {"mAP": scores.mAP, **ranks, "mINP": scores.mINP}
    return {name: round(100 * values[name], 2) for name in COLUMNS}


def as_text(lines: Sequence[Line]) -> str:
    """Aligned columns: labels to the left, percentages with one decimal to the right."""
    labels = list(lines[0][0])
    table = [[*labels, *COLUMNS]]
    table += [
        [*(str(label[name]) for name in labels), *(f"{v:.1f}" for v in percentages(s).values())]
        for label, s in lines
    ]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    texts = [
        "  ".join(
            cell.ljust(w) if i < len(labels) else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    ]
    return "\n".join(text.rstrip() for text in texts)


def as_json(lines: Sequence[Line], about: Mapping[str, Any]) -> str:
    """One object: what the run was about, and a list of rows."""
    return json.dumps(
        {**about, "rows": [{**label, **percentages(scores)} for label, scores in lines]}, indent=1
    )


def as_csv(lines: Sequence[Line]) -> str:
    """A header and a row per line."""
    out = io.StringIO()
    writer = csv.DictWriter(out, [*lines[0][0], *COLUMNS], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**label, **percentages(scores)} for label, scores in lines)
    return out.getvalue()
