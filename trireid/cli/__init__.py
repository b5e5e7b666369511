"""The command line: a table of contents over the rooms. `trireid COMMAND --help` says more.

Exit codes: 0 done, 1 done in part or failed on the way, 2 what was given cannot be used (one line
on stderr says why).
"""

from __future__ import annotations

import argparse
import errno
import json
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TextIO

from trireid.inference.installation import find_conflicts, find_extra
from trireid.samples import KINDS, MODALITIES, Sample, ServiceError, TrireidError, VerificationError
from trireid.samples.printable import PrintableFormatter, printable

if TYPE_CHECKING:
    from trireid.gallery import IndexReport, SearchParams
    from trireid.inference import Embedder
    from trireid.samples.source import NotUsed, Source
    from trireid.serving.schemas import HitAnswer

#: What was given may not be used, whatever is tried again.
_DENIED: Final = (errno.EACCES, errno.EPERM, errno.EROFS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    given = _parser(arguments).parse_args(arguments)
    if logging.lastResort is not None:  # prints warnings of ours where no handler is set up
        logging.lastResort.setFormatter(PrintableFormatter())
    try:
        for conflict in find_conflicts():
            _print(f"trireid: warning: {conflict}", file=sys.stderr)
        _set_runtime(given)
        code: int = given.run(given)
        return code
    except VerificationError as error:
        return _fail(error.message, 1)
    except ServiceError as error:
        return _fail(error.message, 1 if error.temporary else 2)
    except TrireidError as error:
        return _fail(error.message)
    except ModuleNotFoundError as error:
        return _fail(
            f"{error.name} is not installed; run: pip install 'trireid[{find_extra(error.name)}]'"
        )
    except KeyboardInterrupt:
        return _fail("stopped", 130)
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        sys.stderr.close()
        return 1
    except OSError as error:
        return _fail_by_system(error)


def _fail_by_system(error: OSError) -> int:
    where = error.filename or "the system"
    if error.errno in _DENIED:
        return _fail(f"{where}: {error.strerror}; give rights to it, or name another")
    return _fail(f"{where}: {error.strerror}", 1)


def _export_onnx(given: argparse.Namespace) -> int:
    from trireid.export import export_onnx
    from trireid.models import load_checkpoint

    network = load_checkpoint(given.checkpoint, _config(given), weights=given.weights)
    card = export_onnx(
        network,
        given.output,
        precision=given.precision,
        batch=given.batch,
        kind=given.kind,
        data=_comparison_source(given),
    )
    found = card.measured["against_fp32"]
    _print(
        f"{given.output}: {card.precision}, {card.dimension} numbers per sample, {card.image_size[0]} x {card.image_size[1]}"
        f" pixels; against the checkpoint on {found['data']}: worst cosine {found['cosine_worst']:.6f}, largest difference"
        f" {found['max_difference']:.1g}{_retrieval_change(found)}; fingerprint {card.fingerprint[:12]}"
    )
    return 0


def _retrieval_change(found: dict[str, Any]) -> str:
    if "mAP" not in found:
        return ""
    mean, first = (100 * (found[name] - found[f"reference_{name}"]) for name in ("mAP", "rank1"))
    return f", mAP {mean:+.2f} and Rank-1 {first:+.2f} points"


def _verify(given: argparse.Namespace) -> int:
    from trireid.export.report import format_report
    from trireid.export.verification import compare
    from trireid.inference import load_artifact

    config = _config(given)
    files = (given.file, given.against)
    candidate, reference = (
        load_artifact(file, config=config, weights=given.weights) for file in files
    )
    report = compare(reference, candidate, _comparison_source(given))
    if given.json:
        _print_json(report.to_json(), indent=2)
    else:
        _print_lines(format_report(report))
    return 0 if report.holds else 1


def _comparison_source(given: argparse.Namespace) -> Source | None:
    """The SOURCE two networks are compared on, if one is given."""
    from trireid.samples.sources import open_source

    return open_source(given.data, allow_outside=given.allow_outside) if given.data else None


def _export_tensorrt(given: argparse.Namespace) -> int:
    from trireid.export.tensorrt import export_tensorrt
    from trireid.inference.tensorrt.library import TITLES
    from trireid.inference.tensorrt.plan import Profile

    plan = export_tensorrt(
        given.artifact,
        given.output,
        batch=given.batch and Profile(*given.batch),
        library=given.library,
        unverified=given.unverified,
        timing_cache=given.timing_cache,
    )
    where = plan.gpu or "any GPU that it supports"
    _print(
        f"{given.output}: {TITLES[plan.library]} {plan.version}, batch {plan.profile}, for {where}"
    )
    if plan.verified:
        worst = plan.measured["tensorrt_max_difference"]
        _print(
            f"verified: differs from the ONNX by {worst:.1g} at most; fingerprint {plan.card.fingerprint[:12]}"
        )
    else:
        _print(
            "NOT verified: no GPU here has run it; hold it against its ONNX where it will run, by `trireid verify`",
            file=sys.stderr,
        )
    return 0


def _index(given: argparse.Namespace) -> int:
    from trireid.gallery import Gallery, IndexReport, index_source
    from trireid.samples.sources import open_source

    source = open_source(given.source, allow_outside=given.allow_outside, pattern=given.pattern)
    if not len(source):
        report = IndexReport(not_used=list(source.not_used), notes=list(source.notes))
        _tell_index(given, report, None)
        return _fail(f"{given.source}: holds no image to index", 1)
    embedder = _embedder_for(given)
    with Gallery.open(
        given.gallery, embedder, memory=given.memory, recall=given.recall, thermal=given.thermal
    ) as gallery:
        report = index_source(source, gallery, resume=given.resume)
        report.not_used += _idle_options(given, source)
        _tell_index(given, report, len(gallery))
    return 1 if report.faults else 0


def _tell_index(given: argparse.Namespace, report: IndexReport, items: int | None) -> None:
    """Print what became of a source: the counts, or JSON and nothing else, to stdout, the rest to
    stderr.
    """
    if given.json:
        _print_json(
            {"gallery": given.gallery, "source": given.source, **report.to_json(), "items": items},
            indent=2,
        )
        return
    if items is not None:
        _print(f"{given.gallery}: {report}; holds {items}")
    for place, fault in report.faults[:10]:
        _print(f"rejected: {place}: {fault}", file=sys.stderr)
    if report.path is not None:
        _print(f"all that was rejected is listed in {report.path}", file=sys.stderr)
    for remark in report.remarks():
        _print(remark, file=sys.stderr)


def _idle_options(given: argparse.Namespace, source: Source) -> list[NotUsed]:
    """The options of `index` that had no effect."""
    from trireid.samples.source import NotUsed

    idle = {
        "--kind": (given.kind and given.model, "--model says which network it is"),
        "--resume": (
            given.resume and "id" not in (source.tells or ("id",)),
            "the source has no ids of its own",
        ),
    }
    return [NotUsed(f"option {name}", 1, why) for name, (is_idle, why) in idle.items() if is_idle]


def _load_model(given: argparse.Namespace, file: str | Path) -> Embedder:
    """Open a network with the options of a checkpoint, which no other file takes."""
    from trireid.inference import load_artifact
    from trireid.inference.artifact import is_checkpoint

    if (given.config or given.weights) and not is_checkpoint(Path(file)):
        option = "--config" if given.config else "--weights"
        raise TrireidError(
            f"{option} is for a checkpoint, and {file} is not one; leave it out", option
        )
    return load_artifact(file, config=_config(given), weights=given.weights)


def _recorded_model(given: argparse.Namespace) -> Path | None:
    """The checkpoint that a gallery was filled with, which needs its configuration to be opened
    again.
    """
    from trireid.gallery import artifact_of, is_gallery

    option = next(
        (f"--{name}" for name in ("config", "opts", "weights") if getattr(given, name)), None
    )
    if option is None:
        return None
    if not is_gallery(given.gallery):
        raise TrireidError(f"{option} is for a checkpoint: name it, too (--model FILE)", option)
    return artifact_of(given.gallery)


def _config(given: argparse.Namespace) -> Any:
    """The training configuration with `--opts` in place of its own values;

    None where there is none.
    """
    if not given.opts:
        return given.config
    if given.config is None:
        raise TrireidError(
            "--opts changes a training configuration: give it, too (--config YML)", "--opts"
        )
    from trireid.models import read_research_yaml

    return read_research_yaml(given.config, given.opts)


def _embedder_for(given: argparse.Namespace) -> Embedder | None:
    """The network to fill a gallery with:

    `--model`, what the gallery records, or the embedded default of the kind.
    """
    from trireid.gallery import is_gallery
    from trireid.inference import load_artifact
    from trireid.inference.embedded import default_artifact

    model = given.model or _recorded_model(given)
    if model:
        return _load_model(given, model)
    if is_gallery(given.gallery) and given.kind is None:
        return None
    return load_artifact(default_artifact(given.kind or "person"))


def _search(given: argparse.Namespace) -> int:
    from trireid.gallery.search_params import OPTIONS, SearchParams

    _check_where_to_search(given)
    options = {name: value for name in OPTIONS if (value := getattr(given, name)) is not None}
    try:
        params = SearchParams(**options)
    except TrireidError as error:
        name = str(error.field)
        message = error.message.removeprefix(name)
        raise TrireidError(_flag(name) + message, error.field) from error
    sample = Sample(rgb=given.rgb, nir=given.nir, tir=given.tir, camera=given.camera)
    search = _search_server if given.url else _search_folder
    hits = search(given, sample, params)
    if given.json:
        _print_json({"hits": [vars(hit) for hit in hits]})
        return 0
    for line in _table(hits):
        _print(line)
    return 0


def _search_folder(
    given: argparse.Namespace, sample: Sample, params: SearchParams
) -> list[HitAnswer]:
    from trireid.gallery import Gallery
    from trireid.serving.schemas import HitAnswer

    model = given.model or _recorded_model(given)
    embedder = _load_model(given, model) if model else None
    with Gallery.open(given.gallery, embedder, create=False) as gallery:
        return [HitAnswer.from_hit(gallery.name, hit) for hit in gallery.search(sample, params)]


def _search_server(
    given: argparse.Namespace, sample: Sample, params: SearchParams
) -> list[HitAnswer]:
    from trireid.serving.client import TOKEN, Client

    with Client(given.url, given.token or os.environ.get(TOKEN) or None) as client:
        return client.search(sample, given.gallery, params).hits


def _search_options(parser: argparse.ArgumentParser) -> None:
    """Add an option for each field of `SearchParams`; its values are checked there."""
    from trireid.gallery.search_params import SearchParams
    from trireid.samples.validation import describe_rule

    for name, field in SearchParams.model_fields.items():
        flag, about = _flag(name), str(field.description).rstrip(".").replace("%", "%%")
        about = about[0].lower() + about[1:]
        if field.annotation is bool:
            parser.add_argument(flag, dest=name, action="store_true", default=None, help=about)
            continue
        rule = [describe_rule(field) or f"as in {field.examples[0]}" if field.examples else ""]
        rule += [f"default {field.default}"] if field.default is not None else []
        metavar = "N" if field.annotation is int else name.rpartition("_")[2].upper()
        parser.add_argument(flag, dest=name, metavar=metavar, help=f"{about} ({', '.join(rule)})")


def _flag(name: str) -> str:
    return f"-{name}" if len(name) == 1 else f"--{name.replace('_', '-')}"


def _check_where_to_search(given: argparse.Namespace) -> None:
    """Raises TrireidError for options that belong to a folder's search with `--url`, or the other
    way round.
    """
    if given.url is None:
        if given.gallery is None:
            raise TrireidError("give --gallery DIR, or --url of a server", "--gallery")
        if given.token is not None:
            raise TrireidError("--token is for a server: give its --url, too", "--token")
        return
    for name in ("model", "config", "opts", "weights", "provider", "threads"):
        if getattr(given, name) is not None:
            raise TrireidError(
                f"--{name} is for a gallery's folder; the server at --url has its own", f"--{name}"
            )


def _table(hits: Sequence[HitAnswer]) -> list[str]:
    if not hits:
        return ["no hits"]
    lines = [f"{'rank':>4}  {'score':>6}  {'prob.':>5}  {'identity':<12}  {'camera':>6}  id"]
    for hit in hits:
        camera = "-" if hit.camera is None else hit.camera
        likely = "-" if hit.probability is None else f"{hit.probability:.2f}"
        lines.append(
            f"{hit.rank:>4}  {hit.score:>6.3f}  {likely:>5}  {hit.identity or '-':<12}  {camera:>6}  {hit.id}"
        )
    return lines


def _gallery_stats(given: argparse.Namespace) -> int:
    from trireid.gallery.stats import stats

    found = stats(_existing(given.folder))
    if given.json:
        _print_json(found, indent=2)
        return 0
    for name, value in found.items():
        counts = (
            ", ".join(f"{key}: {count}" for key, count in value.items())
            if isinstance(value, dict)
            else value
        )
        _print(f"{name.replace('_', ' '):<14} {'none' if counts == '' else counts}")
    return 0


def _gallery_remove(given: argparse.Namespace) -> int:
    from trireid.gallery.removal import remove_stored, select_ids
    from trireid.gallery.store import Store

    folder = _existing(given.folder)
    which = {"ids": given.id, "identity": given.identity, "older_than_days": given.older_than}
    with closing(Store(folder)) as store:
        if given.dry_run:
            return _tell_removable(given.folder, select_ids(store, **which), len(store))
        removed = remove_stored(folder, force=given.force, **which)
        _print(f"{given.folder}: {removed} removed; holds {len(store)}")
    return _tell_pending(given.folder)


def _tell_removable(folder: str, ids: Sequence[str], count: int) -> int:
    """Print how many items would be removed, and a line of each one's id."""
    _print(f"{folder}: {len(ids)} of {count} would be removed")
    for id_ in ids:
        _print(id_)
    return 0


def _gallery_set(given: argparse.Namespace) -> int:
    from trireid.gallery.retention import set_keep_days

    folder = _existing(given.folder)
    set_keep_days(folder, given.keep_days)
    kept = "until they are removed" if given.keep_days is None else f"for {given.keep_days:g} days"
    _print(f"{folder}: items are kept {kept}")
    return 0


def _tell_pending(folder: str) -> int:
    """Say so where what was removed is not erased yet: it is done in part."""
    from trireid.gallery.stats import stats

    if not stats(Path(folder))["erasure_pending"]:
        return 0
    return _fail(
        f"{folder}: a reader is in the way: what was removed stays in gallery.db-wal until it ends; the processes that have"
        " the gallery open go on trying, and the next command does",
        1,
    )


def _gallery_compact(given: argparse.Namespace) -> int:
    from trireid.gallery import Gallery

    with Gallery.open(_existing(given.folder), create=False) as gallery:
        gallery.compact()
    _print(f"{given.folder}: compacted")
    return _tell_pending(given.folder)


def _gallery_check(given: argparse.Namespace) -> int:
    from trireid.gallery.checking import check

    report = check(Path(given.folder))
    _print(
        f"{given.folder}: {report.items} items, {report.readable} of them whole; {len(report.faults) or 'no'} faults"
    )
    for fault in report.faults:
        _print(fault, file=sys.stderr)
    return 1 if report.faults else 0


def _gallery_export(given: argparse.Namespace) -> int:
    from trireid.gallery.exporting import MANIFEST, export
    from trireid.gallery.person import export_identity

    folder, target = _existing(given.folder), Path(given.output)
    if given.identity is not None:
        count, missing = export_identity(folder, given.identity, target)
    else:
        count, missing = export(folder, target), []
    _print(f"{given.output}: {count} items in {MANIFEST}")
    # images kept by reference have absolute paths
    outside = "" if given.identity else " --allow-outside"
    _print(f"to index it: trireid index {target / MANIFEST}{outside} --gallery DIR")
    for line in missing:
        _print(f"not copied: {line}", file=sys.stderr)
    return 1 if missing else 0


def _gallery_find(given: argparse.Namespace) -> int:
    from trireid.gallery.person import find_identity

    found = find_identity(_existing(given.folder), given.identity)
    if given.json:
        _print_json(found, indent=2)
    else:
        for item in found["items"]:
            _print(f"item {item['id']}")
            for name, value in item.items():
                _print_field(name, value)
        for line in found["audit"]:
            _print(_audit_line(**line))
    if not found["items"]:
        return _fail(
            f"{given.folder}: holds no item of identity {given.identity!r}; its audit names it", 1
        )
    return 0


def _print_field(name: str, value: Any) -> None:
    if name == "images":
        for modality, image in value.items():
            kept = "kept inside" if image["is_kept"] else image["path"] or "not kept"
            _print(
                f"  {modality:<11} {kept}, {image['bytes'] or 0} bytes, thumbnail {image['thumbnail_bytes']} bytes"
            )
    elif name != "id" and value not in (None, {}):
        _print(
            f"  {name:<11} {json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value}"
        )


def _gallery_audit(given: argparse.Namespace) -> int:
    from trireid.gallery.store import Store

    store = Store(_existing(given.folder))
    try:
        lines: list[dict[str, Any]] = [
            {"at": at, "action": action, "what": what} for at, action, what in store.audited()
        ]
    finally:
        store.close()
    if given.json:
        _print_json({"audit": lines}, indent=2)
    else:
        for line in lines:
            _print(_audit_line(**line))
    return 0


def _audit_line(at: str, action: str, what: dict[str, Any]) -> str:
    return f"{at}  {action}  {json.dumps(what, ensure_ascii=False)}"


def _gallery_backup(given: argparse.Namespace) -> int:
    from trireid.gallery.backup import back_up

    count = back_up(_existing(given.folder), Path(given.output))
    _print(
        f"{given.output}: a copy of {count} items; see that it is whole: trireid gallery check {given.output}"
    )
    return 0


def _gallery_reembed(given: argparse.Namespace) -> int:
    from trireid.gallery.reembedding import reembed

    report = reembed(
        _existing(given.folder), _load_model(given, given.model), drop_lost=given.drop_lost
    )
    _print(
        f"{given.folder}: {report.moved} items moved to {given.model}; {len(report.lost)} without pictures removed"
    )
    return _tell_pending(given.folder)


def _existing(folder: str) -> Path:
    from trireid.gallery.place import meta_of

    meta_of(Path(folder))  # a clear error where there is no gallery
    return Path(folder)


def _evaluate(given: argparse.Namespace) -> int:
    from trireid.evaluation.protocol import Protocol
    from trireid.inference.evaluate_artifact import check_outputs, run_evaluation
    from trireid.inference.evaluation_report import as_json, draw, remarks, text_lines, write_csv
    from trireid.samples.sources import open_source

    check_outputs(given.csv, given.plot)
    options = {"allow_outside": given.allow_outside, "pattern": given.pattern}
    sources = (
        open_source(given.source, "query", **options),
        open_source(given.source, "gallery", **options),
    )
    protocol = Protocol(
        by_scene=given.source.startswith("msvr310:"), other_cameras=given.other_cameras
    )
    embedder = _load_model(given, given.model)
    evaluation = run_evaluation(
        embedder, sources, protocol, missing=given.missing, reranked=given.rerank
    )
    if given.csv:
        write_csv(evaluation, Path(given.csv))
    if given.json:
        print(as_json(evaluation))  # JSON escapes what a terminal would act on
    else:
        for line in text_lines(evaluation, given.source):
            _print(line)
    for remark in remarks(evaluation):
        _print(remark, file=sys.stderr)
    if given.plot:
        draw(Path(given.plot), evaluation)
    return 1 if evaluation.rejected else 0


def _train(given: argparse.Namespace) -> int:
    from trireid.training.command import train_command

    return train_command(given.config, given.folder)


def _diagnose(given: argparse.Namespace) -> int:
    from trireid.training.command import diagnose_command

    return diagnose_command(given.target, as_json=given.json)


def _serve(given: argparse.Namespace) -> int:
    from trireid.serving.run import serve
    from trireid.serving.settings import load_settings

    return serve(
        load_settings(
            galleries=given.galleries, host=given.host, port=given.port, root_path=given.root_path
        )
    )


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="trireid", description="Multi-modal re-identification: export, index, search, serve."
    )
    parser.add_argument("--version", action="version", version=f"trireid {_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    export = commands.add_parser("export", help="export a checkpoint").add_subparsers(
        required=True, metavar="FORMAT"
    )
    onnx = export.add_parser(
        "onnx", help="to ONNX; verified against the checkpoint, or not left behind"
    )
    onnx.set_defaults(run=_export_onnx)
    onnx.add_argument("checkpoint", metavar="CHECKPOINT")
    _checkpoint_options(onnx, required=True)
    onnx.add_argument("-o", "--output", required=True, metavar="FILE.onnx")
    onnx.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8"),
        default="fp32",
        help="fp16 for GPUs, int8 for CPUs",
    )
    onnx.add_argument(
        "--batch", type=_positive, metavar="N", help="a fixed batch size (default: any)"
    )
    onnx.add_argument(
        "--kind", choices=KINDS, help="what it is for (default: by the picture's shape)"
    )
    onnx.add_argument(
        "--data",
        metavar="SOURCE",
        help="compare on this, too (fp16, int8: 16 drawn identities by default)",
    )
    _outside_option(onnx)

    verify = commands.add_parser(
        "verify", help="whether two networks are the same, and where they part"
    )
    verify.set_defaults(run=_verify)
    verify.add_argument("file", metavar="FILE", help="an artifact, or a checkpoint")
    verify.add_argument(
        "--against",
        required=True,
        metavar="FILE",
        help="what to hold it against: a checkpoint, or an artifact",
    )
    _checkpoint_options(verify)
    verify.add_argument("--data", metavar="SOURCE", help="compare on this beside trial pictures")
    verify.add_argument("--json", action="store_true", help="print JSON instead of a table")
    _outside_option(verify)
    _runtime_options(verify)

    tensorrt = export.add_parser(
        "tensorrt",
        help="an ONNX artifact to a TensorRT plan; verified on the GPU, or not left behind",
    )
    tensorrt.set_defaults(run=_export_tensorrt)
    tensorrt.add_argument(
        "artifact", metavar="FILE.onnx", help="of `trireid export onnx`, fp32 or fp16"
    )
    tensorrt.add_argument("-o", "--output", required=True, metavar="FILE.plan")
    tensorrt.add_argument(
        "--batch",
        type=_batch,
        metavar="MIN,OPT,MAX",
        help="batch sizes it is built for (default 1,8,32)",
    )
    tensorrt.add_argument(
        "--library",
        choices=("tensorrt", "tensorrt_rtx"),
        help="which to build with (default: the first there)",
    )
    tensorrt.add_argument(
        "--unverified",
        action="store_true",
        help="TensorRT-RTX without a GPU: write the plan nonetheless",
    )
    tensorrt.add_argument(
        "--timing-cache", metavar="FILE", help="TensorRT's (default: in the user's cache folder)"
    )

    index = commands.add_parser("index", help="embed a SOURCE and add it to a gallery")
    index.set_defaults(run=_index)
    _runtime_options(index)
    index.add_argument(
        "source",
        metavar="SOURCE",
        help="a manifest, a folder, a data set or synthetic:KIND:IDENTITIES",
    )
    index.add_argument(
        "--pattern", metavar="P", help="what a folder's names say, as in '{identity}_c{camera}_{*}'"
    )
    index.add_argument("--gallery", required=True, metavar="DIR", help="made where absent")
    index.add_argument(
        "--model",
        metavar="FILE",
        help="an artifact, or a checkpoint (default: the gallery's own, or the embedded one)",
    )
    _checkpoint_options(index)
    index.add_argument(
        "--kind", choices=KINDS, help="whose embedded network to take (default: person)"
    )
    index.add_argument(
        "--memory",
        choices=("float32", "float16", "int8"),
        help="how the index holds vectors (remembered)",
    )
    index.add_argument(
        "--recall",
        type=float,
        help="of the ten nearest, in large galleries (default 0.99; remembered)",
    )
    index.add_argument(
        "--thermal",
        metavar="HOW",
        help="read 16-bit images by: 8bit, stretch, counts, counts:LOW:HIGH (remembered)",
    )
    index.add_argument(
        "--resume", action="store_true", help="pass over known ids without reading their images"
    )
    index.add_argument(
        "--json",
        action="store_true",
        help="print what became of the source as JSON and nothing else",
    )
    _outside_option(index)

    search = commands.add_parser(
        "search", help="query a gallery by image, in a folder or on a server"
    )
    search.set_defaults(run=_search)
    _runtime_options(search)
    search.add_argument(
        "--gallery",
        metavar="DIR",
        help="the gallery's folder; with --url the name of one that is served",
    )
    search.add_argument("--url", metavar="URL", help="ask this server, as in http://127.0.0.1:3000")
    search.add_argument(
        "--token",
        metavar="T",
        help="for the server (better: in TRIREID_TOKEN, where no other user sees it)",
    )
    search.add_argument(
        "--model", metavar="FILE", help="where the gallery's artifact is now, if it was moved"
    )
    _checkpoint_options(search)
    for modality in MODALITIES:
        search.add_argument(f"--{modality}", metavar="FILE", help=f"the {modality} picture")
    search.add_argument("--camera", type=int, metavar="N", help="the query's own camera")
    if "search" in arguments:  # only then, for it takes pydantic
        _search_options(search)
    search.add_argument(
        "--json", action="store_true", help="print the hits as JSON and nothing else"
    )

    _gallery_parsers(commands.add_parser("gallery", help="look after a gallery"))

    evaluate = commands.add_parser(
        "evaluate", help="score a network on a SOURCE by the field's protocol"
    )
    evaluate.set_defaults(run=_evaluate)
    _runtime_options(evaluate)
    evaluate.add_argument(
        "source",
        metavar="SOURCE",
        help="its queries against its gallery; if it tells none, all against all",
    )
    evaluate.add_argument(
        "--model", required=True, metavar="FILE", help="an artifact, or a checkpoint"
    )
    _checkpoint_options(evaluate)
    evaluate.add_argument(
        "--pattern", metavar="P", help="what a folder's names say, as in '{identity}_c{camera}_{*}'"
    )
    evaluate.add_argument(
        "--other-cameras", action="store_true", help="leave out all items of the query's own camera"
    )
    evaluate.add_argument(
        "--missing", action="store_true", help="every subset of the modalities that are there"
    )
    evaluate.add_argument("--rerank", action="store_true", help="with k-reciprocal re-ranking, too")
    evaluate.add_argument(
        "--plot", metavar="DIR", help="write the CMC curve and a rank list as PNG"
    )
    evaluate.add_argument("--json", action="store_true", help="print JSON and nothing else")
    evaluate.add_argument("--csv", metavar="FILE", help="write the table as CSV, too")
    _outside_option(evaluate)

    train = commands.add_parser(
        "train", help="fine-tune a network; a killed run goes on where its last save stands"
    )
    train.set_defaults(run=_train)
    train.add_argument(
        "config", metavar="CONFIG", help="the run's settings, YAML: docs/training.md"
    )
    train.add_argument(
        "--folder", metavar="DIR", help="where the run is kept (default: runs/NAME beside CONFIG)"
    )

    diagnose = commands.add_parser(
        "diagnose", help="one batch: where gradient flows, and which embedding evaluation reads"
    )
    diagnose.set_defaults(run=_diagnose)
    diagnose.add_argument(
        "target",
        metavar="CONFIG|CHECKPOINT",
        help="a run's settings, or a checkpoint that train wrote",
    )
    diagnose.add_argument("--json", action="store_true", help="print JSON instead of a table")

    serve = commands.add_parser("serve", help="serve galleries over HTTP")
    serve.set_defaults(run=_serve)
    _runtime_options(serve)
    serve.add_argument(
        "galleries",
        nargs="*",
        metavar="GALLERY",
        help="gallery folders (default: the demo galleries)",
    )
    serve.add_argument("--host", help="default: 127.0.0.1")
    serve.add_argument("--port", type=_port, help="default: 3000")
    serve.add_argument(
        "--root-path",
        metavar="PATH",
        help="before each request's path, where a proxy does not strip it",
    )
    return parser


