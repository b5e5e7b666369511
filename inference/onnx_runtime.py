"""ONNX artifacts in ONNX Runtime, on the CPU or on CUDA."""

from __future__ import annotations

import logging
import os
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trireid.inference.card import INNER_STAGES, INPUTS, METADATA_KEY, OUTPUTS, Card, interface
from trireid.inference.content import check_content, read_figures
from trireid.inference.embedder import (
    Cameras,
    Embedder,
    Embeddings,
    Images,
    LoadOptions,
    Present,
    Tokens,
    iterate_batches,
    run_in_batches,
)
from trireid.samples import ArtifactError

_TELEMETRY: Final = "ORT_DISABLE_TELEMETRY"


@contextmanager
def _disable_telemetry() -> Iterator[None]:
    """Set a variable that ONNX Runtime reads once, when it is imported: unset, it reports usage."""
    is_set = _TELEMETRY in os.environ
    os.environ.setdefault(_TELEMETRY, "1")
    try:
        yield
    finally:
        if not is_set:
            del os.environ[_TELEMETRY]


with _disable_telemetry():
    import onnxruntime

#: A caller's name of a provider, and ONNX Runtime's; the first that works is taken.
PROVIDERS: Final = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}
#: The stage of each output of the graph.
_STAGES: Final = {
    "embedding": "embedding",
    "tokens": "selected_patches",
    **{value: name for name, value in INNER_STAGES.items()},
}
#: ONNX Runtime's names of the types.
_TYPE_NAMES: Final = {
    np.uint8: "tensor(uint8)",
    np.int64: "tensor(int64)",
    np.bool_: "tensor(bool)",
    np.float32: "tensor(float)",
}
_ERRORS_ONLY: Final = 3

log = logging.getLogger(__name__)


