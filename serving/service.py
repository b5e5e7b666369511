"""The BentoML service: `bentoml serve` finds it through bentofile.yaml.

Serves the galleries that the environment names, or the demo galleries, which it makes where they
are absent. Bad settings end it with one line.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from functools import partial
from typing import Final, NoReturn

import bentoml

from trireid.inference.installation import find_conflicts
from trireid.samples import TrireidError
from trireid.samples.printable import printable
from trireid.serving.access import TOKENS, TOKENS_FILE
from trireid.serving.access_control import AccessControl, load_tokens
from trireid.serving.app import create_app
from trireid.serving.audit import Audit
from trireid.serving.auth_middleware import AuthMiddleware
from trireid.serving.gallery_service import GalleryService, check_galleries
from trireid.serving.http_protocol import use_bounded_http
from trireid.serving.logs import event, log, set_up_logs
from trireid.serving.metrics import Metrics, share_metrics
from trireid.serving.reload import accept_reloads, call_on_reload
from trireid.serving.served_galleries import resolve_galleries
from trireid.serving.settings import (
    DEFAULT_ENVIRONMENT,
    check_temporary_folder,
    list_unknown_variables,
    load_settings,
)
from trireid.serving.supervisor import become_supervisor, end_with_supervisor, supervise_privately

#: BentoML's own deadline answers in another form, and must come later than ours.
_LONGER: Final = 60
#: Open files that a process asks for.
_FILES: Final = 65_536


def _refuse(error: TrireidError) -> NoReturn:
    sys.stderr.write(f"trireid: {printable(error.message)}\n")
    sys.stderr.flush()
    sys.exit(2)


def _connections() -> int:
    """How many connections a process may hold: open files are for galleries, too."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = settings.connections
    return most if soft == resource.RLIM_INFINITY else min(most, soft // 2)


# for the worker processes, which start after this
for name, value in DEFAULT_ENVIRONMENT.items():
    os.environ.setdefault(name, value)
try:
    settings = load_settings()
    tokens = load_tokens(settings)
    audit = Audit(settings.audit)
    check_temporary_folder()
    set_up_logs(settings.log)
except TrireidError as error:
    _refuse(error)
supervise_privately()
use_bounded_http(head_seconds=settings.head_seconds, max_connections=_connections())
access = AccessControl(tokens, settings)
app = create_app(settings, audit, access)
metrics = Metrics()
app.state.metrics = app.state.admission.metrics = metrics


@bentoml.asgi_app(app, path="/")
@bentoml.service(
    name="trireid",
    http={"host": settings.host, "port": settings.port},
    workers=settings.workers,
    # Deadlines, logs and metrics are our own: BentoML's cost time with each request, and its
    # metrics keep a series for each path that a stranger makes up.
    traffic={"timeout": settings.body_seconds + settings.deadline + _LONGER},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
    metrics={"enabled": False},
)
class ReIDService:
    """Multi-modal re-identification: who or what is this, and where else was it seen?"""

    def __init__(self) -> None:
        """Open what is served."""
        end_with_supervisor()
        call_on_reload(partial(access.reload, partial(load_tokens, settings)))
        accept_reloads()
        try:
            app.state.galleries = self.galleries = GalleryService(
                settings.galleries, settings, metrics
            )
        except TrireidError as error:
            _stop(error)
        event(
            "ready",
            galleries=",".join(self.galleries.galleries),
            tokens=len(tokens.tokens),
            worker=os.getpid(),
        )

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def before() -> None:
        """Once, before any process serves: say what is wrong, and who may ask."""
        for conflict in find_conflicts():
            log.warning(conflict)
        share_metrics()
        become_supervisor()
        _allow_connections()
        for variable in list_unknown_variables():
            log.warning("%s is not a setting, and has no effect", variable)
        try:
            # read again: BentoML imports a bento in the bento's folder, and paths are from here
            check_galleries(resolve_galleries(load_settings()))
        except TrireidError as error:
            _refuse(error)
        _log_access()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """Close the galleries."""
        self.galleries.close()


ReIDService.add_asgi_middleware(  # type: ignore[attr-defined]
    AuthMiddleware, app=app, metrics=metrics, root_path=settings.root_path
)


def _allow_connections() -> None:
    """Let the processes that are started hold as many connections as they may: one that never ends
    its request costs one.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _log_access() -> None:
    if not tokens.is_empty:
        event("asks for a token", tokens=len(tokens.tokens))
    elif settings.open:
        log.warning(
            "OPEN TO EVERYBODY: TRIREID_OPEN is set and there are no tokens. All who reach this"
            " address can search, enroll and remove; name a file of tokens in %s",
            TOKENS_FILE,
        )
    else:
        event(
            "no tokens: answers requests from this machine alone; for others set"
            f" {TOKENS_FILE} or {TOKENS}"
        )


def _stop(error: TrireidError) -> NoReturn:
    """End the whole server: its parent would start this process again and again."""
    sys.stderr.write(f"trireid: {printable(error.message)}\n")
    sys.stderr.flush()
    os.kill(os.getppid(), signal.SIGTERM)
    os._exit(2)
