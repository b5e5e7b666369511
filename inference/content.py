"""The content digest of an artifact: the weights and the card of an ONNX file are the ones that
were exported together; and the figures of its export, which stand next to it.

SHA-256 over the card without its name, its measurements and the digest itself, and over every byte
of the file but the card. It finds damage, and a card that was put on other weights. It does not
make a stranger's file safe: a person who writes a whole file can also write its digest.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any, BinaryIO, Final

from trireid.inference.card import Card
from trireid.inference.digest_cache import remember_digest
from trireid.inference.embedded import find_content
from trireid.inference.onnx_file import ProtobufError, find_cards
from trireid.samples import ArtifactError
from trireid.samples.files import MAX_TEXT_BYTES, read_regular

#: Keys of the card that may differ: the name, the figures, and the digest itself.
_FREE: Final = ("name", "measured", "content")
_CHUNK: Final = 1 << 20
_SHOWN: Final = 12

log = logging.getLogger(__name__)


def compute_content(file: BinaryIO, text: str) -> str:
    """Compute the content digest of an ONNX file with this card.

    Args:
        file: The file, open for reading.
        text: Its card, JSON.

    Raises:
        ProtobufError: the file is not protobuf, or is cut off.
    """
    values: dict[str, Any] = json.loads(text)
    fixed = {name: value for name, value in values.items() if name not in _FREE}
    digest = hashlib.sha256(json.dumps(fixed, sort_keys=True).encode())
    size = file.seek(0, os.SEEK_END)
    start = 0
    for card in find_cards(file, size):
        _hash_range(digest, file, start, card.begin)
        start = card.stop
    _hash_range(digest, file, start, size)
    return digest.hexdigest()


def check_content(path: Path, text: str, card: Card) -> None:
    """Check that an artifact's file is the one that its card was made for.

    Artifacts of versions that recorded no digest pass, but for the embedded defaults, whose digests
    are known.

    Raises:
        ArtifactError: it is not.
    """
    recorded = card.content or find_content(card.fingerprint)
    if not recorded:
        log.info("%s: carries no content digest; export it again to have its weights checked", path)
        return
    name = os.fspath(path)

    def compute() -> str:
        with path.open("rb") as file:
            return compute_content(file, text)

    try:
        found = remember_digest("content", [path], compute)
    except (OSError, ProtobufError) as error:
        raise ArtifactError(f"{name}: its content cannot be read: {error}", name) from error
    if found != recorded:
        raise ArtifactError(
            f"{name}: its weights, graph or card were changed after it was exported (content"
            f" {found[:_SHOWN]}, recorded {recorded[:_SHOWN]}); copy it again, or export it again"
            " with `trireid export onnx`",
            name,
        )


def report_path(artifact: Path) -> Path:
    """Return the file of an export's report: next to the artifact or plan."""
    stem = artifact.stem if artifact.suffix == ".onnx" else artifact.name
    return artifact.with_name(f"{stem}.report.json")


def read_figures(path: Path, card: Card) -> dict[str, Any]:
    """Read the figures of an export from the report next to an artifact.

    Args:
        path: The artifact.
        card: Its card; the report counts if it names the card's content digest.

    Returns:
        `{"against_fp32": ...}`, or nothing.
    """
    try:
        report = json.loads(read_regular(report_path(path), MAX_TEXT_BYTES))
        is_its_own = bool(card.content) and report["artifact"]["content"] == card.content
        figures = report["figures"]
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return {}
    return {"against_fp32": figures} if is_its_own and isinstance(figures, dict) else {}


def _hash_range(digest: Any, file: BinaryIO, start: int, stop: int) -> None:
    file.seek(start)
    while start < stop and (part := file.read(min(_CHUNK, stop - start))):
        digest.update(part)
        start += len(part)
