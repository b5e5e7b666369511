"""`trireid search`: a query against a gallery, in a folder or on a server."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from trireid.cli.command import command, make_app
from trireid.cli.options import Checkpoint, Runtime
from trireid.cli.output import Output
from trireid.gallery.search_params import SearchParams
from trireid.samples import Sample, TrireidError

if TYPE_CHECKING:
    from trireid.serving.schemas import HitAnswer

app = make_app()


@dataclass(frozen=True)
class Query:
    """The sample that is searched for."""

    rgb: Annotated[str | None, Option("--rgb", metavar="FILE", help="the rgb image")] = None
    nir: Annotated[str | None, Option("--nir", metavar="FILE", help="the nir image")] = None
    tir: Annotated[str | None, Option("--tir", metavar="FILE", help="the tir image")] = None
    camera: Annotated[
        int | None, Option("--camera", metavar="N", help="the query's own camera")
    ] = None


@command(app)
def search(
    query: Query,
    params: SearchParams,
    checkpoint: Checkpoint,
    runtime: Runtime,
    out: Output,
    gallery: Annotated[
        str | None,
        Option(
            "--gallery",
            metavar="DIR",
            help="the gallery's folder; with --url the name of one that is served",
        ),
    ] = None,
    url: Annotated[
        str | None,
        Option("--url", metavar="URL", help="ask this server, as in http://127.0.0.1:3000"),
    ] = None,
    token: Annotated[
        str | None,
        Option(
            "--token",
            metavar="T",
            help="for the server (better: in TRIREID_TOKEN, which no other user sees)",
        ),
    ] = None,
    model: Annotated[
        str | None,
        Option("--model", metavar="FILE", help="the gallery's artifact, if it was moved"),
    ] = None,
) -> None:
    """Query a gallery by image: the gallery's folder, or one on a server (--url)."""
    local = {"model": model, **vars(checkpoint), **vars(runtime)}
    _check_target(gallery, url, token, local)
    runtime.apply()
    sample = Sample(**vars(query))
    if url is not None:
        hits = _search_server(url, token, gallery, sample, params)
    else:
        assert gallery is not None
        hits = _search_folder(gallery, model, checkpoint, sample, params)
    if out.json:
        out.result({"hits": [vars(hit) for hit in hits]})
    elif not hits:
        out.result({}, "no hits")
    else:
        columns = ("rank", "score", "prob.", "identity", "camera", "id")
        out.table(columns, map(_cells, hits), right="rank score prob. camera")


def _search_folder(
    gallery: str, model: str | None, checkpoint: Checkpoint, sample: Sample, params: SearchParams
) -> Sequence[HitAnswer]:
    from trireid.gallery import Gallery
    from trireid.serving.schemas import HitAnswer

    file = model or checkpoint.find_recorded(gallery)
    embedder = checkpoint.load(file) if file else None
    with Gallery.open(gallery, embedder, create=False) as opened:
        hits = opened.search(sample, params)
        return [HitAnswer.from_hit(opened.name, hit) for hit in hits]


def _search_server(
    url: str, token: str | None, gallery: str | None, sample: Sample, params: SearchParams
) -> Sequence[HitAnswer]:
    from trireid.serving.client import TOKEN, Client

    with Client(url, token or os.environ.get(TOKEN) or None) as client:
        return client.search(sample, gallery, params).hits


def _check_target(
    gallery: str | None, url: str | None, token: str | None, local: Mapping[str, Any]
) -> None:
    """Raises TrireidError for options of a folder with `--url`, or of a server without it."""
    if url is None:
        if gallery is None:
            raise TrireidError("give --gallery DIR, or --url of a server", "--gallery")
        if token is not None:
            raise TrireidError("--token is for a server: give its --url, too", "--token")
        return
    for name, value in local.items():
        if value is not None:
            raise TrireidError(
                f"--{name} is for a gallery's folder; the server at --url has its own", f"--{name}"
            )


def _cells(hit: HitAnswer) -> tuple[str, ...]:
    """The cells of a hit, `-` for what is unknown."""
    likely = "-" if hit.probability is None else f"{hit.probability:.2f}"
    camera = "-" if hit.camera is None else str(hit.camera)
    return str(hit.rank), f"{hit.score:.3f}", likely, hit.identity or "-", camera, hit.id
