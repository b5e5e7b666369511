"""`trireid serve`: become `bentoml serve` over the galleries named."""

from __future__ import annotations

import os
import socket
import sys

from trireid.samples import TrireidError
from trireid.serving.logs import set_up_logs
from trireid.serving.served_galleries import resolve_galleries
from trireid.serving.settings import (
    DEFAULT_ENVIRONMENT,
    ServerSettings,
    check_bentoml_home,
    check_temporary_folder,
)


def serve(settings: ServerSettings) -> int:
    """Replace this process by BentoML's server, so that signals reach it.

    Raises:
        TrireidError: these settings cannot be served.
    """
    set_up_logs(settings.log)
    check_temporary_folder()
    _check_free(settings.host, settings.port)
    check_bentoml_home()
    resolve_galleries(settings)
    command = [
        sys.executable,
        "-m",
        "bentoml",
        "serve",
        "trireid.serving.service:ReIDService",
        "--host",
        settings.host,
        "--port",
        str(settings.port),
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
