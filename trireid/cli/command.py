"""Commands from typed functions: a parameter whose type has fields becomes an option per field."""

from __future__ import annotations

import errno
import functools
import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from trireid.cli.fields import build_value, has_fields, list_options
from trireid.cli.output import Output
from trireid.samples.errors import ServiceError, TrireidError, VerificationError

Function = TypeVar("Function", bound=Callable[..., "int | None"])
#: Rights are missing, whatever is tried again.
_DENIED: Final = (errno.EACCES, errno.EPERM, errno.EROFS)


class Command(TyperCommand):
    """A command whose options take several values at once: `--id a b`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments of the command."""
        several = {
            name for each in self.params if getattr(each, "multiple", 0) for name in each.opts
        }
        try:
            return super().parse_args(ctx, list(_repeat_options(args, several)))
        except typer.TyperException as error:
            error.ctx = ctx  # type: ignore[attr-defined]
            raise


class Group(TyperGroup):
    """A group of commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the options before a command's name."""
        if not args and not ctx.resilient_parsing:
            raise typer.BadParameter("the following arguments are required: COMMAND", ctx)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find a command, or name those that are spelled alike."""
        names = self.list_commands(ctx)
        if args[0] not in names and not ctx.resilient_parsing:
            raise typer.BadParameter(_unknown_command(args[0], names), ctx)
        return super().resolve_command(ctx, args)


def make_app(help_: str | None = None) -> typer.Typer:
    """Create the Typer of one module: a group of commands with a help text, or one command."""
    return typer.Typer(
        cls=Group,
        help=help_,
        callback=None if help_ is None else lambda: None,
        rich_markup_mode=None,
        add_completion=False,
    )


def command(app: typer.Typer, name: str | None = None) -> Callable[[Function], Function]:
    """Register a function as a command.

    A parameter whose type has fields becomes an option per field: see `trireid.cli.fields`. The
    function returns the exit code; None means 0.
    """

    def register(function: Function) -> Function:
        parameters = inspect.signature(function, eval_str=True).parameters
        groups = {
            each.name: each.annotation
            for each in parameters.values()
            if has_fields(each.annotation)
        }

        @functools.wraps(function)
        def run(context: typer.Context, **given: Any) -> int:
            return _run(function, groups, given, context.find_root().params)

        options = [option for each in parameters.values() for option in _expand(each)]
        options.sort(key=_position)
        context = inspect.Parameter(
            "context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context
        )
        run.__signature__ = inspect.Signature([context, *options])  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in options}
        app.command(name, cls=Command)(run)
        return function

    return register


def _run(
    function: Callable[..., int | None],
    groups: Mapping[str, type],
    given: dict[str, Any],
    root: Mapping[str, Any],
) -> int:
    """Call a command's function, and turn errors into a line and an exit code."""
    out = Output(**{name: given.pop(name) or root.get(name, False) for name in Output.names()})
    out.set_up()
    try:
        out.warn_of_conflicts()
        values = {
            name: build_value(type_, given) for name, type_ in groups.items() if name != "out"
        }
        return function(out=out, **values, **given) or 0
    except Exception as error:
        line, code = _describe(error)
        if line is None:
            raise
        if out.verbose:
            traceback.print_exc()
        return out.fail(line, code)
    except KeyboardInterrupt:
        return out.fail("stopped", 130)


def _describe(error: Exception) -> tuple[str | None, int]:
    """The line and the exit code of an error; no line for what is not the user's."""
    if isinstance(error, TrireidError):
        is_worth_another_try = isinstance(error, ServiceError) and error.temporary
        is_failure = is_worth_another_try or isinstance(error, VerificationError)
        return error.message, 1 if is_failure else 2
    if isinstance(error, ModuleNotFoundError):
        from trireid.inference.installation import find_extra

        extra = find_extra(error.name)
        return f"{error.name} is not installed; run: pip install 'trireid[{extra}]'", 2
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        where = error.filename or "the system"
        if error.errno in _DENIED:
            return f"{where}: {error.strerror}; give rights to it, or name another", 2
        return f"{where}: {error.strerror}", 1
    return None, 1


def _expand(parameter: inspect.Parameter) -> Iterator[inspect.Parameter]:
    """Yield the options that a parameter stands for."""
    if has_fields(parameter.annotation):
        yield from list_options(parameter.annotation)
    else:
        yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)


def _position(option: inspect.Parameter) -> tuple[bool, bool]:
    """Arguments come first, and what every command has last."""
    (settings,) = option.annotation.__metadata__
    return isinstance(settings, typer.models.OptionInfo), option.name in Output.names()


def _repeat_options(arguments: Sequence[str], several: set[str]) -> Iterator[str]:
    """Yield `--id a b` as `--id=a`, `--id=b`, for the options that take several values."""
    option, is_bare = "", False
    rest = iter(arguments)
    for argument in rest:
        if not _is_option(argument):
            yield f"{option}={argument}" if option else argument
            is_bare = False
            continue
        if is_bare:
            yield option  # its missing value is an error
        option = argument if argument in several else ""
        is_bare = bool(option)
        if not option:
            yield argument
        if argument == "--":
            yield from rest
    if is_bare:
        yield option


def _is_option(argument: str) -> bool:
    if len(argument) < 2 or not argument.startswith("-"):
        return False
    try:
        float(argument)
    except ValueError:
        return True
    return False


def _unknown_command(name: str, names: Sequence[str]) -> str:
    if name == "experiment":
        return "experiment is not a command any more: run python -m research in the repository"
    alike = get_close_matches(name, names, n=1)
    known = f"did you mean {alike[0]}?" if alike else f"choose from {', '.join(names)}"
    return f"invalid choice: {name!r} ({known})"
