"""The service: BentoML, the HTTP face, the demo galleries."""

import os

# BentoML reports usage unless it is told not to; it looks when it starts to serve, after this room is imported.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "true")
