"""Patterns that say what the names of images tell: `{identity}_c{camera}_{*}`."""

from __future__ import annotations

import re
from typing import Final

from trireid.samples.errors import SourceError
from trireid.samples.readers.modality_names import find_modality
from trireid.samples.sample import Modality

FIELDS: Final = ("identity", "camera", "scene", "time", "id", "modality")
_FIELD: Final = re.compile(r"\{([^{}]*)\}")
_FORMS: Final = {"camera": r"-?\d+", "*": r"[^/]*?"}


class Pattern:
    """A pattern of names. Its fields are FIELDS and `{*}`, any text; text between them stands for
    itself.

    A pattern with a `/` is matched against the path below the source's folder, another one against
    the file's name. The extension is left out if the pattern does not say one.
    """

    def __init__(self, text: str) -> None:
        """Read a pattern.

        Raises SourceError for a field that does not exist, or a pattern without one.
        """
        self.text = text
        self.has_path = "/" in text
        parts = _FIELD.split(text)
        fields = parts[1::2]
        unknown = [field for field in fields if field not in (*FIELDS, "*")]
        if (
            unknown
            or not set(fields) & set(FIELDS)
            or any(brace in part for part in parts[::2] for brace in "{}")
        ):
            known = ", ".join(f"{{{field}}}" for field in (*FIELDS, "*"))
            raise SourceError(
                f"--pattern {text}: {_problem(unknown)}; fields are {known}", "--pattern"
            )
        if any(not part for part in parts[2:-1:2]):
            raise SourceError(
                f"--pattern {text}: put text between two fields, as in {{identity}}_{{camera}}",
                "--pattern",
            )
        self.fields = frozenset(fields) - {"*"}
        self._compiled = re.compile(_expression(parts), re.DOTALL)

    def match(self, name: str, stem: str) -> dict[str, str]:
        """Return what a name says, by field. Raises SourceError if it does not fit."""
        found = self._compiled.fullmatch(stem) or self._compiled.fullmatch(name)
        if found is None:
            raise SourceError(f"{name}: does not fit --pattern {self.text}", name)
        return found.groupdict()

    def modality(self, name: str, stem: str) -> tuple[Modality, str] | None:
        """Return the modality that a name says, and the name without it; None if it says none."""
        found = self._compiled.fullmatch(stem) or self._compiled.fullmatch(name)
        modality = None if found is None else find_modality(found["modality"])
        if found is None or modality is None:
            return None
        return modality, stem[: found.start("modality")] + stem[found.end("modality") :]


def _problem(unknown: list[str]) -> str:
    return f"{{{unknown[0]}}} is not a field" if unknown else "says no field"


def _expression(parts: list[str]) -> str:
    expression, seen = "", set()
    for number, part in enumerate(parts):
        if number % 2 == 0:
            expression += re.escape(part)
        elif part in seen:
            expression += f"(?P={part})"
        elif part == "*":
            expression += _FORMS["*"]
        else:
            expression += f"(?P<{part}>{_FORMS.get(part, '[^/]+?')})"
            seen.add(part)
    return expression
