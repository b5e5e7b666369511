"""Opening an artifact, whatever it is: the one door to every runtime.

Needs torch for checkpoints only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Final

from trireid.inference.embedder import Embedder
from trireid.inference.external import ExternalEmbedder, card_path
from trireid.inference.onnx_runtime import PROVIDERS, OnnxEmbedder, has_card, session
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
    """Open a network in the runtime that fits its file: `.card` says what it is, `.embed(samples)`
    gives float32 [B, D], L2-normalised.

    Args:
        path: An ONNX artifact; an external ONNX with its JSON card next to it; a TensorRT plan; or
            a checkpoint.
        threads: Of a forward pass on the CPU; None takes TRIREID_THREADS, else leaves it to the
            runtime.
        provider: `cpu` or `cuda`; None takes the environment's TRIREID_PROVIDER, else the best
            there is.
        config: The training configuration of a checkpoint.
        weights: Which weights of a checkpoint that holds several, as in `ema`.

    Raises:
        ArtifactError: the file cannot be opened; for a checkpoint as `load_checkpoint`.
    """
    file = Path(path)
    _check_file(file)
    provider, threads = _provider(provider), _threads(threads)
    if is_checkpoint(file):
        return _load_checkpoint(file, config, provider, weights)
    if is_plan(file):
        return _load_plan(file, provider)
    made = session(file, threads, provider)
    return (
        ExternalEmbedder(file, made)
        if not has_card(made) and card_path(file).is_file()
        else OnnxEmbedder(file, made)
    )


def is_checkpoint(file: Path) -> bool:
    """Whether a file is a checkpoint: by its extension, or as `torch.save` begins one, of
    `model.pth.tar` say.
    """
    if file.suffix in CHECKPOINTS or not file.is_file():
        return file.suffix in CHECKPOINTS
    with file.open("rb") as opened:
        return opened.read(4).startswith(_TORCH_SAVE)


def _load_checkpoint(
    file: Path,
    config: str | PathLike[str] | Mapping[str, Any] | None,
    provider: str | None,
    weights: str | None,
) -> Embedder:
    if config is None:
        raise ArtifactError(
            f"{file}: is a checkpoint; add its training configuration (--config YML), or export it once by"
            " `trireid export onnx` and give the ONNX file",
            "config",
        )
    from trireid.inference.torch import load_torch

    return load_torch(file, config, provider, weights)


def _load_plan(file: Path, provider: str | None) -> Embedder:
    if provider == "cpu":
        raise ArtifactError(
            f"{file}: a TensorRT plan runs on a GPU only; for the CPU take the ONNX it was built from",
            PROVIDER,
        )
    from trireid.inference.tensorrt.runtime import load_plan

    return load_plan(file)


def _check_file(file: Path) -> None:
    name = os.fspath(file)
    if not file.is_file():
        raise ArtifactError(
            f"{name}: {'is a directory' if file.is_dir() else 'does not exist'}; expected a network's file",
            name,
        )
    if not file.stat().st_size:
        raise ArtifactError(f"{name}: is empty; export or copy it anew", name)


def _provider(asked: str | None) -> str | None:
    chosen = asked or os.environ.get(PROVIDER) or None
    if chosen not in (None, *PROVIDERS):
        raise ArtifactError(f"provider: {chosen!r} is not one of {', '.join(PROVIDERS)}", PROVIDER)
    return chosen


def _threads(asked: int | None) -> int | None:
    chosen = asked if asked is not None else os.environ.get(THREADS) or None
    if chosen is None:
        return None
    if not str(chosen).isdecimal() or int(chosen) < 1:
        raise ArtifactError(f"threads: {chosen!r} is not a whole number from 1", THREADS)
    return int(chosen)
