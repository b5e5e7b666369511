"""The BentoML service: `bentoml serve` finds it through bentofile.yaml.

Serves the galleries that `TRIREID_GALLERIES` names, or the demo galleries, which it makes where they are absent.
"""

from __future__ import annotations

import logging

import bentoml

from export.installation import conflicts
from serving.app import create_app
from serving.demo import ensure_demo_galleries
from serving.desk import Desk
from serving.settings import named_galleries

app = create_app()
_log = logging.getLogger("bentoml.trireid")


@bentoml.asgi_app(app, path="/")
@bentoml.service(name="trireid", http={"host": "127.0.0.1", "port": 3000}, workers=1, traffic={"timeout": 60})
class ReIDService:
    """Multi-modal re-identification: who or what is this, and where else was it seen?"""

    def __init__(self) -> None:
        for conflict in conflicts():
            _log.warning(conflict)
        app.state.desk = self.desk = Desk(named_galleries() or ensure_demo_galleries())

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """Close the galleries."""
        self.desk.close()
