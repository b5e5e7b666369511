"""Who may do what: bearer tokens with scopes.

A token is held as its SHA-256 alone, and every one of them is compared, in constant time, so that neither memory nor the time
of an answer tells a token.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from samples import ConfigError

#: Environment variables: a file of tokens, or the same lines separated by `;`.
TOKENS_FILE: Final = "TRIREID_TOKENS_FILE"
TOKENS: Final = "TRIREID_TOKENS"
LEAST_LENGTH: Final = 16
_LINE: Final = "NAME SCOPE,SCOPE TOKEN"
_HASHED: Final = re.compile(r"sha256:[0-9a-f]{64}")


class Scope(StrEnum):
    """What a token is good for. `search`: to embed, search, and see galleries and pictures; `admin`: everything."""

    SEARCH = "search"
    ENROLL = "enroll"
    REMOVE = "remove"
    ADMIN = "admin"


@dataclass(frozen=True)
class Caller:
    """Who sent a request: a token's name, None where the server is open; and what it may do."""

    name: str | None
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Whether this is within the caller's scopes."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    @property
    def granted(self) -> list[str]:
        """All that the caller may do, by name."""
        return [str(scope) for scope in Scope if self.may(scope)]


EVERYTHING: Final = frozenset(Scope)
#: The caller of a server that has no tokens.
ANYBODY: Final = Caller(None, EVERYTHING)


@dataclass(frozen=True)
class Keyring:
    """The tokens that a server knows: the SHA-256 of each, and its caller."""

    keys: Sequence[tuple[bytes, Caller]]

    @property
    def empty(self) -> bool:
        """Whether there are no tokens, so that nobody is asked for one."""
        return not self.keys

    def caller(self, authorization: str | None) -> Caller | None:
        """Whose token an Authorization header holds; None for none that is known."""
        kind, _, token = (authorization or "").partition(" ")
        digest = hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
        found = None
        for known, caller in self.keys:
            if hmac.compare_digest(known, digest):
                found = caller
        return found if kind.lower() == "bearer" else None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """The tokens of the file that TRIREID_TOKENS_FILE names, or of TRIREID_TOKENS; none where neither is set.

        Raises ConfigError, naming file and line but no token, for what cannot be read.
        """
        file = environment.get(TOKENS_FILE)
        if file:
            return cls.parsed(_lines_of(Path(file)), file)
        return cls.parsed(environment.get(TOKENS, "").split(";"), TOKENS)

    @classmethod
    def parsed(cls, lines: Iterable[str], source: str) -> Self:
        """Tokens from lines `NAME SCOPE,SCOPE TOKEN`; `#` starts a comment, and the token may be given as `sha256:HEX`."""
        keys: dict[bytes, Caller] = {}
        for number, line in enumerate(lines, 1):
            words = line.split("#")[0].split()
            if words:
                digest, caller = _parsed(words, f"{source}, line {number}")
                if digest in keys or caller.name in {known.name for known in keys.values()}:
                    raise ConfigError(f"{source}, line {number}: this name or token is there already", source)
                keys[digest] = caller
        if not keys and source != TOKENS:
            raise ConfigError(f"{source}: holds no token; write lines {_LINE}, or leave {TOKENS_FILE} unset", source)
        return cls(tuple(keys.items()))


def _lines_of(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: the file of tokens cannot be read: {error}", str(file)) from error


def _parsed(words: Sequence[str], where: str) -> tuple[bytes, Caller]:
    if len(words) != 3:
        raise ConfigError(f"{where}: expected {_LINE}, got {len(words)} words", where)
    name, scopes, token = words
    unknown = [scope for scope in scopes.split(",") if scope not in tuple(Scope)]
    if unknown:
        raise ConfigError(f"{where}: no scope is called {unknown[0]!r}; there are {', '.join(Scope)}", where)
    caller = Caller(name, frozenset(Scope(scope) for scope in scopes.split(",")))
    if _HASHED.fullmatch(token):
        return bytes.fromhex(token.removeprefix("sha256:")), caller
    if len(token) < LEAST_LENGTH:
        raise ConfigError(f"{where}: a token has {LEAST_LENGTH} characters at least; this one is too easy to guess", where)
    return hashlib.sha256(token.encode()).digest(), caller
