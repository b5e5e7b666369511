"""Make the screenshots of the page `/ui/`: the real page, in Chromium, over a small gallery of
synthetic persons.

python -m docs.page
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from tests.serving.browser import chromium, need_browser
from tests.serving.conftest import run_server
from tests.serving.page import Page
from tests.serving.page_gallery import draw_samples, fill, write_images

HERE = Path(__file__).parent
SCREENS: dict[str, dict[str, Any]] = {
    "page": {"width": 1360, "height": 860},
    "page-phone": {"width": 360, "height": 740, "scheme": "dark"},
}


def shoot(folder: Path) -> None:
    """Take screenshots of a search, whose query is not in the gallery, on a desktop and a phone."""
    query, *known = [
        sample for sample in draw_samples("person", 8, shots=2) if sample.tir is not None
    ]
    gallery, images = fill(folder / "people.gallery", known, "person"), write_images(query, folder)
    with (
        run_server((gallery,), folder / "log") as server,
        chromium(*need_browser(), folder / "profile") as browser,
    ):
        for name, screen in SCREENS.items():
            page = Page(browser, str(server.client.base_url), folder).open(**screen)
            page.choose(images.values())
            page.by("camera").send_keys(str(query.camera))
            page.by("other-cameras").click()
            page.search()
            with Image.open(page.shoot(name)) as image:
                small = image.convert("RGB").quantize(method=Image.Quantize.FASTOCTREE)
                small.save(HERE / f"{name}.png", optimize=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        shoot(Path(made))
