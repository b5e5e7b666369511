"""Which form a file of weights has, by its first bytes; a file that holds none is named for what it
is.
"""

from __future__ import annotations

import os
import zipfile
from enum import Enum
from pathlib import Path
from typing import Final

from trireid.samples import CheckpointError
from trireid.samples.files import open_regular


class FileKind(Enum):
    """The forms that weights are read from."""

    ZIP = "torch.save"
    LEGACY = "torch.save before PyTorch 1.6"
    PICKLE = "a plain pickle"
    SAFETENSORS = "safetensors"
    TORCHSCRIPT = "TorchScript"


_HEAD: Final = 512
_LEGACY: Final = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e"
_ZIP: Final = b"PK\x03\x04"
_PICKLE: Final = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))
#: The longest header that safetensors allows.
_SAFETENSORS_HEADER: Final = 100_000_000
#: First bytes, and what a file is that begins with them.
_OTHERS: Final = (
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the file it points to; fetch it with `git lfs pull`",
    ),
    (
        b"/annex/objects/",
        "a git-annex pointer, not the file it points to; fetch it with `git annex get`",
    ),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"BZh", "a bzip2 archive; unpack it first"),
    (b"\xfd7zXZ", "an xz archive; unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it first"),
    (b"Rar!", "a rar archive; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive; unpack it first"),
    (b"\x89HDF", "an HDF5 file (Keras); this needs PyTorch weights"),
    (b"\x93NUMPY", "one NumPy array, not weights by name"),
    (b"GGUF", "a GGUF file; this needs PyTorch weights"),
    (b"ftrt", "a TensorRT plan; it needs no checkpoint"),
    (b"ptrt", "a TensorRT plan; it needs no checkpoint"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG", "a PNG image"),
    (b"%PDF", "a PDF document"),
)
_PAGE: Final = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<script", b"<body")
_ALONE: Final = (
    "save the weights alone, torch.save(model.state_dict(), FILE), where the file was made"
)


def recognize_file(path: Path) -> FileKind:
    """Return the form of a file of weights, whatever its extension.

    Raises:
        CheckpointError: the file is absent, cut short, or of another kind, which the message names.
    """
    head = _read_head(path)
    if head.startswith(_ZIP):
        return _recognize_zip(path)
    if head.startswith(_LEGACY):
        return FileKind.LEGACY
    if head.startswith(_PICKLE):
        return FileKind.PICKLE
    header = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and 2 <= header <= _SAFETENSORS_HEADER:
        return FileKind.SAFETENSORS
    raise _reject(path, _name_other(head))


def _read_head(path: Path) -> bytes:
    if not path.exists() or path.is_dir():
        what = "is a directory" if path.is_dir() else "does not exist"
        raise CheckpointError(f"{path}: {what}; expected a checkpoint file", os.fspath(path))
    try:
        with open_regular(path) as file:
            return file.read(_HEAD)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read: {error.strerror}", os.fspath(path)
        ) from error


def _recognize_zip(path: Path) -> FileKind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        what = (
            "a zip that is cut short or damaged, as a broken download leaves it; fetch or copy "
            "it again"
        )
        raise _reject(path, what) from error
    last = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in last or any("/code/" in name for name in names):
        return FileKind.TORCHSCRIPT
    if "data.pkl" in last:
        return FileKind.ZIP
    if any(name.endswith(".npy") for name in names):
        raise _reject(path, f"an archive of NumPy arrays (npz); {_ALONE}")
    shown = ", ".join(sorted(names)[:3])
    raise _reject(
        path, f"a zip archive without weights of torch.save in it ({shown}); unpack it first"
    )


def _name_other(head: bytes) -> str:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head:
        return "it is empty (0 bytes); copy or download it again"
    if start[:16].lower().startswith(_PAGE):
        return (
            "it is a web page (HTML), as a download behind a login or a warning leaves it; "
            "download the file itself"
        )
    for magic, words in _OTHERS:
        if start.startswith(magic) or head.startswith(magic):
            return f"it is {words}"
    if head[257:262] == b"ustar":
        return f"it is a tar archive, as PyTorch wrote before 0.1.10, or of several files; {_ALONE}"
    if head[:1] == b"\x08" and head[2:3] in (b"\x12", b"\x1a", b"\x22", b"\x32", b"\x3a", b"\x42"):
        return "it is an ONNX network; it is exported already, and needs no training configuration"
    if start and start.isascii() and all(byte >= 9 for byte in start):
        return f"it is a text, beginning {start[:24].decode('ascii').splitlines()[0]!r}"
    return (
        "its first bytes are of no kind that is known: it is damaged, or not of PyTorch or "
        "safetensors"
    )


def _reject(path: Path, what: str) -> CheckpointError:
    what = what if what.startswith(("it is", "its ")) else f"it is {what}"
    return CheckpointError(f"{path}: not a checkpoint: {what}", os.fspath(path))
