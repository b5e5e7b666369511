"""`trireid evaluate`: the scores of a network on a SOURCE."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from trireid.cli.command import command, make_app
from trireid.cli.options import NETWORK, Checkpoint, FolderPattern, OutsideImages, Runtime
from trireid.cli.output import Output

app = make_app()


@command(app)
def evaluate(
    source: Annotated[
        str,
        Argument(
            metavar="SOURCE",
            help="its queries against its gallery; if it has no such parts, all against all",
        ),
    ],
    model: Annotated[str, Option("--model", metavar="FILE", help=NETWORK)],
    checkpoint: Checkpoint,
    runtime: Runtime,
    out: Output,
    other_cameras: Annotated[
        bool, Option("--other-cameras", help="leave out all items of the query's own camera")
    ] = False,
    missing: Annotated[
        bool, Option("--missing", help="every subset of the modalities that are there")
    ] = False,
    rerank: Annotated[bool, Option("--rerank", help="with k-reciprocal re-ranking, too")] = False,
    plot: Annotated[
        str | None,
        Option("--plot", metavar="DIR", help="write the CMC curve and a rank list as PNG"),
    ] = None,
    csv: Annotated[
        str | None, Option("--csv", metavar="FILE", help="write the table as CSV, too")
    ] = None,
    pattern: FolderPattern = None,
    allow_outside: OutsideImages = False,
) -> int:
    """Score a network on a SOURCE by the field's protocol: mAP, CMC, mINP.

    Exits with 1 if an entry of the SOURCE is rejected.
    """
    from trireid.evaluation.protocol import Protocol
    from trireid.inference.evaluate_artifact import check_outputs, run_evaluation
    from trireid.inference.evaluation_report import as_json, draw, remarks, text_lines, write_csv
    from trireid.samples.sources import open_source

    runtime.apply()
    check_outputs(csv, plot)
    query, gallery = (
        open_source(source, part, allow_outside=allow_outside, pattern=pattern)
        for part in ("query", "gallery")
    )
    protocol = Protocol(by_scene=source.startswith("msvr310:"), other_cameras=other_cameras)
    evaluation = run_evaluation(
        checkpoint.load(model), (query, gallery), protocol, missing=missing, reranked=rerank
    )
    if csv:
        write_csv(evaluation, Path(csv))
    out.result(json.loads(as_json(evaluation)), *text_lines(evaluation, source))
    for remark in remarks(evaluation):
        out.note(remark)
    if plot:
        draw(Path(plot), evaluation)
    return 1 if evaluation.rejected else 0
