"""The file of a built engine: what it is and where it runs, as JSON, then the engine's own bytes.

`TRIPLAN1`, the SHA-256 of the header, the header's length (8 bytes, little-endian), the header, the
engine. An engine is code that the GPU runs: the sums find damage, they do not make a stranger's
plan safe to load.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from trireid.inference.card import Card
from trireid.samples import ArtifactError
from trireid.samples.atomic_write import write_atomic

MAGIC: Final = b"TRIPLAN1"
SUFFIXES: Final = (".plan", ".engine", ".trt")
_FRONT: Final = struct.Struct("<8s32sQ")
_LONGEST_HEADER: Final = 1 << 24
_AGAIN: Final = "copy it again, or build it again with `trireid export tensorrt`"


@dataclass(frozen=True)
class Gpu:
    """A GPU: its name, and its compute capability as in `8.6`."""

    name: str
    capability: str

    def __str__(self) -> str:
        return f"{self.name} (compute capability {self.capability})"


@dataclass(frozen=True)
class Profile:
    """Batch sizes an engine was built for: it runs from `minimum` to `maximum`, and is fastest at
    `optimum`.
    """

    minimum: int
    optimum: int
    maximum: int

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= self.optimum <= self.maximum:
            raise ArtifactError(
                f"batch: {self} is not a profile; give MIN,OPT,MAX with 1 <= MIN <= OPT <= MAX, as"
                " in 1,8,32",
                "batch",
            )

    def __str__(self) -> str:
        return f"{self.minimum},{self.optimum},{self.maximum}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The header of a plan.

    `card`: of the ONNX artifact it was built from, its fingerprint with it; `library`: the module
    that built it, `tensorrt` or `tensorrt_rtx`, in `version`; `gpu`: the one it was built for, None
    for every GPU that TensorRT-RTX knows; `verified`: whether it has been compared with that ONNX
    on a GPU; `measured`: the figures, of plans of earlier versions.
    """

    card: Card
    library: str
    version: str
    gpu: Gpu | None
    profile: Profile
    verified: bool
    measured: Mapping[str, Any] = field(default_factory=dict)


def write_plan(path: Path, plan: Plan, engine: bytes) -> None:
    """Write a plan, whole or not at all. Raises as `write_atomic`."""
    about = {"bytes": len(engine), "sha256": hashlib.sha256(engine).hexdigest()}
    values = {**asdict(plan), "card": json.loads(plan.card.to_json()), "engine": about}
    header = json.dumps(values, sort_keys=True).encode()
    front = _FRONT.pack(MAGIC, hashlib.sha256(header).digest(), len(header))
    write_atomic(path, front, header, engine)


def is_plan(path: Path) -> bool:
    """Whether a file is a plan of ours by its first bytes, or an engine by its name."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC or path.suffix in SUFFIXES


def read_plan(path: Path) -> tuple[Plan, bytes]:
    """Read the header and the engine.

    Raises ArtifactError for a file that is not a plan, cut off or damaged; never asks for a GPU.
    """
    name = os.fspath(path)
    with path.open("rb") as file:
        values = _read_header(file, name)
        engine = file.read()
    about = values.pop("engine", {})
    if len(engine) != about.get("bytes"):
        raise ArtifactError(
            f"{name}: is cut off or has grown ({len(engine)} of {about.get('bytes')} bytes);"
            f" {_AGAIN}",
            name,
        )
    if hashlib.sha256(engine).hexdigest() != about.get("sha256"):
        raise ArtifactError(f"{name}: is damaged, its checksum does not hold; {_AGAIN}", name)
    return _make_plan(values, name), engine


def _read_header(file: BinaryIO, name: str) -> dict[str, Any]:
    front = file.read(_FRONT.size)
    if not front.startswith(MAGIC):
        raise ArtifactError(
            f"{name}: not a plan of `trireid export tensorrt` (a bare TensorRT engine carries no"
            " card: build it from the ONNX)",
            name,
        )
    if len(front) < _FRONT.size:
        raise ArtifactError(f"{name}: is cut off in its header; {_AGAIN}", name)
    _, digest, length = _FRONT.unpack(front)
    text = file.read(min(length, _LONGEST_HEADER))
    if hashlib.sha256(text).digest() != digest:
        raise ArtifactError(f"{name}: is cut off or damaged in its header; {_AGAIN}", name)
    values: dict[str, Any] = json.loads(text)
    return values


def _make_plan(values: dict[str, Any], name: str) -> Plan:
    try:
        card = Card.from_json(json.dumps(values.pop("card")), name)
        gpu = values.pop("gpu")
        return Plan(
            card=card, gpu=gpu and Gpu(**gpu), profile=Profile(**values.pop("profile")), **values
        )
    except (KeyError, TypeError) as error:
        raise ArtifactError(
            f"{name}: its header is that of another trireid ({error}); {_AGAIN}", name
        ) from error
