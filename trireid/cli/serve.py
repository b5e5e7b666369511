"""`trireid serve`: galleries over HTTP."""

from __future__ import annotations

from typing import Annotated

from trireid.cli.command import command, make_app
from trireid.cli.output import Output
from trireid.serving.settings import ServerSettings, load_settings

app = make_app()


@command(app)
def serve(settings: Annotated[ServerSettings, load_settings], out: Output) -> int:
    """Serve galleries over HTTP; the demo galleries if none is named.

    Each option is an environment variable, too. TRIREID_TOKENS alone is not an option: other users
    see options.
    """
    from trireid.serving.run import serve

    url = f"http://{settings.host}:{settings.port}{settings.root_path}"
    if out.json:
        out.result({"url": url, "galleries": [str(each) for each in settings.galleries]})
    return serve(settings)
