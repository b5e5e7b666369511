"""Building TensorRT and TensorRT-RTX engines from ONNX artifacts; a plan appears only if it has
proved to be the same network.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, Final

from trireid.export.report import Report
from trireid.export.shipping import check_target, ship
from trireid.export.tolerance import PRECISIONS, name_tolerance
from trireid.export.verification import compare
from trireid.inference.artifact import CHECKPOINTS, load_artifact
from trireid.inference.embedded import resolve_artifact
from trireid.inference.onnx_runtime import OnnxEmbedder
from trireid.inference.tensorrt.cuda import probe_gpu
from trireid.inference.tensorrt.library import Library, load_library, one_line
from trireid.inference.tensorrt.plan import Gpu, Plan, Profile, write_plan
from trireid.inference.tensorrt.runtime import load_plan
from trireid.samples import ArtifactError
from trireid.samples.atomic_write import write_atomic
from trireid.samples.cache_folder import cache_folder

DEFAULT_PROFILE: Final = Profile(1, 8, 32)
#: Precisions of which TensorRT builds engines.
BUILDABLE: Final = tuple(
    name for name in PRECISIONS if name_tolerance(name, in_tensorrt=True) != name
)

log = logging.getLogger(__name__)


def export_tensorrt(
    artifact: str | PathLike[str],
    path: str | PathLike[str],
    *,
    batch: Profile | None = None,
    library: str | None = None,
    unverified: bool = False,
    timing_cache: str | PathLike[str] | None = None,
) -> Plan:
    """Build a plan from an ONNX artifact and compare it with it on the GPU; the file appears only
    if they agree.

    The tolerances are those of `trireid.export.tolerance`. FILE.report.json, next to the plan,
    holds everything that was found.

    Args:
        artifact: An ONNX artifact, fp32 or fp16, or the name of an embedded default.
        path: The plan.
        batch: None takes 1,8,32, or the artifact's own if that is fixed.
        library: `tensorrt` or `tensorrt_rtx`; None takes the first that is installed.
        unverified: If there is no GPU, write TensorRT-RTX's plan nonetheless, and marked so.
        timing_cache: TensorRT's; None takes one in the user's cache folder.

    Returns:
        The plan, with the verification's figures in `measured`.

    Raises:
        VerificationError: The engine differs from the artifact; the file that was there stays.
        ArtifactError: Something is missing, or TensorRT cannot take the artifact.
        OSError: The file cannot be written.
    """
    source, target = resolve_artifact(artifact), Path(path)
    check_target(target, ".plan", CHECKPOINTS)
    reference = _open_reference(source)
    tools = load_library(library)
    gpu = _find_gpu(tools, unverified)
    cache = None
    if gpu is not None and not tools.is_rtx:
        cache = Path(timing_cache or _default_cache(tools, gpu))
    engine, profile = _build(tools, source, batch, cache)
    plan = Plan(
        card=reference.card,
        library=tools.name,
        version=tools.version,
        gpu=None if tools.is_rtx else gpu,
        profile=profile,
        verified=gpu is not None,
    )
    if gpu is None:
        write_plan(target, plan, engine)
        return plan
    sizes = sorted({profile.minimum, profile.optimum, profile.maximum, profile.maximum + 1})

    def verify(temporary: Path) -> Report:
        return compare(reference, load_plan(temporary), sizes=sizes)

    def write(temporary: Path) -> None:
        write_plan(temporary, plan, engine)

    report = ship(target, write, verify, {"gpu": gpu.name})
    return replace(plan, measured={**_collect_figures(report), "gpu": gpu.name})


def _collect_figures(report: Report) -> dict[str, Any]:
    selected = report.selected_patches
    return {
        "tensorrt_min_cosine": report.embedding.worst,
        "tensorrt_max_difference": report.embedding.difference,
        "tensorrt_swapped": 0 if selected is None else selected.swapped,
    }


def _open_reference(source: Path) -> OnnxEmbedder:
    """The artifact in ONNX Runtime, if it is one that TensorRT can take."""
    if source.suffix in CHECKPOINTS:
        raise ArtifactError(
            f"{source}: is a checkpoint; export it with `trireid export onnx` first",
            os.fspath(source),
        )
    reference = load_artifact(source, provider="cpu")
    if not isinstance(reference, OnnxEmbedder):
        raise ArtifactError(
            f"{source}: TensorRT builds from an ONNX artifact of `trireid export onnx`",
            os.fspath(source),
        )
    if reference.card.precision not in BUILDABLE:
        raise ArtifactError(
            f"{source}: has precision {reference.card.precision}, which is for ONNX Runtime on"
            f" CPUs; build from a {' or '.join(BUILDABLE)} artifact",
            os.fspath(source),
        )
    return reference


def _find_gpu(library: Library, unverified: bool) -> Gpu | None:
    try:
        return probe_gpu()
    except ArtifactError as error:
        if not library.is_rtx:
            raise ArtifactError(
                f"{library.title} builds for the GPU it runs on: {error.message}; "
                "TensorRT-RTX builds without one (--library tensorrt_rtx)",
                error.field,
            ) from error
        if not unverified:
            raise ArtifactError(
                f"{library.title} can build here, but nothing can verify the engine:"
                f" {error.message}; --unverified writes it nonetheless",
                error.field,
            ) from error
        return None


def _build(
    library: Library, source: Path, asked: Profile | None, cache: Path | None
) -> tuple[bytes, Profile]:
    """The engine's bytes, and the batch sizes it was built for."""
    builder = library.make("Builder")
    network = _parse(library, builder, source)
    profile = _choose_profile(network, asked, source)
    config = builder.create_builder_config()
    _configure(library.api, config)
    _add_profile(builder, network, config, profile)
    if cache is not None:
        _attach_cache(config, cache)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise ArtifactError(
            f"{source}: {library.title} cannot build it: {library.complaint()}", os.fspath(source)
        )
    if cache is not None:
        _save_cache(config, cache)
    return bytes(engine), profile


