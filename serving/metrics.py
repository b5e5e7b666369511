"""The metrics that Prometheus reads: requests, errors, stages, batches, the queue, sizes.

Several worker processes add up through files in one folder, which the server's parent process makes
before it starts them, and removes at its end: BentoML's own is shared by all servers of a user, and
wiped whenever one of them starts.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from trireid.serving.timings import Timings

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_FOLDER: Final = "TRIREID_METRICS_FOLDER"
_PROMETHEUS: Final = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_SAMPLES: Final = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The service's own metrics, all named `trireid_...`."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        # a worker process; Prometheus reads it as each metric is made
        if _FOLDER in os.environ and _PROMETHEUS in os.environ:
            os.environ[_PROMETHEUS] = os.environ[_FOLDER]
        self._registry = registry
        self._requests = Counter(
            "trireid_requests", "Requests answered.", ("path", "status"), registry=registry
        )
        self._seconds = Histogram(
            "trireid_request_seconds",
            "From a request's arrival to its answer.",
            ("path",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._errors = Counter(
            "trireid_errors",
            "Answers that are errors, by their code.",
            ("code",),
            registry=registry,
        )
        self._stages = Histogram(
            "trireid_stage_seconds",
            "Of a request: decoding, embedding (its wait included), searching, storing.",
            ("stage",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._batches = Histogram(
            "trireid_batch_samples",
            "Samples in a forward pass.",
            buckets=_SAMPLES,
            registry=registry,
        )
        self._queue = Gauge(
            "trireid_queue_requests",
            "Requests at work or waiting for it.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._items = Gauge(
            "trireid_gallery_items",
            "Items of a gallery.",
            ("gallery",),
            multiprocess_mode="mostrecent",
            registry=registry,
        )

    def count_answer(self, path: str, status: int, seconds: float) -> None:
        """Count an answer; `path` is the route, not what a client made up."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def count_error(self, code: str) -> None:
        """Count an answer that is an error."""
        self._errors.labels(code).inc()

    def observe_timings(self, timings: Timings) -> None:
        """Record how long each stage of a request took."""
        for name, seconds in timings.items():
            self._stages.labels(name).observe(seconds)

    def observe_batch(self, samples: int) -> None:
        """Count a forward pass by its samples."""
        self._batches.observe(samples)

    def set_queue(self, requests: int) -> None:
        """Set how many requests are at work or wait."""
        self._queue.set(requests)

    def set_items(self, gallery: str, items: int) -> None:
        """Set how many items a gallery has."""
        self._items.labels(gallery).set(items)

    def render(self) -> bytes:
        """Render what all of the server's processes have counted, as Prometheus reads it."""
        registry = self._registry
        if _PROMETHEUS in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def share_metrics() -> None:
    """Make the folder through which the worker processes, started after this, add up; it is gone at
    this process's end.
    """
    folder = tempfile.mkdtemp(prefix="trireid-metrics-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[_FOLDER] = folder
