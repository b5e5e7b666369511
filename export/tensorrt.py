"""Building TensorRT and TensorRT-RTX engines from ONNX artifacts, left behind only if they proved
the same network.
"""

from __future__ import annotations

import os
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, Final

from trireid.export import tensorrt_timing as timing
from trireid.export.target import check_target
from trireid.export.tensorrt_verification import TOLERANCES, verify
from trireid.inference.artifact import CHECKPOINTS, load_artifact
from trireid.inference.onnx_runtime import OnnxEmbedder
from trireid.inference.tensorrt.cuda import probe_gpu
from trireid.inference.tensorrt.library import Library, load_library, one_line
from trireid.inference.tensorrt.plan import Gpu, Plan, Profile, write_plan
from trireid.inference.tensorrt.runtime import TensorRtEmbedder
from trireid.samples import ArtifactError

DEFAULT_PROFILE: Final = Profile(1, 8, 32)


def export_tensorrt(
    artifact: str | PathLike[str],
    path: str | PathLike[str],
    *,
    batch: Profile | None = None,
    library: str | None = None,
    unverified: bool = False,
    timing_cache: str | PathLike[str] | None = None,
) -> Plan:
    """Build a plan from an ONNX artifact and hold it against it on the GPU; the file appears only
    if they agree.

    `batch`: None takes 1,8,32, or the artifact's own where that is fixed. `library`: `tensorrt` or
    `tensorrt_rtx`; None takes the first that is installed. `unverified`: where there is no GPU,
    write TensorRT-RTX's plan nonetheless, and marked so. `timing_cache`: TensorRT's; None takes one
    in the user's cache folder. Raises ArtifactError where something is missing, the artifact is
    none that TensorRT can take, or the engine differs from it; OSError where the file cannot be
    written.
    """
    source, target = Path(artifact), Path(path)
    check_target(target, ".plan", CHECKPOINTS)
    reference = _reference(source)
    tools = load_library(library)
    gpu = _gpu(tools, unverified)
    cache = (
        None
        if tools.is_rtx or gpu is None
        else Path(timing_cache or timing.default_path(tools, gpu))
    )
    engine, profile = _built(tools, source, batch, cache)
    plan = Plan(
        card=reference.card,
        library=tools.name,
        version=tools.version,
        gpu=None if tools.is_rtx else gpu,
        profile=profile,
        verified=False,
    )
    if gpu is not None:
        measured = verify(TensorRtEmbedder(target, plan, engine), reference, profile)
        plan = replace(plan, verified=True, measured={**measured, "gpu": gpu.name})
    write_plan(target, plan, engine)
    return plan


def _reference(source: Path) -> OnnxEmbedder:
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
    if reference.card.precision not in TOLERANCES:
        raise ArtifactError(
            f"{source}: has precision {reference.card.precision}, which is for ONNX Runtime on CPUs; "
            f"build from a {' or '.join(TOLERANCES)} artifact",
            os.fspath(source),
        )
    return reference


def _gpu(library: Library, unverified: bool) -> Gpu | None:
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
                f"{library.title} can build here, but nothing can verify the engine: {error.message}; "
                "--unverified writes it nonetheless",
                error.field,
            ) from error
        return None


def _built(
    library: Library, source: Path, asked: Profile | None, cache: Path | None
) -> tuple[bytes, Profile]:
    """The engine's bytes, and the batch sizes it was built for."""
    builder = library.make("Builder")
    network = _parsed(library, builder, source)
    profile = _profile(network, asked, source)
    config = builder.create_builder_config()
    _configure(library.api, config)
    _add_profile(builder, network, config, profile)
    if cache is not None:
        timing.attach(config, cache)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise ArtifactError(
            f"{source}: {library.title} cannot build it: {library.complaint()}", os.fspath(source)
        )
    if cache is not None:
        timing.keep(config, cache)
    return bytes(engine), profile


def _parsed(library: Library, builder: Any, source: Path) -> Any:
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


def _profile(network: Any, asked: Profile | None, source: Path) -> Profile:
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
