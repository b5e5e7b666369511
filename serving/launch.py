"""`trireid serve`: become `bentoml serve` over the galleries named."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from samples import GalleryError, TrireidError
from serving.demo import ensure_demo_galleries
from serving.settings import GALLERIES


def serve(galleries: Sequence[Path], host: str, port: int) -> int:
    """Replace this process by BentoML's server, so that signals reach it; without galleries it serves the demo ones.

    Raises TrireidError for what cannot be served.
    """
    _check_free(host, port)
    folders = [Path(os.path.abspath(folder)) for folder in galleries or ensure_demo_galleries()]
    for folder in folders:
        if os.pathsep in str(folder):
            raise GalleryError(f"{folder}: a served gallery's path must not hold {os.pathsep!r}; rename a folder", str(folder))
    os.environ[GALLERIES] = os.pathsep.join(map(str, folders))
    # From where the rooms are, so that folders of the same names in the user's own are not taken for them.
    os.chdir(Path(__file__).resolve().parent.parent)
    command = [sys.executable, "-m", "bentoml", "serve", "serving.service:ReIDService", "--host", host, "--port", str(port)]
    sys.stdout.flush()
    os.execv(sys.executable, command)


def _check_free(host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except (OSError, OverflowError, UnicodeError) as error:
        raise TrireidError(f"port {port} on {host} cannot be used: {error}; choose another with --port", "port") from error
