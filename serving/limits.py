"""What a server grants: sizes, times and numbers, each from an environment variable, all checked
before it starts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final, Self

from trireid.samples import ConfigError

_MIB: Final = 2**20


class MetricsAccess(StrEnum):
    """Access to `/metrics`: for all, for the scope admin, for none."""

    OPEN = "open"
    ADMIN = "admin"
    OFF = "off"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Every limit of a server process. Each is set by the environment variable `TRIREID_` + its
    name in capitals.

    `body_mib`: of a request. `body_seconds`: a request's body must have arrived by then. `queue`:
    requests that may be at work or wait for it, beyond which 503 is the answer. `head_seconds`: a
    request's line and headers must have arrived by then. `connections`: open at the same time, in
    each process. `deadline`: seconds from the body's arrival to the start of the forward pass; a
    client may ask for less with the header `X-Deadline`. `batch`: samples in one forward pass.
    `passes`: forward passes at the same time, of each network. `rate`: requests a second of each
    token, 0 for any number. `metrics`: who may read them. `open`: answer everybody, from
    everywhere, where there are no tokens.
    """

    body_mib: int = 64
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    connections: int = 2048
    queue: int = 128
    deadline: float = 30.0
    batch: int = 8
    passes: int = 2
    rate: float = 0.0
    metrics: MetricsAccess = MetricsAccess.ADMIN
    open: bool = False

    def __post_init__(self) -> None:
        for name, least in (
            ("body_mib", 1),
            ("connections", 1),
            ("queue", 1),
            ("batch", 1),
            ("passes", 1),
            ("rate", 0),
        ):
            if getattr(self, name) < least:
                raise _bad(name, getattr(self, name), f"at least {least}")
        for name in ("head_seconds", "body_seconds", "deadline"):
            if not 0 < getattr(self, name) <= 3600:
                raise _bad(name, getattr(self, name), "over 0 and at most 3600 seconds")

    @property
    def body_bytes(self) -> int:
        """Of a request's body."""
        return self.body_mib * _MIB

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """The limits that the environment sets.

        Raises ConfigError, naming the variable, for a value that does not fit.
        """
        given = {each.name: environment.get(variable(each.name), "") for each in fields(cls)}
        kinds = {each.name: type(each.default) for each in fields(cls)}
        return cls(**{name: _read(name, text, kinds[name]) for name, text in given.items() if text})


def variable(name: str) -> str:
    """The environment variable of a limit."""
    return f"TRIREID_{name.upper()}"


def _read(name: str, text: str, kind: type[Any]) -> Any:
    try:
        if kind is bool:
            return {"1": True, "true": True, "0": False, "false": False}[text.lower()]
        return kind(text)
    except (KeyError, ValueError) as error:
        wanted = {int: "a whole number", float: "a number", bool: "true or false"}.get(
            kind, f"one of {', '.join(MetricsAccess)}"
        )
        raise _bad(name, text, wanted) from error


def _bad(name: str, value: object, wanted: str) -> ConfigError:
    return ConfigError(f"{variable(name)}: must be {wanted}, not {value}", variable(name))
