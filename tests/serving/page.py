"""The page in a browser: what a person does with it, and what they see."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement

from tests.serving.browser import emulate

ATTEMPTS = 20.0


class Page:
    """One visit, with a `token` as if signed in.

    `folder`: where screenshots go, unless TRIREID_SCREENSHOTS names another.
    """

    def __init__(
        self, browser: WebDriver, address: str, folder: Path, token: str | None = None
    ) -> None:
        self.browser, self.address, self.token = browser, address.rstrip("/"), token
        self.folder = Path(os.environ.get("TRIREID_SCREENSHOTS") or folder)

    def open(self, shown: str = "search", **screen: Any) -> Page:
        """Visit as somebody new, on such a screen, until the view `shown` is there."""
        self.browser.get("about:blank")
        emulate(self.browser, **screen)
        kept = f'sessionStorage.setItem("trireid.token", "{self.token}")' if self.token else ""
        first = self.browser.execute_cdp_cmd(
            "Page.addScriptToEvaluateOnNewDocument", {"source": f"sessionStorage.clear(); {kept}"}
        )
        self.browser.get(f"{self.address}/ui/")
        self.browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", first)
        self.until(f"!document.getElementById('{shown}').hidden")
        return self

    def run(self, script: str, *arguments: Any) -> Any:
        """The result of a script in the page."""
        return self.browser.execute_script(script, *arguments)

    def until(self, condition: str) -> None:
        """Wait for a condition in JavaScript."""
        deadline = time.monotonic() + ATTEMPTS
        while not self.run(f"return Boolean({condition})"):
            if time.monotonic() > deadline:
                pytest.fail(f"never became true: {condition}")
            time.sleep(0.03)

    def by(self, id_: str) -> WebElement:
        """An element by its id."""
        return self.browser.find_element("id", id_)

    def all(self, selector: str) -> list[WebElement]:
        """The elements of a CSS selector."""
        return self.browser.find_elements("css selector", selector)

    def texts(self, selector: str) -> list[str]:
        """The texts of the elements of a CSS selector, as far as they are shown."""
        return [element.text for element in self.all(selector) if element.is_displayed()]

    def press(self, *keys: str) -> None:
        """Press keys, one after the other, wherever the focus is."""
        for key in keys:
            ActionChains(self.browser).send_keys(key).perform()

    @property
    def focused(self) -> str:
        """The id of what has the focus, or its class."""
        found: str = self.run(
            "return document.activeElement.id || document.activeElement.className"
        )
        return found

    def choose(self, paths: Iterable[Path]) -> None:
        """Choose images as one does in a file dialog."""
        paths = list(paths)
        self.by("pick-rgb").send_keys("\n".join(map(str, paths)))
        self.until(f"document.querySelectorAll('.slot[data-filled]').length >= {len(paths)}")

    def search(self) -> None:
        """Search, and wait for the hits and their images."""
        self.by("go").click()
        self.hits()

    def hits(self) -> None:
        """Wait for hits, and for the images of those in view."""
        self.until("document.getElementById('progress').hidden && document.querySelector('.card')")
        self.until("document.querySelector('.card .thumb img')?.naturalWidth > 0")

    def shoot(self, name: str) -> Path:
        """A screenshot, once the images in view are there."""
        self.until(
            "[...document.images].every((image) => image.naturalWidth || !image.checkVisibility()"
            " || (({ top, bottom }) => top > innerHeight || bottom <"
            " 0)(image.getBoundingClientRect()))"
        )
        path = self.folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert self.browser.save_screenshot(str(path))
        return path


TAB, ENTER, ESCAPE, SPACE = Keys.TAB, Keys.ENTER, Keys.ESCAPE, Keys.SPACE
