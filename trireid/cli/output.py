"""The words of a command: results to stdout, notes to stderr, and JSON alone where it is asked."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, TextIO

import typer

from trireid.samples.printable import PrintableFormatter, printable


@dataclass(frozen=True, kw_only=True)
class Output:
    """Prints what a command says. Control characters in names from elsewhere are escaped."""

    json: Annotated[bool, typer.Option("--json", help="print JSON to stdout, and nothing else")] = (
        False
    )
    verbose: Annotated[bool, typer.Option("--verbose", "-v", hidden=True)] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", hidden=True)] = False

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the options that every command has."""
        return tuple(each.name for each in fields(cls))

    def set_up(self) -> None:
        """Set up logging and progress bars of this process."""
        if logging.lastResort is not None:  # prints warnings of ours if no handler is set up
            logging.lastResort.setFormatter(PrintableFormatter())
            logging.lastResort.setLevel(logging.ERROR if self.quiet else logging.WARNING)
        if self.verbose:
            handler = logging.StreamHandler()
            handler.setFormatter(PrintableFormatter("%(name)s: %(message)s"))
            logging.getLogger("trireid").addHandler(handler)
            logging.getLogger("trireid").setLevel(logging.DEBUG)
        if self.quiet or not sys.stderr.isatty():
            os.environ["TQDM_DISABLE"] = "1"

    def warn_of_conflicts(self) -> None:
        """Warn of packages that overwrite each other's files."""
        from trireid.inference.installation import find_conflicts

        for conflict in find_conflicts():
            self.note(f"trireid: warning: {conflict}")

    def result(self, data: Mapping[str, Any], *lines: str) -> None:
        """Print the result: the lines, or the data with `--json`."""
        if self.json:
            # the one control character that JSON leaves
            print(json.dumps(data, indent=2).replace("\x7f", "\\u007f"))
            return
        for line in lines:
            _print(line)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]], right: str = "") -> None:
        """Print a table.

        Args:
            columns: The headings.
            rows: The cells of each row.
            right: The headings of columns that are aligned to the right, with a space between.
        """
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for name in columns:
            table.add_column(name, justify="right" if name in right.split() else "left")
        for row in rows:
            table.add_row(*(Text(printable(cell), overflow="fold") for cell in row))
        # the reader of a pipe needs whole cells
        console = Console(width=None if sys.stdout.isatty() else 10_000, highlight=False)
        with console.capture() as capture:
            console.print(table)
        for line in capture.get().splitlines():
            print(line.rstrip())

    def note(self, line: str) -> None:
        """Print a line that is not the result to stderr, unless quiet."""
        if not self.quiet:
            _print(line, sys.stderr)

    def fail(self, message: str, code: int = 2) -> int:
        """Print an error to stderr; returns the exit code."""
        _print(f"trireid: {message}", sys.stderr)
        return code


def _print(line: object, file: TextIO | None = None) -> None:
    print(printable(line), file=file)
