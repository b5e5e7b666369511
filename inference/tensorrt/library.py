"""TensorRT 10 or 11, or TensorRT-RTX: modules of one interface. Nothing here needs a GPU."""

from __future__ import annotations

import importlib
import logging
from functools import cache
from typing import Any, Final

from trireid.samples import ArtifactError

#: The title of each module, and the extra of trireid that brings it.
TITLES: Final = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}
EXTRAS: Final = {"tensorrt": "gpu", "tensorrt_rtx": "rtx"}
_LONGEST: Final = 300
_MOST: Final = 16

log = logging.getLogger(__name__)


class Library:
    """One of the modules, `api`, with the one logger it may have in a process."""

    def __init__(self, name: str, api: Any) -> None:
        self.name, self.api = name, api
        self._errors: list[str] = []
        self.logger = _logger(api, self._errors)

    @property
    def version(self) -> str:
        """Its version in full: plans of another one do not load."""
        return str(self.api.__version__)

    @property
    def title(self) -> str:
        """As in `TensorRT 11.4.0.106`."""
        return f"{TITLES[self.name]} {self.version}"

    @property
    def is_rtx(self) -> bool:
        """Whether engines are made without a GPU and finished where they run."""
        return self.name == "tensorrt_rtx"

    def make(self, kind: str) -> Any:
        """A `Builder` or `Runtime`.

        Raises ArtifactError where the library cannot make one, as on a GPU it does not know.
        """
        self.forget()
        try:
            return getattr(self.api, kind)(self.logger)
        except (TypeError, RuntimeError) as error:  # so the bindings say that they got nothing
            raise ArtifactError(
                f"{self.title} does not start here: {self.complaint()}", "library"
            ) from error

    def forget(self) -> None:
        """Forget the errors so far, before a step whose own are wanted."""
        self._errors.clear()

    def complaint(self) -> str:
        """The first error since `forget`, which is the cause of the others, on one line."""
        return self._errors[0] if self._errors else "it does not say why"


def load_library(name: str | None = None) -> Library:
    """A library by its module's name; None takes TensorRT where it is installed, else TensorRT-RTX.

    Raises ArtifactError where it is not installed or cannot be loaded.
    """
    if name is not None and name not in TITLES:
        raise ArtifactError(f"library: {name!r} is not one of {', '.join(TITLES)}", "library")
    for each in TITLES if name is None else (name,):
        found = _import(each)
        if found is not None:
            return found
    missing = " or ".join(
        f"{TITLES[each]} (trireid's extra {EXTRAS[each]})" for each in ([name] if name else TITLES)
    )
    raise ArtifactError(f"{missing} is not installed", "library")


@cache
def _import(name: str) -> Library | None:
    try:
        return Library(name, importlib.import_module(name))
    except ModuleNotFoundError:
        return None
    except (ImportError, OSError, RuntimeError) as error:
        raise ArtifactError(
            f"{TITLES[name]} is installed but cannot be loaded: {one_line(str(error))}", "library"
        ) from error


def one_line(text: str) -> str:
    """A message of the libraries as one line of bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


def _logger(api: Any, errors: list[str]) -> Any:
    """A logger that keeps errors for `complaint`, and passes the rest to Python's logging."""
    severe = (api.ILogger.Severity.INTERNAL_ERROR, api.ILogger.Severity.ERROR)

    def start(self: Any) -> None:
        api.ILogger.__init__(self)

    def take(_: Any, severity: Any, message: str) -> None:
        if severity in severe and len(errors) < _MOST:
            errors.append(one_line(message))
        log.debug("%s", message)

    return type("Logger", (api.ILogger,), {"__init__": start, "log": take})()
