"""TensorRT's timing cache: what a build has measured of kernels, kept for the next one on the same
GPU and version.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from trireid.inference.tensorrt.library import Library
from trireid.inference.tensorrt.plan import Gpu
from trireid.samples.cache_folder import cache_folder
from trireid.samples.durable import write_whole

log = logging.getLogger(__name__)


def default_path(library: Library, gpu: Gpu) -> Path:
    """Where the cache of a GPU and version stands: in the user's cache folder (XDG_CACHE_HOME)."""
    return (
        cache_folder() / f"{re.sub(r'[^A-Za-z0-9.]+', '-', f'{library.title} {gpu.name}')}.timing"
    )


def attach(config: Any, path: Path) -> None:
    """Give a builder's configuration the cache in a file; one that is absent, damaged or another
    GPU's is an empty one.
    """
    found = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(found)
    if cache is None or not config.set_timing_cache(cache, False):
        log.warning("%s: not a timing cache of this GPU and version; it is made anew", path)
        config.set_timing_cache(config.create_timing_cache(b""), False)


def keep(config: Any, path: Path) -> None:
    """Write what the build has added.

    A cache that cannot be written costs time at the next build, and is no error.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, bytes(config.get_timing_cache().serialize()))
    except OSError as error:
        log.warning("%s: the timing cache cannot be written: %s", path, error.strerror)
