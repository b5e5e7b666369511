"""`trireid serve`: become `bentoml serve` over the galleries named."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from trireid.samples import TrireidError
from trireid.serving.access import TOKENS_FILE
from trireid.serving.audit import AUDIT
from trireid.serving.logs import set_up_logs
from trireid.serving.served_galleries import resolve_galleries
from trireid.serving.settings import (
    DEFAULT_ENVIRONMENT,
    ROOT_PATH,
    check_bentoml_home,
    check_temporary_folder,
    make_absolute,
    root_path,
)


def serve(galleries: Sequence[Path], host: str, port: int, prefix: str | None = None) -> int:
    """Replace this process by BentoML's server, so that signals reach it; without galleries it
    serves the demo ones.

    `prefix`: of the path of each request, where a proxy does not strip it. Raises TrireidError for
    what cannot be served.
    """
    set_up_logs()
    if prefix is not None:
        os.environ[ROOT_PATH] = prefix
    root_path()
    check_temporary_folder()
    _check_free(host, port)
    check_bentoml_home()
    resolve_galleries(galleries)
    make_absolute(TOKENS_FILE, AUDIT)
    command = [
        sys.executable,
        "-m",
        "bentoml",
        "serve",
        "trireid.serving.service:ReIDService",
        "--host",
        host,
        "--port",
        str(port),
    ]
    sys.stdout.flush()
    # a folder of the user's is not imported in place of a package
    environment = {**DEFAULT_ENVIRONMENT, "PYTHONSAFEPATH": "1", **os.environ}
    os.execve(sys.executable, command, environment)


def _check_free(host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except (OSError, OverflowError, UnicodeError) as error:
        raise TrireidError(
            f"port {port} on {host} cannot be used: {error}; choose another with --port", "port"
        ) from error
