"""Opening an artifact, whatever it is: the table of runtimes.

A new runtime is a module with `load(file, options) -> Embedder`, and a row of `RUNTIMES`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any, Final, NamedTuple

from trireid.inference.embedded import resolve_artifact
from trireid.inference.embedder import Embedder, LoadOptions
from trireid.inference.onnx_file import external_card_path, has_card
from trireid.inference.tensorrt.plan import is_plan
from trireid.samples import ArtifactError

#: Environment variables for what a caller leaves open: so that a server's processes, too, run as
#: asked.
PROVIDER: Final = "TRIREID_PROVIDER"
THREADS: Final = "TRIREID_THREADS"
CHECKPOINTS: Final = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")
_TORCH_SAVE: Final = (b"PK\x03\x04", b"\x80\x02")


def load_artifact(
    path: str | PathLike[str],
    threads: int | None = None,
    *,
    provider: str | None = None,
    config: str | PathLike[str] | Mapping[str, Any] | None = None,
    weights: str | None = None,
) -> Embedder:
    """Open a network in the runtime that fits its file.

    Args:
        path: An ONNX artifact; an external ONNX with its JSON card next to it; a TensorRT plan; a
            checkpoint; or the name of an embedded default, as in `person-tiny`.
        threads: Of a forward pass on the CPU; None takes TRIREID_THREADS, else leaves it to the
            runtime.
        provider: `cpu` or `cuda`; None takes the environment's TRIREID_PROVIDER, else the best
            there is.
        config: The training configuration of a checkpoint.
        weights: Which weights of a checkpoint that holds several, as in `ema`.

    Returns:
        An embedder: `.card` describes the network, `.embed(samples)` gives float32 [B, D],
        L2-normalised.

    Raises:
        ArtifactError: The file cannot be opened; for a checkpoint as `load_checkpoint`.
    """
    file = resolve_artifact(path)
    _check_file(file)
    options = LoadOptions(
        threads=_choose_threads(threads),
        provider=_choose_provider(provider),
        config=config,
        weights=weights,
    )
    embedder: Embedder = import_module(_choose_runtime(file, options).module).load(file, options)
    return embedder


def is_checkpoint(file: Path) -> bool:
    """Whether a file is a checkpoint: by its extension, or as `torch.save` begins one, of
    `model.pth.tar` say.
    """
    if file.suffix in CHECKPOINTS or not file.is_file():
        return file.suffix in CHECKPOINTS
    with file.open("rb") as opened:
        return opened.read(4).startswith(_TORCH_SAVE)


def _is_external(file: Path) -> bool:
    return external_card_path(file).is_file() and not has_card(file)


def _is_onnx(file: Path) -> bool:
    """Anything else: ONNX Runtime says what it is not."""
    return file.is_file()


class Runtime(NamedTuple):
    """One way to open a file.

    `opens`: whether it takes a file; `providers`: those it runs on; `module`: imported on use.
    """

    opens: Callable[[Path], bool]
    providers: tuple[str, ...]
    module: str


#: The first row that takes both file and provider opens the file.
RUNTIMES: Final = (
    Runtime(is_checkpoint, ("cuda", "cpu"), "trireid.inference.torch"),
    Runtime(is_plan, ("cuda",), "trireid.inference.tensorrt.runtime"),
    Runtime(_is_external, ("cuda", "cpu"), "trireid.inference.external"),
    Runtime(_is_onnx, ("cuda", "cpu"), "trireid.inference.onnx_runtime"),
)
PROVIDERS: Final = tuple(dict.fromkeys(each for row in RUNTIMES for each in row.providers))


def _choose_runtime(file: Path, options: LoadOptions) -> Runtime:
    """The row for a file; if none has the provider, the file's first row, which says so."""
    rows = [row for row in RUNTIMES if row.opens(file)]
    # a checkpoint or plan that is named as such is not tried as ONNX
    rows = [row for row in rows if row.opens is rows[0].opens]
    return next((row for row in rows if options.provider in (None, *row.providers)), rows[0])


def _check_file(file: Path) -> None:
    name = os.fspath(file)
    if not file.is_file():
        problem = "is a directory" if file.is_dir() else "does not exist"
        raise ArtifactError(f"{name}: {problem}; expected a network's file", name)
    if not file.stat().st_size:
        raise ArtifactError(f"{name}: is empty; export or copy it again", name)


def _choose_provider(asked: str | None) -> str | None:
    chosen = asked or os.environ.get(PROVIDER) or None
    if chosen not in (None, *PROVIDERS):
        raise ArtifactError(f"provider: {chosen!r} is not one of {', '.join(PROVIDERS)}", PROVIDER)
    return chosen


def _choose_threads(asked: int | None) -> int | None:
    chosen = asked if asked is not None else os.environ.get(THREADS) or None
    if chosen is None:
        return None
    if not str(chosen).isdecimal() or int(chosen) < 1:
        raise ArtifactError(f"threads: {chosen!r} is not a whole number from 1", THREADS)
    return int(chosen)
