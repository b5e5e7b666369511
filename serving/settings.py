"""The settings of a server: one frozen object, from arguments or the environment.

Every setting is the environment variable `TRIREID_` + its name in capitals and, for `trireid
serve`, an option; an option goes before its variable, and an empty variable counts as unset.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from trireid.gallery import SUFFIX
from trireid.samples import ConfigError

PREFIX: Final = "TRIREID_"
#: Environment variable of BentoML: the folder where it keeps its own files.
BENTOML_HOME: Final = "BENTOML_HOME"
#: Environment of a server's processes, unless it is set: BentoML reports no usage, and the C
#: library keeps two heaps, not one for each thread, none of which gives back what it once held.
DEFAULT_ENVIRONMENT: Final = {"BENTOML_DO_NOT_TRACK": "true", "MALLOC_ARENA_MAX": "2"}
#: Variables of the prefix that are not settings: the client's token, and what a server's processes
#: tell each other.
_OTHERS: Final = ("TRIREID_TOKEN", "TRIREID_METRICS_FOLDER", "TRIREID_SUPERVISOR")
_MIB: Final = 2**20


class MetricsAccess(StrEnum):
    """Access to `/metrics`: for all, for the scope admin, for none."""

    OPEN = "open"
    ADMIN = "admin"
    OFF = "off"


class LogFormat(StrEnum):
    """Lines of the log: for people, for programs."""

    TEXT = "text"
    JSON = "json"


def _split_paths(value: object) -> object:
    return [text for text in value.split(os.pathsep) if text] if isinstance(value, str) else value


def _check_root_path(path: str) -> str:
    path = path.rstrip("/")
    if path and not re.fullmatch(r"(/[\w.~-]+)+", path, re.ASCII):
        raise ValueError("a path such as /reid")
    return path


#: Absolute: the processes of a server need not have one working directory.
AbsolutePath = Annotated[Path, AfterValidator(Path.absolute)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
PositiveInt = Annotated[int, Field(ge=1)]


class ServerSettings(BaseSettings):
    """Every setting of a server; the fields' descriptions are its documentation."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="ignore"
    )

    galleries: Annotated[tuple[AbsolutePath, ...], NoDecode, BeforeValidator(_split_paths)] = Field(
        default=(), description="gallery folders, separated as in PATH"
    )
    gallery_root: AbsolutePath | None = Field(
        default=None,
        description="a folder whose `*.gallery` folders are served if no gallery is named",
    )
    demo_folder: AbsolutePath | None = Field(
        default=None,
        description="the folder for demo galleries, which are served if there are no others;"
        " default: in the user's cache",
    )
    host: str = Field(default="127.0.0.1", description="the address to listen on")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(
        default=3000, description="the port to listen on"
    )
    root_path: Annotated[str, AfterValidator(_check_root_path)] = Field(
        default="", description="the path before each request's, if a proxy does not strip it"
    )
    workers: Annotated[int, Field(ge=1, le=64)] = Field(default=1, description="server processes")
    provider: str | None = Field(
        default=None, description="`cpu` or `cuda`, for the networks; default: the best there is"
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        description="threads of a forward pass on the CPU; default: the runtime's choice",
    )
    tokens_file: AbsolutePath | None = Field(
        default=None, description="a file of tokens with their scopes; reloaded at SIGHUP"
    )
    tokens: SecretStr | None = Field(
        default=None, description="the lines of such a file, separated by `;`, instead of it"
    )
    open: bool = Field(
        default=False, description="without tokens: answer all callers, not this machine alone"
    )
    audit: AbsolutePath | None = Field(
        default=None, description="a file for the audit; default: its lines go to the log"
    )
    log: LogFormat = Field(default=LogFormat.TEXT, description="`text`, or `json` for programs")
    metrics: MetricsAccess = Field(
        default=MetricsAccess.ADMIN,
        description="who may read `/metrics` of a server with tokens: `open`, `admin`, `off`",
    )
    rate: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="requests a second of each token, in each process; 0: any number"
    )
    body_mib: PositiveInt = Field(
        default=64,
        description="MiB of a request's body, chunked or not; a JSON body has 1 MiB (and 10,000"
        " ids), a text field of a form 64 KiB",
    )
    body_seconds: Seconds = Field(default=30.0, description="seconds in which a body must arrive")
    head_seconds: Seconds = Field(
        default=10.0,
        description="seconds in which a request line with its headers must arrive; they have"
        " 32 KiB, and a connection over either is closed (408, 431)",
    )
    connections: PositiveInt = Field(
        default=2048,
        description="open connections of each process, at most half of its open files; one more"
        " is told 503",
    )
    queue: PositiveInt = Field(
        default=128,
        description="requests that upload, work or wait; one more is told 503. All uploads together"
        " get half of the space that is free for temporary files at the start",
    )
    deadline: Seconds = Field(
        default=30.0,
        description="seconds from a body's arrival to the start of the forward pass, decoding"
        " included; a client may ask for less with the header `X-Deadline`",
    )
    batch: PositiveInt = Field(
        default=8, description="samples in one forward pass, which requests that wait share"
    )
    passes: PositiveInt = Field(
        default=2, description="forward passes of each network at the same time"
    )

    @property
    def body_bytes(self) -> int:
        """Bytes of a request's body."""
        return self.body_mib * _MIB

    def to_environment(self) -> dict[str, str]:
        """The variables by which another process gets these settings."""
        values = {name: getattr(self, name) for name in self.model_fields_set}
        return {
            name_variable(name): _write(value)
            for name, value in values.items()
            if value is not None
        }