def _parse(library: Library, builder: Any, source: Path) -> Any:
    api = library.api
    # always so where the flag is gone
    strongly = getattr(api.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if strongly is None else 1 << int(strongly))
    parser = api.OnnxParser(network, library.logger)
    if not parser.parse(source.read_bytes()):
        why = one_line(parser.get_error(0).desc()) if parser.num_errors else library.complaint()
        raise ArtifactError(f"{source}: {library.title} cannot read it: {why}", os.fspath(source))
    library.forget()
    _let_attention_decompose(api, network)
    return network


def _let_attention_decompose(api: Any, network: Any) -> None:
    """Allow attention to be computed by several kernels where there is no single one for it, as for
    float32.

    `get_layer` gives every layer as the base class; its class is put right by hand, as NVIDIA's own
    Python samples do.
    """
    kind = getattr(api.LayerType, "ATTENTION_INPUT", None)
    for index in range(network.num_layers if kind is not None else 0):
        layer = network.get_layer(index)
        if layer.type == kind:
            layer.__class__ = api.IAttentionInputLayer
            layer.attention.decomposable = True


def _choose_profile(network: Any, asked: Profile | None, source: Path) -> Profile:
    size = network.get_input(0).shape[0]
    if size < 0:
        return asked or DEFAULT_PROFILE
    fixed = Profile(size, size, size)
    if asked not in (None, fixed):
        raise ArtifactError(
            f"{source}: has a fixed batch of {size}, so --batch can only be {fixed}, not {asked}",
            "batch",
        )
    return fixed


def _configure(api: Any, config: Any) -> None:
    config.clear_flag(api.BuilderFlag.TF32)  # float32 means float32: who wants speed exports fp16
    own = getattr(api.BuilderFlag, "REQUIRE_USER_ALLOCATION", None)
    if own is not None:  # TensorRT-RTX: what allocates while it runs cannot be captured
        config.set_flag(own)


def _add_profile(builder: Any, network: Any, config: Any, profile: Profile) -> None:
    chosen = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        rest = tuple(tensor.shape)[1:]
        chosen.set_shape(
            tensor.name,
            *((size, *rest) for size in (profile.minimum, profile.optimum, profile.maximum)),
        )
    config.add_optimization_profile(chosen)


def _default_cache(library: Library, gpu: Gpu) -> Path:
    """The timing cache of a GPU and version: in the user's cache folder (XDG_CACHE_HOME)."""
    name = re.sub(r"[^A-Za-z0-9.]+", "-", f"{library.title} {gpu.name}")
    return cache_folder() / f"{name}.timing"


def _attach_cache(config: Any, path: Path) -> None:
    """Give a builder's configuration the cache in a file: the times of kernels that earlier builds
    measured. One that is absent, damaged or another GPU's counts as empty.
    """
    found = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(found)
    if cache is None or not config.set_timing_cache(cache, False):
        log.warning("%s: not a timing cache of this GPU and version; it starts empty", path)
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _save_cache(config: Any, path: Path) -> None:
    """Write the times that the build has added.

    A cache that cannot be written costs time at the next build, and is not an error.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, bytes(config.get_timing_cache().serialize()))
    except OSError as error:
        log.warning("%s: the timing cache cannot be written: %s", path, error.strerror)
