"""The content digest of an artifact: the weights and the card of an ONNX file are the ones that
were exported together.

SHA-256 over the card without its name, its measurements and the digest itself, and over every byte
of the file but the card. It finds damage, and a card that was put on other weights. It does not
make a stranger's file safe: whoever writes a whole file can also write its digest.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

from trireid.inference.card import METADATA_KEY, Card
from trireid.inference.digest_cache import remember_digest
from trireid.inference.embedded import DEFAULT_CONTENT
from trireid.inference.protobuf import Field, ProtobufError, iterate_fields
from trireid.samples import ArtifactError

#: What of the card may differ: what it is called, what was measured, and the digest itself.
_FREE: Final = ("name", "measured", "content")
_METADATA: Final = 14
_KEY: Final = 1
_MOST_FIELDS: Final = 100_000
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
    for card in _find_cards(file, size):
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
    recorded = card.content or DEFAULT_CONTENT.get(card.fingerprint, "")
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
            f"{name}: its weights, graph or card were changed after it was exported (content {found[:_SHOWN]}, recorded"
            f" {recorded[:_SHOWN]}); copy it again, or export it again with `trireid export onnx`",
            name,
        )


def _find_cards(file: BinaryIO, size: int) -> Sequence[Field]:
    found = []
    for count, field in enumerate(iterate_fields(file, 0, size)):
        if count == _MOST_FIELDS:
            raise ProtobufError(f"it has over {_MOST_FIELDS} fields")
        if field.number == _METADATA and _is_card(file, field):
            found.append(field)
    return found


def _is_card(file: BinaryIO, entry: Field) -> bool:
    keys = [
        field for field in iterate_fields(file, entry.start, entry.stop) if field.number == _KEY
    ]
    return bool(keys) and keys[-1].read(file) == METADATA_KEY.encode()


def _hash_range(digest: Any, file: BinaryIO, start: int, stop: int) -> None:
    file.seek(start)
    while start < stop and (part := file.read(min(_CHUNK, stop - start))):
        digest.update(part)
        start += len(part)
