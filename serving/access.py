"""Bearer tokens with scopes, for all galleries or for some.

Tokens are stored as their SHA-256 alone, and each of them is compared, in constant time, so that
neither memory nor the time of an answer tells a token.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import takewhile
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote, unquote

from trireid.samples import ConfigError
from trireid.samples.files import open_regular

#: Environment variables: a file of tokens, or the same lines separated by `;`.
TOKENS_FILE: Final = "TRIREID_TOKENS_FILE"
TOKENS: Final = "TRIREID_TOKENS"
LEAST_LENGTH: Final = 16
_MAX_FILE_BYTES: Final = 1 << 20
_LINE: Final = "NAME SCOPE,SCOPE TOKEN [EXPIRES]"
_HASH_PREFIX: Final = "sha256:"
_HASHED: Final = re.compile(_HASH_PREFIX + "[0-9a-f]{64}")
_EXPIRES: Final = "expires="


class Scope(StrEnum):
    """The rights that a token can grant.

    `search`: to embed, search, and see galleries and images; `admin`: everything.
    """

    SEARCH = "search"
    ENROLL = "enroll"
    REMOVE = "remove"
    ADMIN = "admin"


@dataclass(frozen=True)
class Grant:
    """A scope in one gallery, or with `gallery` None in all of them and in the server itself."""

    scope: Scope
    gallery: str | None = None

    def __str__(self) -> str:
        return (
            self.scope if self.gallery is None else f"{self.scope}:{quote(self.gallery, safe='')}"
        )


@dataclass(frozen=True)
class Principal:
    """The sender of a request: the name of its token, None without tokens; and its grants.

    `expires`: seconds since 1970 from which the token is worth nothing.
    """

    name: str | None
    grants: frozenset[Grant]
    expires: float | None = None

    def may(self, scope: Scope, gallery: str | None) -> bool:
        """Whether a scope is granted in a gallery; with None: in the server as a whole."""
        return any(
            Grant(each, name) in self.grants
            for each in (scope, Scope.ADMIN)
            for name in {gallery, None}
        )

    def may_somewhere(self, scope: Scope) -> bool:
        """Whether a scope is granted in any gallery at all."""
        return any(grant.scope in (scope, Scope.ADMIN) for grant in self.grants)

    @property
    def granted(self) -> list[str]:
        """Every scope that is granted:

        `search`, or `search:people` where it is so in one gallery alone.
        """
        galleries = sorted({grant.gallery for grant in self.grants if grant.gallery is not None})
        everywhere = [scope for scope in Scope if self.may(scope, None)]
        within = [
            Grant(scope, gallery)
            for gallery in galleries
            for scope in Scope
            if scope not in everywhere and self.may(scope, gallery)
        ]
        return [str(scope) for scope in everywhere] + [str(grant) for grant in within]


#: The sender to a server that has no tokens.
LOCAL_USER: Final = Principal(None, frozenset(map(Grant, Scope)))
#: The sender of a request that needs no token.
ANONYMOUS: Final = Principal(None, frozenset())


@dataclass(frozen=True)
class TokenStore:
    """The tokens that a server knows: the SHA-256 of each, and whose it is."""

    tokens: Sequence[tuple[bytes, Principal]] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there are no tokens, so that no request needs one."""
        return not self.tokens

    def find(self, authorization: str | None) -> Principal | None:
        """Find whose token an Authorization header carries; None for one that is not known."""
        kind, _, token = (authorization or "").partition(" ")
        digest = hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
        found = None
        for known, principal in self.tokens:
            if hmac.compare_digest(known, digest):
                found = principal
        return found if kind.lower() == "bearer" else None

    def galleries(self) -> set[str]:
        """Names of the galleries that tokens are limited to."""
        grants = (grant for _, principal in self.tokens for grant in principal.grants)
        return {grant.gallery for grant in grants if grant.gallery is not None}

    @classmethod
    def load(cls, file: Path | None = None, lines: str | None = None) -> Self:
        """Read the tokens of a file, or lines separated by `;`; none if there are neither.

        Raises:
            ConfigError: naming file and line but no token, for what cannot be used.
        """
        if file and lines:
            raise ConfigError(f"{TOKENS_FILE} and {TOKENS} are both set; set one of them", TOKENS)
        if file:
            return cls.parse(_read_lines(file), str(file))
        return cls.parse(lines.split(";"), TOKENS) if lines else cls()

    @classmethod
    def parse(cls, lines: Iterable[str], source: str) -> Self:
        """Read lines `NAME SCOPE,SCOPE TOKEN [EXPIRES]`.

        `#` before a word starts a comment. A scope is limited to a gallery as in `search:people`
        (its name percent-encoded). The token may be given as `sha256:HEX`. EXPIRES is an ISO 8601
        time, in UTC if it has no offset.
        """
        tokens: dict[bytes, Principal] = {}
        for number, line in enumerate(lines, 1):
            words = list(takewhile(lambda word: not word.startswith("#"), line.split()))
            if words:
                digest, principal = _parse_line(words, f"{source}, line {number}")
                if digest in tokens or principal.name in {known.name for known in tokens.values()}:
                    raise ConfigError(
                        f"{source}, line {number}: this name or token is there already", source
                    )
                tokens[digest] = principal
        if not tokens:
            raise ConfigError(
                f"{source}: holds no token; write lines {_LINE}, or leave it unset", source
            )
        return cls(tuple(tokens.items()))


