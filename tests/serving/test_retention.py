"""The server applies the galleries' rules of retention when it starts."""

from __future__ import annotations

import time
from pathlib import Path

from tests.serving.conftest import fill_gallery
from trireid.gallery import Gallery
from trireid.gallery.retention import set_keep_days
from trireid.inference import Embedder
from trireid.serving.gallery_service import GalleryService
from trireid.serving.metrics import Metrics
from trireid.serving.settings import ServerSettings


def test_a_server_removes_what_is_older_than_its_gallery_keeps_items(
    tmp_path: Path, embedder: Embedder
) -> None:
    folder = fill_gallery(tmp_path / "people.gallery", embedder)
    set_keep_days(folder, 30)
    with Gallery.open(folder, embedder) as gallery:
        gallery._writer.run("UPDATE items SET added = added - 40 * 86400 WHERE id IN ('s1', 's2')")
    service = GalleryService([folder], ServerSettings(), Metrics())
    try:
        until = time.monotonic() + 60
        while service.describe_gallery("people").size == 12 and time.monotonic() < until:
            time.sleep(0.05)
        detail = service.describe_gallery("people")
        assert (detail.size, detail.keep_days) == (10, 30)
        assert {"s1", "s2"}.isdisjoint(service.galleries["people"].ids())
    finally:
        service.close()
