"""The HTTP service on BentoML, and its client."""

import os

# BentoML and ONNX Runtime report usage unless they are told not to; they look when they start,
# after this package is imported.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "true")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# The C library's heaps: by default one for each of many threads, none of which gives back what it
# once held. It looks when a process starts: the worker processes start after this.
os.environ.setdefault("MALLOC_ARENA_MAX", "2")
