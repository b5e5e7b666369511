"""The command line: a table of contents over the rooms. `trireid COMMAND --help` says more.

Exit codes: 0 done, 1 done in part or failed on the way, 2 what was given cannot be used (one line on stderr says why).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from export.installation import conflicts
from samples import KINDS, MODALITIES, Sample, TrireidError

if TYPE_CHECKING:
    from export import OnnxEmbedder
    from gallery import Hit


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    given = _parser().parse_args(arguments)
    try:
        for conflict in conflicts():
            print(f"trireid: warning: {conflict}", file=sys.stderr)
        code: int = given.run(given)
        return code
    except TrireidError as error:
        return _fail(error.message)
    except ModuleNotFoundError as error:
        return _fail(f"{error.name} is not installed; it comes with one of trireid's extras: cpu or gpu, torch")
    except KeyboardInterrupt:
        return _fail("stopped", 130)
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        sys.stderr.close()
        return 1
    except OSError as error:
        return _fail(f"{error.filename or 'the system'}: {error.strerror}", 1)


def _export_onnx(given: argparse.Namespace) -> int:
    from export import export_onnx
    from models import load_checkpoint

    network = load_checkpoint(given.checkpoint, given.config)
    card = export_onnx(network, given.output, precision=given.precision, batch=given.batch, kind=given.kind)
    print(
        f"{given.output}: {card.dimension} numbers per sample, {card.image_size[0]} x {card.image_size[1]} pixels, "
        f"differs from the checkpoint by {card.measured['onnx_max_difference']:.1g} at most; "
        f"fingerprint {card.fingerprint[:12]}"
    )
    return 0


def _index(given: argparse.Namespace) -> int:
    from gallery import Gallery, index
    from samples.sources import open_source

    source = open_source(given.source)
    with Gallery.open(given.gallery, _embedder_for(given)) as gallery:
        report = index(source, gallery, resume=given.resume)
        replaced = f" ({report.replaced} of them replaced)" if report.replaced else ""
        faults = len(report.faults)
        print(
            f"{given.gallery}: {report.added} added{replaced}, {report.known} known, {faults} set aside; holds {len(gallery)}"
        )
    for place, fault in report.faults[:10]:
        print(f"set aside: {place}: {fault}", file=sys.stderr)
    if report.path is not None:
        print(f"all that was set aside is listed in {report.path}", file=sys.stderr)
    return 1 if report.faults else 0


def _embedder_for(given: argparse.Namespace) -> OnnxEmbedder | None:
    """The network to fill a gallery with: `--model`, what the gallery records, or the embedded default of the kind."""
    from assets import default_artifact
    from export import load_artifact
    from gallery import is_gallery

    if given.model:
        return load_artifact(given.model)
    if is_gallery(given.gallery) and given.kind is None:
        return None
    return load_artifact(default_artifact(given.kind or "person"))


def _search(given: argparse.Namespace) -> int:
    from export import load_artifact
    from gallery import Gallery

    where = _where(given.where)
    sample = Sample(rgb=given.rgb, nir=given.nir, tir=given.tir, camera=given.camera)
    embedder = load_artifact(given.model) if given.model else None
    with Gallery.open(given.gallery, embedder, create=False) as gallery:
        hits = gallery.search(sample, given.k, where, other_cameras=given.other_cameras)
    print(json.dumps({"hits": [asdict(hit) for hit in hits]}) if given.json else _table(hits))
    return 0


def _where(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        where = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TrireidError("--where: not JSON that can be read", "where") from error
    if not isinstance(where, dict):
        raise TrireidError('--where: must be an object, as in {"camera": [1, 2]}', "where")
    return where


def _table(hits: Sequence[Hit]) -> str:
    if not hits:
        return "no hits"
    lines = [f"{'rank':>4}  {'score':>6}  {'identity':<12}  {'camera':>6}  id"]
    for hit in hits:
        camera = "-" if hit.camera is None else hit.camera
        lines.append(f"{hit.rank:>4}  {hit.score:>6.3f}  {hit.identity or '-':<12}  {camera:>6}  {hit.id}")
    return "\n".join(lines)


def _evaluate(given: argparse.Namespace) -> int:
    from evaluation import table
    from export import evaluation_report as report
    from export import load_artifact
    from export.retrieval import ALL, SUBSETS, embed_source, retrieval
    from samples.sources import open_source

    embedder = load_artifact(given.model)
    query, gallery = open_source(given.source, "query"), open_source(given.source, "gallery")
    subsets = SUBSETS if given.missing else (ALL,)
    asked = embed_source(embedder, query, subsets)
    held = asked if query.name == gallery.name else embed_source(embedder, gallery, subsets)
    by_scene = given.source.startswith("msvr310:")
    rows = retrieval(asked, held, embedder.card, by_scene=by_scene, reranked=given.rerank)
    lines, about = report.lines(rows), report.about(query, gallery, (asked, held), embedder.card)
    if given.plot:
        report.draw(Path(given.plot), rows, (query, gallery), (asked, held), embedder.card)
    if given.csv:
        Path(given.csv).write_text(table.as_csv(lines), encoding="utf-8")
    if given.json:
        print(table.as_json(lines, about))
    else:
        counts = f"{about['queries']} queries, {about['gallery_items']} gallery items"
        print(f"{about['model']} on {given.source}: {counts}, in percent\n{table.as_text(lines)}")
    for place, fault in {**dict(asked.faults), **dict(held.faults)}.items():
        print(f"set aside: {place}: {fault}", file=sys.stderr)
    return 0


def _train(given: argparse.Namespace) -> int:
    from training.command import train_command

    return train_command(given.config, given.folder)


def _diagnose(given: argparse.Namespace) -> int:
    from training.command import diagnose_command

    return diagnose_command(given.target, as_json=given.json)


def _experiment(given: argparse.Namespace) -> int:
    from training.command import experiment_command

    return experiment_command(given)


def _serve(given: argparse.Namespace) -> int:
    from serving.launch import serve

    return serve([Path(folder) for folder in given.galleries], given.host, given.port)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="trireid", description="Multi-modal re-identification: export, index, search, serve.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    export = commands.add_parser("export", help="export a checkpoint").add_subparsers(required=True, metavar="FORMAT")
    onnx = export.add_parser("onnx", help="to ONNX; verified against the checkpoint, or not left behind")
    onnx.set_defaults(run=_export_onnx)
    onnx.add_argument("checkpoint", metavar="CHECKPOINT")
    onnx.add_argument("--config", required=True, metavar="YML", help="the training configuration")
    onnx.add_argument("-o", "--output", required=True, metavar="FILE.onnx")
    onnx.add_argument("--precision", choices=("fp32",), default="fp32")
    onnx.add_argument("--batch", type=_positive, metavar="N", help="a fixed batch size (default: any)")
    onnx.add_argument("--kind", choices=KINDS, help="what it is for (default: by the picture's shape)")

    index = commands.add_parser("index", help="embed a SOURCE and add it to a gallery")
    index.set_defaults(run=_index)
    index.add_argument("source", metavar="SOURCE", help="manifest.csv or synthetic:KIND:IDENTITIES")
    index.add_argument("--gallery", required=True, metavar="DIR", help="made where absent")
    index.add_argument("--model", metavar="FILE", help="an ONNX artifact (default: the gallery's own, or the embedded one)")
    index.add_argument("--kind", choices=KINDS, help="whose embedded network to take (default: person)")
    index.add_argument("--resume", action="store_true", help="pass over known ids without reading their pictures")

    search = commands.add_parser("search", help="query a gallery by image")
    search.set_defaults(run=_search)
    search.add_argument("--gallery", required=True, metavar="DIR")
    search.add_argument("--model", metavar="FILE", help="where the gallery's artifact is now, if it was moved")
    for modality in MODALITIES:
        search.add_argument(f"--{modality}", metavar="FILE", help=f"the {modality} picture")
    search.add_argument("-k", type=int, default=10, help="how many hits (1 to 1000, default 10)")
    search.add_argument("--camera", type=int, metavar="N", help="the query's own camera")
    search.add_argument("--other-cameras", action="store_true", help="leave out the query's own camera")
    search.add_argument("--where", metavar="JSON", help="a filter, as in '{\"camera\": [1, 2]}'")
    search.add_argument("--json", action="store_true", help="print the hits as JSON and nothing else")

    evaluate = commands.add_parser("evaluate", help="score a network on a SOURCE by the field's protocol")
    evaluate.set_defaults(run=_evaluate)
    evaluate.add_argument("source", metavar="SOURCE", help="a data set's query and gallery; of other sources all against all")
    evaluate.add_argument("--model", required=True, metavar="FILE", help="an ONNX artifact")
    evaluate.add_argument("--missing", action="store_true", help="every subset of modalities")
    evaluate.add_argument("--rerank", action="store_true", help="with k-reciprocal re-ranking, too")
    evaluate.add_argument("--plot", metavar="DIR", help="write the CMC curve and a rank list as PNG")
    evaluate.add_argument("--json", action="store_true", help="print JSON instead of a table")
    evaluate.add_argument("--csv", metavar="FILE", help="write the table as CSV, too")

    train = commands.add_parser("train", help="fine-tune a network; a killed run goes on where its last save stands")
    train.set_defaults(run=_train)
    train.add_argument("config", metavar="CONFIG", help="the run's settings, YAML: docs/training.md")
    train.add_argument("--folder", metavar="DIR", help="where the run is kept (default: runs/NAME beside CONFIG)")

    diagnose = commands.add_parser("diagnose", help="one batch: where gradient flows, and which embedding evaluation reads")
    diagnose.set_defaults(run=_diagnose)
    diagnose.add_argument("target", metavar="CONFIG|CHECKPOINT", help="a run's settings, or a checkpoint that train wrote")
    diagnose.add_argument("--json", action="store_true", help="print JSON instead of a table")

    experiment = commands.add_parser("experiment", help="compare the ways to train SDTPS; goes on where it was left")
    experiment.set_defaults(run=_experiment)
    experiment.add_argument("--folder", required=True, metavar="DIR", help="where the runs are kept")
    experiment.add_argument("--arms", metavar="A;B", help="which, by name (default: all)")
    experiment.add_argument("--seeds", type=_positive, default=3, metavar="N", help="runs per arm (default 3)")
    experiment.add_argument("--epochs", type=_positive, metavar="N", help="per run")
    experiment.add_argument("--threads", type=_positive, metavar="N", help="of PyTorch, in each run (default 1)")
    experiment.add_argument("--report", metavar="FILE.md", help="write the report, and its pictures beside it")
    experiment.add_argument("--report-only", action="store_true", help="run nothing: report what is there")

    serve = commands.add_parser("serve", help="serve galleries over HTTP")
    serve.set_defaults(run=_serve)
    serve.add_argument("galleries", nargs="*", metavar="GALLERY", help="gallery folders (default: the demo galleries)")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=_port, default=3000)
    return parser


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def _port(text: str) -> int:
    number = _positive(text)
    if number > 65535:
        raise argparse.ArgumentTypeError(f"a port is at most 65535, not {number}")
    return number


def _fail(message: str, code: int = 2) -> int:
    print(f"trireid: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