class SessionEmbedder(Embedder):
    """A graph in a session of ONNX Runtime; a subclass runs one batch of it in `_forward`.

    Args:
        session: Of `open_session`.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        batch = session.get_inputs()[0].shape[0]
        self._fixed: int | None = batch if isinstance(batch, int) else None

    @property
    def runtime(self) -> str:
        """ONNX Runtime, its version and the device."""
        return _describe_session(self._session)

    def run(self, images: Images, camera: Cameras, present: Present) -> tuple[Embeddings, Tokens]:
        """Run the graph: see `Embedder.run`.

        A graph of a fixed batch takes any number of samples, too.
        """
        if self._fixed is None:
            return self._forward(images, camera, present)
        return run_in_batches(self._forward, images, camera, present, self._fixed, padded=True)

    @abstractmethod
    def _forward(
        self, images: Images, camera: Cameras, present: Present
    ) -> tuple[Embeddings, Tokens]: ...


class OnnxEmbedder(SessionEmbedder):
    """An ONNX artifact in ONNX Runtime.

    Raises:
        ArtifactError: The file is not an artifact, or was changed after it was exported.
    """

    def __init__(self, path: Path, session: Any) -> None:
        super().__init__(session)
        self._staged: Any = None
        text = _read_card(session, path)
        card = Card.from_json(text, os.fspath(path))
        _check_interface(session, card, path)
        check_content(path, text, card)
        measured = {**card.measured, **read_figures(path, card)}
        self.path, self.card = path, replace(card, name=card.name or path.stem, measured=measured)

    def stages(self, images: Images, camera: Cameras, present: Present) -> dict[str, NDArray[Any]]:
        """Return every stage: see `Embedder.stages`.

        Needs the package onnx, to make the inner ones outputs.
        """
        if self._staged is None:
            self._staged = _open_staged(self.path, self._session)
        parts = []
        for rows, used in iterate_batches(
            len(images), self._fixed or len(images), padded=self._fixed is not None
        ):
            feeds = {"images": images[rows], "camera": camera[rows], "present": present[rows]}
            parts.append([value[:used] for value in self._staged.run(None, feeds)])
        names = [_STAGES[each.name] for each in self._staged.get_outputs()]
        return {
            name: np.concatenate(values)
            for name, values in zip(names, zip(*parts, strict=True), strict=True)
        }

    def _forward(
        self, images: Images, camera: Cameras, present: Present
    ) -> tuple[Embeddings, Tokens]:
        embedding, tokens = self._session.run(
            None, {"images": images, "camera": camera, "present": present}
        )
        return embedding, tokens


def open_session(path: Path, threads: int | None = None, provider: str | None = None) -> Any:
    """Open a session of ONNX Runtime on a file.

    Args:
        path: An ONNX file.
        threads: How many a forward pass may use on the CPU; None leaves it to the runtime.
        provider: `cpu` or `cuda`; None takes CUDA if there is one.

    Raises:
        ArtifactError: The file is not ONNX, or the provider is not available.
    """
    name = os.fspath(path)
    wanted = _choose_providers(name, provider)
    try:
        session = onnxruntime.InferenceSession(
            name, _make_options(threads), providers=[PROVIDERS[each] for each in wanted]
        )
    except (
        Exception
    ) as error:  # ONNX Runtime raises its own classes, which share no base but Exception
        raise ArtifactError(
            f"{name}: not an ONNX file that ONNX Runtime can open ({first_line(error)})", name
        ) from error
    got = session.get_providers()[0]
    # ONNX Runtime falls back to the CPU where CUDA's libraries or a GPU are missing
    if got != PROVIDERS[wanted[0]]:
        if provider is not None:
            raise ArtifactError(
                f"{name}: CUDA finds no GPU, or lacks its libraries; take provider cpu", "provider"
            )
        log.warning(
            "%s runs on the CPU: this ONNX Runtime knows CUDA, but finds no GPU or lacks its"
            " libraries",
            name,
        )
    log.info("%s runs in %s", name, _describe_session(session))
    return session


def load(file: Path, options: LoadOptions) -> OnnxEmbedder:
    """Open an ONNX artifact. Raises as `open_session` and `OnnxEmbedder`."""
    return OnnxEmbedder(file, open_session(file, options.threads, options.provider))


def _describe_session(session: Any) -> str:
    device = session.get_providers()[0].removesuffix("ExecutionProvider")
    return f"ONNX Runtime {onnxruntime.__version__} on {device}"


def _choose_providers(name: str, provider: str | None) -> Sequence[str]:
    there = [
        each
        for each, official in PROVIDERS.items()
        if official in onnxruntime.get_available_providers()
    ]
    if provider is None:
        return there
    if provider not in there:
        raise ArtifactError(
            f"{name}: provider {provider} is not available; this ONNX Runtime has"
            f" {', '.join(there)} (CUDA comes with trireid's extra gpu)",
            "provider",
        )
    return [provider]


def _open_staged(path: Path, session: Any) -> Any:
    """A session like the given one, whose outputs are all the stages that the graph names, and
    which rounds float16 on a CPU, too.
    """
    import onnx

    from trireid.inference.fp16_emulation import REMOVER, emulate_fp16

    model = emulate_fp16(onnx.load(path))
    known = {name for node in model.graph.node for name in node.output}
    for value in INNER_STAGES.values():
        if value in known:
            info = onnx.helper.make_tensor_value_info(value, onnx.TensorProto.FLOAT, None)
            model.graph.output.append(info)
    return onnxruntime.InferenceSession(
        model.SerializeToString(),
        _make_options(session.get_session_options().intra_op_num_threads),
        providers=session.get_providers(),
        disabled_optimizers=[REMOVER],
    )


def _make_options(threads: int | None) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    # Threads of the runtime that spin while they wait take the cores from decoding, and from
    # other forward passes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None:
        options.intra_op_num_threads = threads
    return options


def _check_interface(session: Any, card: Card, path: Path) -> None:
    given, wanted = (session.get_inputs(), session.get_outputs()), interface(card)
    names = tuple({each.name for each in part} for part in given)
    if names != (set(INPUTS), set(OUTPUTS)) or not all(
        _fits(each, *wanted[each.name]) for part in given for each in part
    ):
        raise ArtifactError(
            f"{path}: carries a card, but its graph is not that of an artifact with this card;"
            " export it again",
            os.fspath(path),
        )


def _fits(given: Any, shape: tuple[int, ...], dtype: type[np.generic]) -> bool:
    """Whether an input or output of a graph is of this type and, but for the batch and free
    dimensions, of this shape.
    """
    rest = given.shape[1:]
    sizes = len(rest) == len(shape) and all(
        has == want for has, want in zip(rest, shape, strict=True) if isinstance(has, int)
    )
    return sizes and given.type == _TYPE_NAMES[dtype]


def _read_card(session: Any, path: Path) -> str:
    text: str | None = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise ArtifactError(
            f"{path}: an ONNX file without a card; export it with `trireid export onnx`, or"
            f" describe it in {path.stem}.json next to it (see docs/external.md)",
            os.fspath(path),
        )
    return text


def first_line(error: Exception) -> str:
    """Return the message of ONNX Runtime on one line of bounded length."""
    return str(error).strip().split("\n")[0][:200]
