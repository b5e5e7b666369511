"""The command line: `trireid COMMAND --help` says more.

Exit codes: 0 done, 1 done in part or failed on the way, 2 unusable input (one line on stderr says
why), 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from trireid.samples.printable import printable


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The command line without the program's name; by default, that of this process.

    Returns:
        The exit code.

    Raises:
        SystemExit: The command line itself is wrong; its code is 2.
    """
    import typer

    from trireid.cli.app import load_app
    from trireid.cli.usage import describe_usage_error

    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code: int | None = load_app().main(given, "trireid", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        print(printable(describe_usage_error(error)), file=sys.stderr)
        raise SystemExit(2) from error
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code or 0
