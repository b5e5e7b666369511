"""Whether a request may do what it asks for: its token, or without tokens where it comes from; and
how often.

Without tokens a server answers only requests that come from its own machine and were meant for it:
a page of another site that a browser on this machine shows cannot ask it anything, whatever name it
gives to the address, and neither can a client behind a proxy.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from trireid.samples.errors import (
    ConfigError,
    ForbiddenError,
    GalleryError,
    RateLimitError,
    UnauthorizedError,
    UnknownGalleryError,
)
from trireid.serving.access import ANONYMOUS, LOCAL_USER, Principal, Scope, TokenStore, has_expired
from trireid.serving.logs import event, log
from trireid.serving.rate import RateLimit
from trireid.serving.settings import MetricsAccess, ServerSettings

#: Key of a request's principal in its ASGI scope.
PRINCIPAL: Final = "trireid.principal"
_LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
#: Headers that proxies add.
_PROXIED: Final = re.compile(
    r"via|forwarded|cdn-loop|(.*-)?client-?ip|x-client-.*|(cf|fly)-.*|true-client-.*|fastly-.*|"
    r"x[-_](forwarded|real|cluster|envoy|original|originating|rewrite|amzn|azure|arr|appengine|"
    r"proxyuser)([-_].*)?"
)


class AccessControl:
    """Authorizes each request for the route that it matched.

    Args:
        tokens: that are known at the start.
        settings: whether the server is open to all, who may read metrics, and each token's rate.
    """

    def __init__(self, tokens: TokenStore, settings: ServerSettings) -> None:
        self.tokens, self.settings = tokens, settings
        self._rate = RateLimit(settings.rate)

    def authorize(self, connection: HTTPConnection, scope: Scope | None) -> Principal:
        """Find who sends a request, and check that a scope is granted in some gallery; None: any
        token will do.

        Raises:
            AccessError: 401 without a valid token, 403 without the scope, 429 over the token's
                rate.
        """
        principal = self._authenticate(connection)
        connection.scope[PRINCIPAL] = principal
        if scope is not None and not principal.may_somewhere(scope):
            raise lacks_scope(principal, scope)
        wait = self._rate.wait(principal.name)
        if wait:
            raise RateLimitError(f"over {self.settings.rate:g} requests a second; wait", wait)
        return principal

    def authorize_metrics(self, connection: HTTPConnection) -> Principal:
        """Check that a request may read metrics. Raises AccessError."""
        if self.settings.metrics is MetricsAccess.OPEN:
            return ANONYMOUS
        principal = self.authorize(connection, Scope.ADMIN)
        if self.settings.metrics is MetricsAccess.OFF:
            raise ForbiddenError("metrics are off")
        if not principal.may(Scope.ADMIN, None):
            raise lacks_scope(principal, Scope.ADMIN)
        return principal

    def reload(self, read: Callable[[], TokenStore]) -> None:
        """Read the tokens again; those that are known stay where they cannot be read, which is
        logged.
        """
        try:
            tokens = read()
            if tokens.is_empty and not self.tokens.is_empty:
                raise ConfigError("there are no tokens any more", "tokens")
        except ConfigError as error:
            log.error(
                "the tokens were not reloaded, those from before stay valid: %s", error.message
            )
            return
        self.tokens = tokens
        event("tokens reloaded", tokens=len(tokens.tokens))

    def _authenticate(self, connection: HTTPConnection) -> Principal:
        if self.tokens.is_empty:
            if not self.settings.open:
                _check_local(connection.headers, connection.scope.get("client"))
            return LOCAL_USER
        principal = self.tokens.find(connection.headers.get("authorization"))
        if principal is None:
            message = (
                "a token is needed, and none that is known was sent: Authorization: Bearer TOKEN"
            )
            raise UnauthorizedError(message)
        if has_expired(principal):
            raise UnauthorizedError(f"the token {principal.name} has expired")
        return principal


def load_tokens(settings: ServerSettings) -> TokenStore:
    """Read the tokens that settings give. Raises ConfigError."""
    lines = None if settings.tokens is None else settings.tokens.get_secret_value()
    return TokenStore.load(settings.tokens_file, lines)


def lacks_scope(principal: Principal, scope: Scope, gallery: str | None = None) -> ForbiddenError:
    """Create the error for a principal without a scope, in general or in a gallery."""
    needed = scope if gallery is None else f"{scope} in the gallery {gallery}"
    return ForbiddenError(
        f"this needs the scope {needed}, which the token {principal.name} does not have"
    )


def choose_gallery(
    principal: Principal,
    scope: Scope,
    served: Sequence[str],
    name: str | None,
    *,
    first: bool = False,
) -> str:
    """Find the gallery that a request is about, among those in which the scope is granted.

    Args:
        principal: who asks.
        scope: that is needed in the gallery.
        served: names of all galleries that are served.
        name: that the request gives, or None.
        first: take the first of several where no name is given.

    Raises:
        AccessError: the scope is not granted there; whether such a gallery is served is not told.
        GalleryError: there is no such gallery, or several and no name is given.
    """
    allowed = [each for each in served if principal.may(scope, each)]
    if name is None:
        if not allowed:
            raise lacks_scope(principal, scope)
        if len(allowed) > 1 and not first:
            raise GalleryError(
                f"gallery: several are served, name one of {', '.join(allowed)}", "gallery"
            )
        return allowed[0]
    if not principal.may(scope, name):
        raise lacks_scope(principal, scope, name)
    if name not in served:
        raise UnknownGalleryError(
            f"gallery: {name!r} is not served; there are {', '.join(allowed)}", "gallery"
        )
    return name


def _check_local(headers: Headers, client: Any) -> None:
    """Raises AccessError for a request that did not come from this machine, or was made by a page
    of another site.
    """
    address = client[0] if client else ""
    if not _is_loopback(address):
        raise ForbiddenError(
            "this server has no tokens, and answers requests from its own machine alone"
        )
    proxied = next((name for name in headers if _PROXIED.fullmatch(name)), None)
    if proxied is not None:
        message = (
            "this server has no tokens, and answers no request that came through a proxy"
            f" (header {proxied})"
        )
        raise ForbiddenError(message)
    host = headers.get("host", "")
    if re.sub(r":\d+$", "", host) not in _LOOPBACK_NAMES:
        raise ForbiddenError(
            f"this server has no tokens, and answers to {', '.join(_LOOPBACK_NAMES)} alone, not to"
            f" {host[:100]}"
        )
    origin = headers.get("origin")
    if (origin and origin.split("://")[-1] != host) or headers.get("sec-fetch-site") in (
        "cross-site",
        "same-site",
    ):
        raise ForbiddenError("a page of another site may not ask this server")


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
