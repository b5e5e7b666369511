"""Options that several commands have."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from typer import Argument, Option

from trireid.inference.embedded import DEFAULTS
from trireid.samples import TrireidError

if TYPE_CHECKING:
    from trireid.inference import Embedder
    from trireid.samples.source import Source

#: The networks that commands take.
NETWORK: Final = f"an artifact, a checkpoint, or an embedded network: {', '.join(DEFAULTS)}"
OutsideImages = Annotated[
    bool, Option("--allow-outside", help="take a manifest's images from outside its folder, too")
]
FolderPattern = Annotated[
    str | None,
    Option(
        "--pattern",
        metavar="P",
        help="what a folder's names mean, as in '{identity}_c{camera}_{*}'",
    ),
]
ComparisonSource = Annotated[
    str | None, Option("--data", metavar="SOURCE", help="compare on this SOURCE, too")
]
GalleryFolder = Annotated[Path, Argument(metavar="DIR", help="the gallery's folder")]


@dataclass(frozen=True)
class Checkpoint:
    """The options of a network that is a checkpoint."""

    config: Annotated[
        str | None,
        Option("--config", metavar="YML", help="the training configuration of a checkpoint"),
    ] = None
    opts: Annotated[
        list[str] | None,
        Option(
            "--opts",
            metavar="KEY VALUE ...",
            help="replace values of the configuration, as in MODEL.SIE_COE 1.0",
        ),
    ] = None
    weights: Annotated[
        str | None,
        Option(
            "--weights",
            metavar="NAME",
            help="which weights of a checkpoint that holds several, as in ema",
        ),
    ] = None

    def read_config(self) -> Any:
        """Read the configuration, with `--opts` in place of its own values; None if none is given.

        Raises:
            TrireidError: `--opts` without `--config`, or a value that does not fit.
        """
        if not self.opts:
            return self.config
        if self.config is None:
            raise TrireidError(
                "--opts changes a training configuration: give it, too (--config YML)", "--opts"
            )
        from trireid.models import read_research_yaml

        return read_research_yaml(self.config, self.opts)

    def load(self, file: str | Path) -> Embedder:
        """Load a network.

        Raises:
            TrireidError: The file is not a checkpoint, and options of one are given.
        """
        from trireid.inference import load_artifact
        from trireid.inference.artifact import is_checkpoint

        if (self.config or self.weights) and not is_checkpoint(Path(file)):
            option = "--config" if self.config else "--weights"
            raise TrireidError(
                f"{option} is for a checkpoint, and {file} is not one; leave it out", option
            )
        return load_artifact(file, config=self.read_config(), weights=self.weights)

    def find_recorded(self, gallery: str | Path) -> Path | None:
        """Find the checkpoint of a gallery, which needs its configuration to be opened again.

        Returns:
            The file; None if no option of a checkpoint is given.

        Raises:
            TrireidError: An option is given, and there is not a gallery that names a checkpoint.
        """
        from trireid.gallery import is_gallery, read_artifact_path

        option = next((f"--{name}" for name, value in vars(self).items() if value), None)
        if option is None:
            return None
        if not is_gallery(gallery):
            raise TrireidError(f"{option} is for a checkpoint: name it, too (--model FILE)", option)
        return read_artifact_path(gallery)


@dataclass(frozen=True)
class Runtime:
    """The options of what runs networks."""

    provider: Annotated[
        Literal["cpu", "cuda"] | None,
        Option("--provider", help="where networks run (default: the best there is)"),
    ] = None
    threads: Annotated[
        int | None,
        Option("--threads", metavar="N", min=1, help="threads of a forward pass on the CPU"),
    ] = None

    def apply(self) -> None:
        """Put the options into the environment, where every process of a server finds them."""
        for name, value in vars(self).items():
            if value is not None:
                from trireid.inference import artifact  # not for commands that run no network

                os.environ[getattr(artifact, name.upper())] = str(value)


def open_comparison(data: str | None, allow_outside: bool) -> Source | None:
    """Open the SOURCE that two networks are compared on, if one is given."""
    from trireid.samples.sources import open_source

    return open_source(data, allow_outside=allow_outside) if data else None
