"""The supervisor of the worker processes: BentoML's (circus), without a way in from outside.

BentoML gives circus two TCP ports of 127.0.0.1 without authentication, and any process that
connects can have it start programs. Here its endpoints exist inside the process alone. It also
closes its copy of the listening socket before the workers stop, so that no connection is left to be
reset, and passes SIGHUP on to them.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import sys
import tempfile
import uuid
from typing import Any, Final

import uvicorn
from bentoml._internal.utils import circus as bentoml_circus

#: Environment variable: the supervisor's process, for its workers.
_SUPERVISOR: Final = "TRIREID_SUPERVISOR"
_PR_SET_PDEATHSIG: Final = 1
_CHECK_SECONDS: Final = 10


class PrivateArbiter(bentoml_circus.Arbiter):  # type: ignore[misc]
    """circus' arbiter that no other process can send commands to."""

    def __init__(self, watchers: list[Any], **options: Any) -> None:
        for watcher in watchers:
            watcher.send_hup = True  # SIGHUP: workers reload what they read, and are not restarted
            watcher.stop_children = False  # a worker ends its own, once its requests are answered
        super().__init__(watchers, **_create_endpoints(options), **options)

    def stop(self) -> Any:
        """Stop listening, then the workers."""
        self.sockets.close_all()
        return super().stop()


def _create_endpoints(options: dict[str, Any]) -> dict[str, str]:
    """Endpoints within this process; with plugins, which are processes, in a folder."""
    names = {"endpoint": "control", "pubsub_endpoint": "events"}
    if options.get("plugins"):
        folder = tempfile.mkdtemp(prefix="trireid-")
        return {option: f"ipc://{folder}/{name}" for option, name in names.items()}
    unique = uuid.uuid4().hex
    return {option: f"inproc://{name}-{unique}" for option, name in names.items()}


def _create_arbiter(watchers: list[Any], *, threaded: bool = False, **options: Any) -> Any:
    """Create what BentoML's `create_standalone_arbiter` does, without TCP endpoints."""
    if threaded:
        raise RuntimeError("trireid is served by processes of its own, not by a thread")
    return PrivateArbiter(
        watchers, check_delay=options.pop("check_delay", _CHECK_SECONDS), **options
    )


class DrainingServer(uvicorn.Server):
    """uvicorn's server, which accepts every connection that waits before it stops listening."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept what waits, then stop as uvicorn does."""
        for listener in sockets or []:
            await self._accept_waiting(listener)
        await super().shutdown(sockets)

    async def _accept_waiting(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        with contextlib.suppress(OSError):  # BlockingIOError: none is left
            while True:
                connection, _ = listener.accept()
                connection.setblocking(False)
                await loop.connect_accepted_socket(self._create_protocol, connection)

    def _create_protocol(self) -> asyncio.Protocol:
        protocol: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol


def supervise_privately() -> None:
    """Make BentoML start its supervisor without TCP endpoints, and workers that drain.

    Call it before BentoML creates either: when it imports the service.
    """
    if not hasattr(bentoml_circus, "create_standalone_arbiter"):
        raise RuntimeError("this BentoML starts its processes in a way that trireid does not know")
    bentoml_circus.create_standalone_arbiter = _create_arbiter
    uvicorn.Server = DrainingServer  # type: ignore[misc]


def become_supervisor() -> None:
    """Tell the workers, which are started after this, whose they are."""
    os.environ[_SUPERVISOR] = str(os.getpid())


def end_with_supervisor() -> None:
    """Have the kernel send SIGTERM to this worker when its supervisor is gone, however it ends."""
    supervisor = os.environ.get(_SUPERVISOR)
    if sys.platform != "linux" or supervisor is None:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(supervisor):  # it was gone before the kernel knew
        os.kill(os.getpid(), signal.SIGTERM)