def _read_lines(file: Path) -> list[str]:
    """The lines of a file that its owner alone can read."""
    try:
        with open_regular(file) as opened:
            _check_rights(file, os.fstat(opened.fileno()))
            content = opened.read(_MAX_FILE_BYTES + 1)
        if len(content) > _MAX_FILE_BYTES:
            raise ConfigError(f"{file}: the file of tokens is over 1 MiB", str(file))
        return content.decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file}: the file of tokens cannot be read: {error}", str(file)
        ) from error


def _check_rights(file: Path, status: os.stat_result) -> None:
    if stat.S_IMODE(status.st_mode) & 0o077:
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        raise ConfigError(
            f"{file}: other users can read the tokens (mode {mode}); run: chmod 600 {file}",
            str(file),
        )
    if status.st_uid not in (0, os.geteuid()):
        raise ConfigError(
            f"{file}: belongs to another user, who could change the tokens; run:"
            f" chown {os.geteuid()} {file}",
            str(file),
        )


def _parse_line(words: Sequence[str], where: str) -> tuple[bytes, Principal]:
    if len(words) not in (3, 4):
        raise ConfigError(f"{where}: expected {_LINE}, got {len(words)} words", where)
    name, scopes, token = words[:3]
    grants = frozenset(_parse_grant(text, where) for text in scopes.split(","))
    principal = Principal(name, grants, _parse_expiry(words[3], where) if len(words) == 4 else None)
    if _HASHED.fullmatch(token):
        return bytes.fromhex(token.removeprefix(_HASH_PREFIX)), principal
    if token.lower().startswith(_HASH_PREFIX):
        raise ConfigError(
            f"{where}: after {_HASH_PREFIX} come 64 digits of lowercase hexadecimal, as sha256sum"
            " prints them",
            where,
        )
    if len(token) < LEAST_LENGTH:
        raise ConfigError(
            f"{where}: a token has {LEAST_LENGTH} characters at least; this one is too easy to"
            " guess",
            where,
        )
    return hashlib.sha256(token.encode()).digest(), principal


def _parse_grant(text: str, where: str) -> Grant:
    scope, limited, gallery = text.partition(":")
    if scope not in tuple(Scope):
        raise ConfigError(
            f"{where}: no scope is called {scope!r}; there are {', '.join(Scope)}", where
        )
    if limited and not gallery:
        raise ConfigError(f"{where}: {text!r} names no gallery after the colon", where)
    return Grant(Scope(scope), unquote(gallery) if limited else None)


def _parse_expiry(text: str, where: str) -> float:
    try:
        moment = datetime.fromisoformat(text.removeprefix(_EXPIRES))
    except ValueError as error:
        raise ConfigError(
            f"{where}: the token's expiry must be a time in ISO 8601, as in 2027-01-31T12:00Z",
            where,
        ) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def has_expired(principal: Principal) -> bool:
    """Whether a principal's token is worth nothing any more."""
    return principal.expires is not None and time.time() >= principal.expires