def _gallery_parsers(gallery: argparse.ArgumentParser) -> None:
    commands = gallery.add_subparsers(required=True, metavar="ACTION", parser_class=_Parser)
    actions = {
        "stats": (_gallery_stats, "what it holds, in numbers"),
        "remove": (_gallery_remove, "remove items for good"),
        "set": (_gallery_set, "for how long it keeps items"),
        "compact": (_gallery_compact, "give back the space of what was removed"),
        "check": (_gallery_check, "whether it is whole, and what can be read if not"),
        "export": (
            _gallery_export,
            "write a manifest that can be indexed again, with embeddings and pictures",
        ),
        "find": (_gallery_find, "all that it holds of one identity"),
        "audit": (_gallery_audit, "what was removed or moved, and when"),
        "backup": (_gallery_backup, "copy it whole, while others go on writing"),
        "reembed": (_gallery_reembed, "move it to another network, from its pictures"),
    }
    parsers = {}
    for name, (run, what) in actions.items():
        parsers[name] = commands.add_parser(name, help=what)
        parsers[name].set_defaults(run=run)
        parsers[name].add_argument("folder", metavar="DIR")
    for name in ("stats", "find", "audit"):
        parsers[name].add_argument("--json", action="store_true", help="print JSON")
    parsers["find"].add_argument("--identity", required=True, metavar="NAME")
    parsers["export"].add_argument(
        "--identity", metavar="NAME", help="this identity's items alone, with copies of all images"
    )
    parsers["backup"].add_argument(
        "-o", "--output", required=True, metavar="DIR", help="a new or empty folder"
    )
    which = parsers["remove"].add_mutually_exclusive_group(required=True)
    which.add_argument("--id", nargs="+", metavar="ID")
    which.add_argument("--identity")
    which.add_argument(
        "--older-than",
        type=float,
        metavar="DAYS",
        help="by the earlier of its time and when it was added",
    )
    which.add_argument(
        "--expired",
        action="store_true",
        help="past their expires, or older than --keep-days of `gallery set`",
    )
    parsers["remove"].add_argument(
        "--dry-run", action="store_true", help="remove nothing: print how many, and which"
    )
    parsers["remove"].add_argument(
        "--force", action="store_true", help="by age, also if it is more than half of the gallery"
    )
    parsers["set"].add_argument(
        "--keep-days",
        required=True,
        type=_days,
        metavar="DAYS|none",
        help="a server removes what is older",
    )
    parsers["export"].add_argument(
        "-o", "--output", required=True, metavar="DIR", help="a new or empty folder"
    )
    parsers["reembed"].add_argument(
        "--model", required=True, metavar="FILE", help="the artifact to move to"
    )
    _checkpoint_options(parsers["reembed"])
    parsers["reembed"].add_argument(
        "--drop-lost", action="store_true", help="remove items whose pictures are gone"
    )
    _runtime_options(parsers["reembed"])


