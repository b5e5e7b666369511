"""`trireid export`: a checkpoint to ONNX, and an ONNX artifact to a TensorRT plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer import Argument, Option

from trireid.cli.command import command, make_app
from trireid.cli.options import Checkpoint, ComparisonSource, OutsideImages, open_comparison
from trireid.cli.output import Output
from trireid.samples import Kind

if TYPE_CHECKING:
    from trireid.inference.tensorrt.plan import Profile

app = make_app("Export a checkpoint to ONNX or TensorRT.")


@command(app, "onnx")
def export_onnx(
    checkpoint: Annotated[str, Argument(metavar="CHECKPOINT", help="the trained weights")],
    options: Checkpoint,
    out: Output,
    output: Annotated[str, Option("--output", "-o", metavar="FILE.onnx", help="the artifact")],
    precision: Annotated[
        Literal["fp32", "fp16", "int8"], Option("--precision", help="fp16 for GPUs, int8 for CPUs")
    ] = "fp32",
    batch: Annotated[
        int | None, Option("--batch", metavar="N", min=1, help="a fixed batch size (default: any)")
    ] = None,
    kind: Annotated[
        Kind | None, Option("--kind", help="what it is for (default: by the image's shape)")
    ] = None,
    data: ComparisonSource = None,
    allow_outside: OutsideImages = False,
) -> None:
    """Export a checkpoint to ONNX.

    The file is verified against the checkpoint on probe images, or not written; fp16 and int8 also
    on 16 drawn identities, unless --data names a SOURCE.
    """
    from trireid.export import export_onnx
    from trireid.models import load_checkpoint

    config = options.read_config()
    if config is None:
        raise typer.BadParameter("the following arguments are required: --config")
    card = export_onnx(
        load_checkpoint(checkpoint, config, weights=options.weights),
        output,
        precision=precision,
        batch=batch,
        kind=kind,
        data=open_comparison(data, allow_outside),
    )
    measured = card.measured["against_fp32"]
    height, width = card.image_size
    out.result(
        {
            "artifact": output,
            "precision": card.precision,
            "dimension": card.dimension,
            "image_size": [height, width],
            "against_fp32": measured,
            "fingerprint": card.fingerprint,
        },
        f"{output}: {card.precision}, {card.dimension} numbers per sample, {height} x {width}"
        f" pixels; against the checkpoint on {measured['data']}: worst cosine"
        f" {measured['cosine_worst']:.6f}, largest difference {measured['max_difference']:.1g}"
        f"{_describe_retrieval(measured)}; fingerprint {card.fingerprint[:12]}",
    )


def _describe_retrieval(measured: dict[str, Any]) -> str:
    if "mAP" not in measured:
        return ""
    mean, first = (
        100 * (measured[name] - measured[f"reference_{name}"]) for name in ("mAP", "rank1")
    )
    return f", mAP {mean:+.2f} and Rank-1 {first:+.2f} points"


@command(app, "tensorrt")
def export_tensorrt(
    artifact: Annotated[
        str, Argument(metavar="FILE.onnx", help="of `trireid export onnx`, fp32 or fp16")
    ],
    out: Output,
    output: Annotated[str, Option("--output", "-o", metavar="FILE.plan", help="the plan")],
    batch: Annotated[
        str | None,
        Option(
            "--batch", metavar="MIN,OPT,MAX", help="batch sizes it is built for (default: 1,8,32)"
        ),
    ] = None,
    library: Annotated[
        Literal["tensorrt", "tensorrt_rtx"] | None,
        Option("--library", help="which to build with (default: the first that is installed)"),
    ] = None,
    unverified: Annotated[
        bool, Option("--unverified", help="TensorRT-RTX without a GPU: write the plan nonetheless")
    ] = False,
    timing_cache: Annotated[
        str | None,
        Option(
            "--timing-cache",
            metavar="FILE",
            help="TensorRT's timings (default: in the user's cache folder)",
        ),
    ] = None,
) -> None:
    """Build a TensorRT plan from an ONNX artifact.

    It is verified on the GPU, or not written.
    """
    from trireid.export.tensorrt import export_tensorrt
    from trireid.inference.tensorrt.library import TITLES

    plan = export_tensorrt(
        artifact,
        output,
        batch=_parse_batch(batch),
        library=library,
        unverified=unverified,
        timing_cache=timing_cache,
    )
    lines = [
        f"{output}: {TITLES[plan.library]} {plan.version}, batch {plan.profile}, for"
        f" {plan.gpu or 'any GPU that it supports'}"
    ]
    fingerprint = plan.card.fingerprint
    if plan.verified:
        worst = plan.measured["tensorrt_max_difference"]
        lines.append(
            f"verified: differs from the ONNX by {worst:.1g} at most; fingerprint"
            f" {fingerprint[:12]}"
        )
    out.result(
        {
            "plan": output,
            "library": plan.library,
            "version": plan.version,
            "batch": vars(plan.profile),
            "gpu": plan.gpu,
            "verified": plan.verified,
            "measured": dict(plan.measured),
            "fingerprint": fingerprint,
        },
        *lines,
    )
    if not plan.verified:
        out.note(
            "NOT verified: no GPU here has run it; compare it with its ONNX on the machine that"
            " will run it, by `trireid verify`"
        )


def _parse_batch(text: str | None) -> Profile | None:
    from trireid.inference.tensorrt.plan import Profile

    if text is None:
        return None
    sizes = text.split(",")
    if len(sizes) != 3 or not all(size.isdecimal() for size in sizes):
        raise typer.BadParameter(
            f"argument --batch: give MIN,OPT,MAX, as in 1,8,32, not {text or 'nothing'}"
        )
    return Profile(*map(int, sizes))
