"""A plan as an embedder: TensorRT or TensorRT-RTX on this process's GPU."""

from __future__ import annotations

import logging
import os
import weakref
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trireid.inference.card import INPUTS, OUTPUTS
from trireid.inference.embedder import (
    Cameras,
    Embedder,
    Embeddings,
    Images,
    LoadOptions,
    Present,
    Tokens,
    run_in_batches,
)
from trireid.inference.tensorrt.cuda import Device
from trireid.inference.tensorrt.engine import Engine
from trireid.inference.tensorrt.library import TITLES, Library, load_library
from trireid.inference.tensorrt.plan import Plan, read_plan
from trireid.samples import ArtifactError

log = logging.getLogger(__name__)


class TensorRtEmbedder(Embedder):
    """A plan's engine on the GPU. Batches over the profile's maximum are split, those under its
    minimum padded.

    Raises ArtifactError, before any of the engine is touched, if it was built by another library or
    version or for another GPU, or if there is no GPU. Several threads may call `run`: they
    take turns.
    """

    def __init__(self, path: Path, plan: Plan, engine: bytes) -> None:
        super().__init__(path, plan.card)
        self._plan, self._lock = plan, Lock()
        self._library = _load_library(plan, path)
        device = Device()
        try:
            _check_gpu(self._library, device, plan, engine, path)
            self._engine = Engine(
                self._library,
                device,
                _deserialize(self._library, engine, path),
                plan.card,
                plan.profile,
            )
        except BaseException:
            device.release()
            raise
        self._where = device.gpu.name
        weakref.finalize(self, self._engine.close)

    @property
    def plan(self) -> Plan:
        """The plan's header."""
        return self._plan

    @property
    def runtime(self) -> str:
        """The library, its version and the GPU."""
        return f"{self._library.title} on {self._where}"

    def run(self, images: Images, camera: Cameras, present: Present) -> tuple[Embeddings, Tokens]:
        """The graph itself: see `Embedder.run`.

        Raises ArtifactError with the code `device` if GPU or driver fail.
        """
        with self._lock:
            return run_in_batches(
                self._forward, images, camera, present, self._plan.profile.maximum, padded=False
            )

    def _forward(
        self, images: Images, camera: Cameras, present: Present
    ) -> tuple[Embeddings, Tokens]:
        count = len(images)
        size = max(count, self._plan.profile.minimum)
        given: tuple[NDArray[Any], ...] = (images, camera, present)
        for name, values in zip(INPUTS, given, strict=True):
            rows = self._engine.rows(name)
            np.copyto(rows[:count], values, casting="safe")
            rows[count:size] = values[-1]
        self._engine.run(size)
        embedding, tokens = (self._engine.rows(name)[:count].copy() for name in OUTPUTS)
        return embedding, tokens


def load(file: Path, options: LoadOptions) -> TensorRtEmbedder:
    """Open a plan. Raises as `load_plan`, and ArtifactError for the provider `cpu`."""
    if options.provider == "cpu":
        raise ArtifactError(
            f"{file}: a TensorRT plan runs on a GPU only; for the CPU take the ONNX it was built"
            " from",
            "provider",
        )
    return load_plan(file)


def load_plan(path: Path) -> TensorRtEmbedder:
    """Open a plan on this process's GPU. Raises as `read_plan` and `TensorRtEmbedder`."""
    plan, engine = read_plan(path)
    embedder = TensorRtEmbedder(path, plan, engine)
    if not plan.verified:
        log.warning(
            "%s was never compared with its ONNX: run `trireid verify %s --against FILE.onnx`",
            path,
            path,
        )
    log.info("%s runs in %s", path, embedder.runtime)
    return embedder


def _load_library(plan: Plan, path: Path) -> Library:
    built = f"{TITLES.get(plan.library, plan.library)} {plan.version}"
    try:
        library = load_library(plan.library)
    except ArtifactError as error:
        raise ArtifactError(
            f"{path}: was built by {built}, but here {error.message}", os.fspath(path)
        ) from error
    if library.version != plan.version:
        raise ArtifactError(
            f"{path}: was built by {built}, here is {library.title}: plans fit one version; build"
            " it again from the ONNX",
            os.fspath(path),
        )
    return library


def _check_gpu(library: Library, device: Device, plan: Plan, engine: bytes, path: Path) -> None:
    if library.is_rtx:
        runtime = library.make("Runtime")
        validity, _ = runtime.get_engine_validity(engine)
        if validity == library.api.EngineValidity.INVALID:
            raise ArtifactError(
                f"{path}: does not run on this {device.gpu}: {library.complaint()}; build it again"
                " here, or take the ONNX",
                os.fspath(path),
            )
    elif plan.gpu != device.gpu:
        raise ArtifactError(
            f"{path}: was built for {plan.gpu}, here is {device.gpu}: build it again here from the"
            " ONNX",
            os.fspath(path),
        )


def _deserialize(library: Library, engine: bytes, path: Path) -> Any:
    deserialized = library.make("Runtime").deserialize_cuda_engine(engine)
    if deserialized is None:
        raise ArtifactError(
            f"{path}: {library.title} cannot load its engine: {library.complaint()}",
            os.fspath(path),
        )
    return deserialized
