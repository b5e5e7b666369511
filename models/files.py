"""Weights in files: read without running anything, whatever wraps them."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from trireid.models.file_kind import FileKind, recognize_file
from trireid.models.state import choose_state
from trireid.models.unpickle import ForbiddenGlobalError, WeightsUnpickler
from trireid.samples import CheckpointError

#: The most that the entries of an archive may hold unpacked, as a multiple of the file's size:
#: `torch.save` does not compress.
_UNPACKED: Final = 4
_SHARD: Final = re.compile(r"-\d+-of-(?P<count>\d+)\.")
_LITTLE: Final = b"little"


def read_weights(path: Path, chosen: str | None = None) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name.

    Nothing in the file is run. Wrapping mappings (`state_dict`, `model`, ...), prefixes that
    trainers leave (`module.`, `_orig_mod.`, ...) and counters are taken off; see
    `trireid.models.state`.

    Args:
        path: Of `torch.save`, in either of its forms, of pickle, or of safetensors, whatever its
            extension.
        chosen: Which set of weights, if the file holds several, as in `ema`.

    Raises:
        CheckpointError: the file holds no weights that can be read, or several sets and no
            `chosen`.
    """
    state = choose_state(read_content(path), path, chosen)
    held, size = sum(value.nbytes for value in state.values()), path.stat().st_size
    if held > _UNPACKED * size:
        raise CheckpointError(
            f"{path}: its tensors share storages, and would take {held} bytes for the file's "
            f"{size}; save them apart",
            os.fspath(path),
        )
    return state


def read_content(path: Path) -> Any:
    """Return all that a checkpoint holds: tensors, `trireid.models.unpickle.Array`, and plain
    values. Raises CheckpointError.
    """
    _refuse_shard(path)
    kind = recognize_file(path)
    if kind is FileKind.SAFETENSORS:
        return _read_safetensors(path)
    if kind is FileKind.TORCHSCRIPT:
        raise CheckpointError(
            f"{path}: a TorchScript archive, which carries code; save its weights alone, "
            f"torch.save(torch.jit.load({path.name!r}).state_dict(), FILE)",
            os.fspath(path),
        )
    try:
        with path.open("rb") as file:
            return {
                FileKind.ZIP: _read_zip,
                FileKind.LEGACY: _read_legacy,
                FileKind.PICKLE: _read_pickle,
            }[kind](file)
    except ForbiddenGlobalError as error:
        raise CheckpointError(
            f"{path}: cannot be read safely: it needs {error.name}, which could run code; save "
            "the weights alone, "
            "torch.save(model.state_dict(), FILE), where the file was made",
            os.fspath(path),
        ) from error
    except Exception as error:  # what a damaged pickle raises is not a closed list
        raise CheckpointError(
            f"{path}: not a checkpoint that can be read: it is cut short or damaged "
            f"({_describe(error)}); "
            "fetch or copy it again",
            os.fspath(path),
        ) from error


def _refuse_shard(path: Path) -> None:
    """Refuse a file that holds but a part of the weights, as Hugging Face's libraries write large
    ones.
    """
    part = _SHARD.search(path.name)
    if path.name.endswith(".index.json") or (part is not None and int(part["count"]) > 1):
        what = "one of several files" if part else "the index of several files"
        raise CheckpointError(
            f"{path}: {what} that hold the weights together; save them as one, "
            "safetensors.torch.save_file(model.state_dict(),"
            " FILE), where they were made",
            os.fspath(path),
        )


def _describe(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:120]


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: a safetensors file that is cut short or damaged ({_describe(error)}); fetch "
            "or copy it again",
            os.fspath(path),
        ) from error


def _read_zip(file: IO[bytes]) -> Any:
    with zipfile.ZipFile(file) as archive:
        infos = {info.filename: info for info in archive.infolist()}
        unpacked = sum(info.file_size for info in infos.values())
        size = os.fstat(file.fileno()).st_size
        if unpacked > _UNPACKED * size:
            raise ValueError(f"its {size} bytes unpack to {unpacked}")
        pickled = next(name for name in infos if name.endswith("data.pkl"))
        folder = pickled.removesuffix("data.pkl")
        if f"{folder}byteorder" in infos and archive.read(f"{folder}byteorder") != _LITTLE:
            raise ValueError("its numbers are big-endian")
        held: dict[str, Tensor] = {}

        def find(dtype: torch.dtype, key: str, count: int) -> Tensor:
            if key not in held:
                held[key] = _as_bytes(bytearray(archive.read(f"{folder}data/{key}")))
            return _first_numbers(held[key], dtype, count)

        with archive.open(pickled) as pickle_file:
            return WeightsUnpickler(pickle_file, find, _UNPACKED * size).load()


def _read_legacy(file: IO[bytes]) -> Any:
    """Return the content; storages follow the pickle, so they are allocated first and filled
    afterwards.
    """
    size = os.fstat(file.fileno()).st_size
    limit = _UNPACKED * size
    for _ in ("magic number", "protocol", "system"):
        WeightsUnpickler(file, _find_none, limit).load()
    held: dict[str, Tensor] = {}
    types: dict[str, torch.dtype] = {}

    def find(dtype: torch.dtype, key: str, count: int) -> Tensor:
        if key not in held:
            needed = sum(each.numel() for each in held.values()) + count * dtype.itemsize
            if needed > size:
                raise ValueError("its storages are larger than the file")
            held[key], types[key] = torch.empty(count * dtype.itemsize, dtype=torch.uint8), dtype
        return _first_numbers(held[key], dtype, count)

    content = WeightsUnpickler(file, find, limit).load()
    for key in WeightsUnpickler(file, _find_none, limit).load():
        storage = held[str(key)]
        count = int.from_bytes(file.read(8), "little")
        if count * types[str(key)].itemsize != storage.numel():
            raise ValueError(f"storage {key} has another length than its tensors")
        content_bytes = file.read(storage.numel())
        if len(content_bytes) != storage.numel():
            raise ValueError("it ends within a storage")
        if content_bytes:
            storage.copy_(_as_bytes(bytearray(content_bytes)))
    return content


def _read_pickle(file: IO[bytes]) -> Any:
    return WeightsUnpickler(file, _find_none, _UNPACKED * os.fstat(file.fileno()).st_size).load()


def _find_none(dtype: torch.dtype, key: str, count: int) -> Tensor:
    raise ValueError("it refers to a storage that it does not hold")


def _as_bytes(content: bytearray) -> Tensor:
    return (
        torch.frombuffer(content, dtype=torch.uint8)
        if content
        else torch.empty(0, dtype=torch.uint8)
    )


def _first_numbers(storage: Tensor, dtype: torch.dtype, count: int) -> Tensor:
    needed = count * dtype.itemsize
    if needed > storage.numel():
        raise ValueError("a storage is shorter than its tensors say")
    return storage[:needed].view(dtype)
