"""The audit: who searched, enrolled and removed what, and when. No pictures, no embeddings."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from samples import ConfigError
from serving.logs import event

#: Environment variable: the file to write to; without it the lines go to the log.
AUDIT: Final = "TRIREID_AUDIT"
#: Only the server's own user may read it.
_MODE: Final = 0o600


class Audit:
    """Lines of JSON, each written whole, also where several processes write to one file.

    Raises ConfigError where the file cannot be written.
    """

    def __init__(self, path: Path | None) -> None:
        self._file: int | None = None
        if path is not None:
            try:
                self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
            except OSError as error:
                raise ConfigError(f"{path}: the audit cannot be written: {error.strerror}", AUDIT) from error

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Audit:
        """The audit that the environment names."""
        path = environment.get(AUDIT)
        return cls(Path(path) if path else None)

    def write(self, action: str, *, durable: bool = False, **fields: Any) -> None:
        """Add a line; `durable`: it is on the disk on return. Raises OSError where it cannot be written."""
        if self._file is None:
            event(f"audit {action}", **fields)
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "action": action, **fields}, ensure_ascii=False, default=str) + "\n"
        os.write(self._file, line.encode("utf-8", "replace"))
        if durable:
            os.fsync(self._file)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
