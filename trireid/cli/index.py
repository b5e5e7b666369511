"""`trireid index`: a SOURCE into a gallery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Argument, Option

from trireid.cli.command import command, make_app
from trireid.cli.options import NETWORK, Checkpoint, FolderPattern, OutsideImages, Runtime
from trireid.cli.output import Output
from trireid.samples import Kind

if TYPE_CHECKING:
    from trireid.gallery import IndexReport
    from trireid.inference import Embedder
    from trireid.samples.source import NotUsed, Source

app = make_app()


@dataclass(frozen=True)
class GallerySettings:
    """The settings that a gallery remembers."""

    memory: Annotated[
        Literal["float32", "float16", "int8"] | None,
        Option("--quantization", "--memory", help="quantization of the index (remembered)"),
    ] = None
    recall: Annotated[
        float | None,
        Option(
            "--recall",
            metavar="R",
            help="of the ten nearest, in large galleries (default: 0.99; remembered)",
        ),
    ] = None
    thermal: Annotated[
        str | None,
        Option(
            "--thermal",
            metavar="HOW",
            help="read 16-bit images by: 8bit, stretch, counts, counts:LOW:HIGH (remembered)",
        ),
    ] = None


@command(app)
def index(
    source: Annotated[
        str,
        Argument(
            metavar="SOURCE", help="a manifest, a folder, a data set or synthetic:KIND:IDENTITIES"
        ),
    ],
    gallery: Annotated[
        str, Option("--gallery", metavar="DIR", help="the gallery's folder; created if absent")
    ],
    settings: GallerySettings,
    checkpoint: Checkpoint,
    runtime: Runtime,
    out: Output,
    model: Annotated[
        str | None,
        Option(
            "--model",
            metavar="FILE",
            help=f"{NETWORK} (default: the gallery's own, or the embedded one of --kind)",
        ),
    ] = None,
    kind: Annotated[
        Kind | None, Option("--kind", help="whose embedded network to take (default: person)")
    ] = None,
    resume: Annotated[
        bool, Option("--resume", help="skip known ids without reading their images")
    ] = False,
    pattern: FolderPattern = None,
    allow_outside: OutsideImages = False,
) -> int:
    """Embed the samples of a SOURCE and add them to a gallery.

    Exits with 1 if an entry of it is rejected; all others are added.
    """
    from trireid.gallery import Gallery, IndexReport, index_source
    from trireid.samples.sources import open_source

    runtime.apply()
    opened = open_source(source, allow_outside=allow_outside, pattern=pattern)
    if not len(opened):
        report = IndexReport(not_used=list(opened.not_used), notes=list(opened.notes))
        _print_report(out, gallery, source, report, None)
        return out.fail(f"{source}: holds no image to index", 1)
    embedder = _load_embedder(gallery, model, kind, checkpoint)
    with Gallery.open(gallery, embedder, **vars(settings)) as target:
        report = index_source(opened, target, resume=resume)
        if kind and model:
            report.not_used.append(_idle("--kind", "--model says which network it is"))
        if resume and not _has_ids(opened):
            report.not_used.append(_idle("--resume", "the source has no ids of its own"))
        _print_report(out, gallery, source, report, len(target))
    return 1 if report.rejected else 0


def _has_ids(source: Source) -> bool:
    return "id" in (source.tells or ("id",))


def _idle(option: str, why: str) -> NotUsed:
    from trireid.samples.source import NotUsed

    return NotUsed(f"option {option}", 1, why)


def _load_embedder(
    gallery: str, model: str | None, kind: Kind | None, checkpoint: Checkpoint
) -> Embedder | None:
    """Load `--model`, or the embedded network of the kind; None for the gallery's own."""
    from trireid.gallery import is_gallery
    from trireid.inference import load_artifact
    from trireid.inference.embedded import default_artifact

    file = model or checkpoint.find_recorded(gallery)
    if file:
        return checkpoint.load(file)
    if is_gallery(gallery) and kind is None:
        return None
    return load_artifact(default_artifact(kind or "person"))


def _print_report(
    out: Output, gallery: str, source: str, report: IndexReport, items: int | None
) -> None:
    lines = [] if items is None else [f"{gallery}: {report}; holds {items}"]
    out.result({"gallery": gallery, "source": source, **report.to_json(), "items": items}, *lines)
    if out.json:
        return
    for location, error in report.rejected[:10]:
        out.note(f"rejected: {location}: {error}")
    if report.path is not None:
        out.note(f"every rejected entry is listed in {report.path}")
    for remark in report.remarks():
        out.note(remark)