def _outside_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow-outside",
        action="store_true",
        help="take a manifest's images from outside its folder, too",
    )


def _checkpoint_options(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    parser.add_argument(
        "--config",
        required=required,
        metavar="YML",
        help="the training configuration of a checkpoint",
    )
    parser.add_argument(
        "--opts",
        nargs="+",
        metavar="KEY VALUE",
        help="in place of its values, as in MODEL.SIE_COE 1.0",
    )
    parser.add_argument(
        "--weights",
        metavar="NAME",
        help="which weights of a checkpoint that holds several, as in ema",
    )


def _runtime_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--provider",
        choices=("cpu", "cuda"),
        help="where networks run (default: the best there is)",
    )
    parser.add_argument(
        "--threads", type=_positive, metavar="N", help="threads of a forward pass on the CPU"
    )


def _set_runtime(given: argparse.Namespace) -> None:
    """Put the options of the runtime into the environment, where every process of a server finds
    them.
    """
    options = {name: getattr(given, name, None) for name in ("provider", "threads")}
    for name, value in options.items():
        if value is not None:
            from trireid.inference import artifact  # not for commands that run no network

            os.environ[getattr(artifact, name.upper())] = str(value)


def _version() -> str:
    try:
        return version("trireid")
    except PackageNotFoundError:
        return "(not installed)"


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{printable(f'{self.prog}: {message} (see {self.prog} --help)')}\n")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def _days(text: str) -> float | None:
    return None if text == "none" else float(text)


def _batch(text: str) -> tuple[int, int, int]:
    sizes = text.split(",")
    if len(sizes) != 3 or not all(size.isdecimal() for size in sizes):
        raise argparse.ArgumentTypeError(f"give MIN,OPT,MAX, as in 1,8,32, not {text}")
    return int(sizes[0]), int(sizes[1]), int(sizes[2])


def _port(text: str) -> int:
    number = _positive(text)
    if number > 65535:
        raise argparse.ArgumentTypeError(f"a port is at most 65535, not {number}")
    return number


def _print(line: object, file: TextIO | None = None) -> None:
    """Print one line; what a terminal would act on, in names from elsewhere, is escaped."""
    print(printable(line), file=file)


def _print_lines(text: str) -> None:
    for line in text.split("\n"):
        _print(line)


def _print_json(value: Any, indent: int | None = None) -> None:
    # the one control character that JSON leaves
    print(json.dumps(value, indent=indent).replace("\x7f", "\\u007f"))


def _fail(message: str, code: int = 2) -> int:
    _print(f"trireid: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