class SettingHelp(NamedTuple):
    """A setting, as help and documents list it."""

    name: str
    variable: str
    default: str
    description: str

    @property
    def row(self) -> str:
        """Its row in the table of docs/deploy.md."""
        return f"| `{self.variable}` | {self.default or '-'} | {self.description} |"


def list_settings() -> Iterator[SettingHelp]:
    """Yield every setting; `default` is empty if it has none."""
    for name, field in ServerSettings.model_fields.items():
        default = "" if field.default is None else _write(field.default)
        yield SettingHelp(name, name_variable(name), default, field.description or "")


def load_settings(**given: Any) -> ServerSettings:
    """Read the settings from arguments and the environment.

    Args:
        given: settings by name, which go before their variables; None and an empty list count as
            not given.

    Raises:
        ConfigError: a value does not fit; it names the variable, or the option of `trireid serve`.
    """
    given = {name: value for name, value in given.items() if value not in (None, [], ())}
    try:
        return ServerSettings(**given)
    except ValidationError as error:
        raise _describe(error, given) from None


def list_unknown_variables(environment: Mapping[str, str] = os.environ) -> list[str]:
    """List the variables `TRIREID_...` that are not settings, each with a suggestion."""
    known = {*map(name_variable, ServerSettings.model_fields), *_OTHERS}
    unknown = {name for name in environment if name.startswith(PREFIX)} - known
    return [name + _suggest(name) for name in sorted(unknown)]


def _suggest(variable: str) -> str:
    name = variable.removeprefix(PREFIX).lower()
    near = difflib.get_close_matches(name, ServerSettings.model_fields, n=1)
    return f" (did you mean {name_variable(near[0])}?)" if near else ""


def name_variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def _write(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return os.pathsep.join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _describe(error: ValidationError, given: Mapping[str, Any]) -> ConfigError:
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0])
    source = f"--{name.replace('_', '-')}" if name in given else name_variable(name)
    wanted = first["msg"].removeprefix("Value error, ")
    if first["type"] != "value_error":
        wanted = _describe_type(name)
    value = "" if name == "tokens" else f", not {str(first['input'])[:100]}"
    return ConfigError(f"{source}: must be {wanted}{value}", source)


def _describe_type(name: str) -> str:
    """The values that a setting takes, in words."""
    field = ServerSettings.model_fields[name]
    bounds = [_describe_bound(each) for each in field.metadata]
    kind = field.annotation
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return f"one of {', '.join(kind)}"
    words = {bool: "true or false", float: "a number"}
    what = words.get(kind, "a whole number") if isinstance(kind, type) else "a whole number"
    return ", ".join([what, *filter(None, bounds)])


def _describe_bound(bound: object) -> str:
    for kind, word in (("gt", "over"), ("ge", "at least"), ("le", "at most")):
        if hasattr(bound, kind):
            return f"{word} {getattr(bound, kind)}"
    return ""


def list_galleries(settings: ServerSettings) -> list[Path]:
    """List the gallery folders that settings name; empty if they name none.

    Raises:
        ConfigError: the root cannot be read, or holds no gallery.
    """
    root = settings.gallery_root
    if settings.galleries or root is None:
        return list(settings.galleries)
    variable = name_variable("gallery_root")
    try:
        found = sorted(path for path in root.iterdir() if path.suffix == SUFFIX and path.is_dir())
    except OSError as error:
        raise ConfigError(
            f"{variable}: {root} cannot be read: {error.strerror}", variable
        ) from error
    if not found:
        raise ConfigError(
            f"{variable}: {root} holds no gallery; fill one with `trireid index SOURCE --gallery"
            f" {root / f'NAME{SUFFIX}'}`, or unset {variable} for the demo galleries",
            variable,
        )
    return found


def check_bentoml_home() -> None:
    """Check that BentoML can make its folders, before it is started.

    Raises:
        ConfigError: it cannot; BentoML itself would end in a traceback.
    """
    home = os.environ.get(BENTOML_HOME) or os.path.join(os.path.expanduser("~"), "bentoml")
    try:
        if not os.environ.get(BENTOML_HOME) and not os.path.isabs(home):
            raise FileNotFoundError(2, "the user has no home folder", home)
        home = os.path.abspath(home)
        os.makedirs(home, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home):
            pass
    except OSError as error:
        raise ConfigError(
            f"{BENTOML_HOME}: {home} cannot be written: {error.strerror}; name a folder that can be"
            f" written in {BENTOML_HOME}",
            BENTOML_HOME,
        ) from error
    if os.environ.get(BENTOML_HOME):
        os.environ[BENTOML_HOME] = home


def check_temporary_folder() -> None:
    """Check that there is a folder for temporary files. Raises ConfigError."""
    try:
        tempfile.TemporaryFile().close()
    except OSError as error:
        tried = os.environ.get("TMPDIR", "/tmp")
        raise ConfigError(
            f"TMPDIR: no temporary file can be written ({tried}): name a folder that can be"
            " written",
            "TMPDIR",
        ) from error


if __name__ == "__main__":
    sys.stdout.write("| variable | default | meaning |\n|---|---|---|\n")
    sys.stdout.writelines(f"{each.row}\n" for each in list_settings())
