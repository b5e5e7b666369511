"""The actor of a change to a gallery, which a store's audit records; and the items that a change
replaced.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

#: Linux: the user who logged in, whatever sudo or su made of the process since.
_LOGIN: Final = Path("/proc/self/loginuid")
_NO_LOGIN: Final = 2**32 - 1


@dataclass
class Actor:
    """The actor of changes, and the ids of items that these changes replaced."""

    who: dict[str, Any]
    replaced: set[str] = field(default_factory=set)


_ACTOR: ContextVar[Actor | None] = ContextVar("actor", default=None)


@contextmanager
def act_as(**who: Any) -> Iterator[Actor]:
    """Record `who` with the changes that are made in the block, also in threads it starts;

    None values are left out.
    """
    actor = Actor({name: value for name, value in who.items() if value is not None})
    token = _ACTOR.set(actor)
    try:
        yield actor
    finally:
        _ACTOR.reset(token)


def note_replaced(ids: Iterable[str]) -> None:
    """Tell the actor that items were replaced."""
    if actor := _ACTOR.get():
        actor.replaced.update(ids)


def current_actor() -> dict[str, Any]:
    """Return who changes galleries: as `acting` says, else the user of the operating system.

    Returns:
        Of the operating system: `uid`, `user`; `login`, the user who logged in, if it is another
        one; `sudo`, what the environment's SUDO_USER claims, if it is set. The environment's USER
        and LOGNAME are not believed.
    """
    actor = _ACTOR.get()
    return dict(actor.who) if actor else _system_user()


def _system_user() -> dict[str, Any]:
    uid = os.getuid()
    who: dict[str, Any] = {"uid": uid, "user": _name(uid)}
    with suppress(OSError, ValueError):
        login = int(_LOGIN.read_text())
        if login not in (uid, _NO_LOGIN):
            who["login"] = _name(login)
    if sudo := os.environ.get("SUDO_USER"):
        who["sudo"] = sudo[:64]
    return who


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
