"""The table of contents: every command and what it does; a command's module is imported on use."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any, Final

import typer

from trireid.cli.command import Group

#: Each command, in `trireid.cli.NAME`, and its line in `trireid --help`.
COMMANDS: Final = {
    "export": "export a checkpoint to ONNX or TensorRT",
    "verify": "compare two networks, and show the layer at which they differ",
    "index": "embed a SOURCE and add it to a gallery",
    "search": "query a gallery by image, in a folder or on a server",
    "gallery": "inspect and maintain a gallery",
    "evaluate": "score a network on a SOURCE by the field's protocol",
    "train": "fine-tune a network; a killed run continues from its last save",
    "diagnose": "check one training batch: gradients, and the embedding that is evaluated",
    "serve": "serve galleries over HTTP",
}


class Contents(Group):
    """The commands of `trireid`, none of which is imported before it is used."""

    def list_commands(self, ctx: Any) -> list[str]:
        """List the names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import a command; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command = typer.main.get_command(import_module(f"trireid.cli.{cmd_name}").app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the table of contents."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


app = typer.Typer(
    cls=Contents,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=lambda given: _print_version(given))
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="log details, and show where an error arose")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="no progress bars, notes or warnings")
    ] = False,
) -> None:
    """Multi-modal re-identification: export, index, search, serve."""


def load_app() -> Any:
    """Build the command line."""
    return typer.main.get_command(app)


def _print_version(given: bool) -> None:
    if not given:
        return
    import trireid

    print(f"trireid {trireid.__version__}")
    raise typer.Exit
