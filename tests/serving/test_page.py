"""The page `/ui/`, in Debian's own Chromium against a real server: everything a guard or an analyst
does with it.
"""

from __future__ import annotations

import base64
import fnmatch
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver

from tests.conftest import ROOT, find_shared
from tests.serving.browser import chromium, console, list_requests, need_browser
from tests.serving.conftest import TOKENS, Server, run_server
from tests.serving.page import ENTER, ESCAPE, SPACE, TAB, Page
from tests.serving.page_gallery import NAMES, draw_samples, fill, write_images
from trireid.gallery import Gallery
from trireid.inference import Embedder
from trireid.samples import Sample

UI = ROOT / "serving" / "ui"
PHONE: dict[str, Any] = {"width": 360, "height": 740}
_JS_NETWORK = re.compile(r"Failed to load resource: the server responded with a status of (\d+)")


@pytest.fixture(scope="session")
def samples() -> list[Sample]:
    """Drawn persons: the last one is in no gallery."""
    return draw_samples("person", 6)


@pytest.fixture(scope="session")
def shown(
    tmp_path_factory: pytest.TempPathFactory, samples: list[Sample], embedder: Embedder
) -> Iterator[Server]:
    """Galleries `people` (20 drawn items of 5 identities, of an embedded network) and `spare`
    (empty, of another one), behind tokens; the client has every scope.
    """
    folder = tmp_path_factory.mktemp("shown")
    known = [sample for sample in samples if sample.identity != NAMES[5]]
    folders = (fill(folder / "people.gallery", known, "person"), folder / "spare.gallery")
    Gallery.open(folders[1], embedder).close()
    tokens = ";".join(f"{name} {scopes} {token}" for name, (scopes, token) in TOKENS.items())
    with run_server(folders, folder / "log", {"TRIREID_TOKENS": tokens}) as server:
        server.client.headers["Authorization"] = f"Bearer {TOKENS['boss'][1]}"
        yield server


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    with chromium(*need_browser(), tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def page(browser: WebDriver, shown: Server, tmp_path: Path) -> Iterator[Page]:
    """The page, fresh, for who may do everything.

    Afterwards: it asked nobody else for anything, and the console shows no error, nor a breach of
    the CSP.
    """
    signed_in = Page(browser, str(shown.client.base_url), tmp_path, TOKENS["boss"][1])
    yield from visit(signed_in, expected={"415", "422"})


@pytest.fixture
def asked(browser: WebDriver, shown: Server, tmp_path: Path) -> Iterator[Page]:
    """The same for who has no token yet."""
    yield from visit(Page(browser, str(shown.client.base_url), tmp_path), expected={"401"})


def visit(page: Page, expected: set[str]) -> Iterator[Page]:
    page.browser.get("about:blank")
    console(page.browser)
    list_requests(page.browser)
    yield page
    errors = [
        message
        for message in console(page.browser)
        if not set(_JS_NETWORK.findall(message)) & expected
    ]
    assert errors == []
    asked = {
        url
        for url in list_requests(page.browser)
        if not url.startswith(("blob:", "data:", "about:"))
    }
    if page.browser.current_url != "about:blank":
        assert {urlsplit(url).netloc for url in asked} == {urlsplit(page.address).netloc}


@pytest.fixture
def query(samples: list[Sample], tmp_path: Path) -> dict[str, Path]:
    """The first item's images, as files named by their modality."""
    return write_images(samples[0], tmp_path)


def test_a_real_triplet_finds_hits_and_shows_their_images(page: Page) -> None:
    folder = find_shared("real") / "person"
    page.open().choose(
        folder / f"ideaP_0_query_01_{modality}.png" for modality in ("tir", "rgb", "nir")
    )
    assert [text.split(" ")[0] for text in page.texts(".slot-file")] == [
        f"ideaP_0_query_01_{modality}.png" for modality in ("rgb", "nir", "tir")
    ]
    page.search()
    assert len(page.all(".card")) == 12
    page.until(
        "[...document.querySelectorAll('.card .thumb img')].slice(0, 6).every((image) =>"
        " image.naturalWidth > 0)"
    )


def test_hits_say_all_that_is_known_of_them(
    page: Page, query: dict[str, Path], samples: list[Sample]
) -> None:
    page.open().choose(query.values())
    page.by("camera").send_keys(str(samples[0].camera))
    page.search()
    page.until("document.querySelectorAll('.card .thumb img').length > 30")
    first = page.all(".card")[0].text.split("\n")
    assert first[:3] == ["1", "Ada", samples[0].id]
    facts = dict(
        zip(first[first.index("camera") :: 2], first[first.index("camera") + 1 :: 2], strict=False)
    )
    assert facts["camera"] == str(samples[0].camera)
    assert (facts["time"], facts["colour"], facts["gate"]) == (
        "2026-03-02 08:15:00 UTC",
        "red",
        "0",
    )
    assert re.fullmatch(r"1\.0000|0\.99\d\d", first[first.index("score") + 1])
    assert re.fullmatch(r"[<\d.]+ %", first[first.index("probability") + 1])
    shares = page.run(
        "return [...document.querySelectorAll('.card .bar[data-meter=score] i')].map((bar) =>"
        " bar.offsetWidth)"
    )
    assert len(shares) == 12
    assert shares[0] == max(shares) > min(shares)  # a cosine below zero has an empty bar
    assert page.texts(".card .none") == ["none"]  # the item without a thermal image
    assert "12 hits in people" in page.by("results-about").text
    assert (page.by("live").get_attribute("textContent") or "").startswith(
        "12 hits. Best: Ada, score "
    )
    page.shoot("search-light")


def test_dropped_patches_are_dimmed_and_kept_ones_are_not(
    page: Page, shown: Server, query: dict[str, Path], samples: list[Sample]
) -> None:
    page.open().choose(query.values())
    page.search()
    files = {name: path.read_bytes() for name, path in query.items()}
    answer = shown.client.post("/search", files=files, data={"gallery": "people"}).json()
    rows, columns = answer["grid"]
    kept = answer["selected_patches"]["nir"]
    assert 0 < len(kept) < rows * columns
    alphas = """
        const [canvas, rows, columns] = [document.getElementById("overlay-nir"), ...arguments];
        const [width, height] = [canvas.width / columns, canvas.height / rows];
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const alpha = (x, y) => data[4 * (Math.floor(y) * canvas.width + Math.floor(x)) + 3];
        return Array.from({ length: rows * columns }, (_, patch) =>
          alpha((patch % columns + 0.5) * width, (Math.floor(patch / columns) + 0.5) * height));
    """
    dimmed = [patch for patch, alpha in enumerate(page.run(alphas, rows, columns)) if alpha > 100]
    assert dimmed == sorted(set(range(rows * columns)) - set(kept))
    box = "const {x, y, width, height} = arguments[0].getBoundingClientRect(); return [x, y, width, height]"
    overlay, image = (
        page.run(box, page.all(f'[data-modality="nir"] {each}')[0]) for each in ("canvas", "img")
    )
    assert overlay == pytest.approx(image, abs=1)
    assert f"{len(kept)} of {rows * columns}" in page.by("patches-count").text
    page.by("patches-shown").click()
    assert not page.by("overlay-nir").is_displayed()
    page.by("swap-rgb").click()  # other images: what was kept of these is not known
    assert not page.by("patches").is_displayed()
    assert page.by("note").text == "The images have changed since this search."


def test_images_are_dropped_pasted_swapped_and_cleared(
    page: Page, query: dict[str, Path], tmp_path: Path
) -> None:
    def read_fields() -> dict[str, str]:
        found = page.all(".slot[data-filled]")
        return {
            slot.get_attribute("data-modality") or "": slot.find_element(
                "css selector", ".slot-file"
            ).text
            for slot in found
        }

    page.open()
    drop(page, [query["tir"], query["rgb"]])
    page.until("document.querySelectorAll('.slot[data-filled]').length === 2")
    assert read_fields() == {name: query[name].name for name in ("rgb", "tir")}
    plain = tmp_path / "IMG 0001.png"
    plain.write_bytes(query["nir"].read_bytes())
    paste(page, plain)
    page.until("document.querySelectorAll('.slot[data-filled]').length === 3")
    assert read_fields()["nir"] == plain.name  # the free slot
    page.by("swap-rgb").click()
    assert (read_fields()["rgb"], read_fields()["nir"]) == (plain.name, query["rgb"].name)
    assert page.focused == "swap-nir"
    page.by("clear-rgb").click()
    assert set(read_fields()) == {"nir", "tir"}
    page.by("clear").click()
    assert read_fields() == {}
    others = [tmp_path / f"{number}.png" for number in range(4)]
    for other in others:
        other.write_bytes(query["rgb"].read_bytes())
    drop(page, others)
    page.until("document.querySelectorAll('.slot[data-filled]').length === 3")
    assert read_fields() == {"rgb": "0.png", "nir": "1.png", "tir": "2.png"}
    assert page.by("error-images").text == "Three images at most: 1 file left out."


def drop(page: Page, paths: list[Path]) -> None:
    """Real files, over the page: what the desktop does when somebody lets go of them."""
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        page.browser.execute_cdp_cmd(
            "Input.dispatchDragEvent", {"type": kind, "x": 700, "y": 500, "data": data}
        )


def paste(page: Page, path: Path) -> None:
    page.run(
        """
        const [name, text] = arguments;
        const data = new DataTransfer();
        data.items.add(new File([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))], name, { type: "image/png" }));
        document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
        """,
        path.name,
        base64.b64encode(path.read_bytes()).decode(),
    )


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("0001_RGB.jpg", "rgb"),
        ("NI/0001.jpg", "nir"),
        ("TI-3.png", "tir"),
        ("a_nir.png", "nir"),
        ("a.tir.bmp", "tir"),
        ("rgb/seen_ti.jpg", "tir"),
        ("0001.jpg", None),
        ("Nina_tirana.png", None),
    ],
)
def test_names_hint_at_their_modality(
    browser: WebDriver, shown: Server, name: str, modality: str | None
) -> None:
    address = f"{shown.client.base_url}/ui/"
    if browser.current_url != address:
        browser.get(address)
    script = 'import("/ui/modalities.js").then(({ hinted }) => arguments[1](hinted(arguments[0])))'
    assert browser.execute_async_script(script, name) == modality


def test_everything_can_be_done_with_the_keyboard(page: Page, query: dict[str, Path]) -> None:
    page.open(motion="no-preference")
    page.press(TAB)
    assert page.focused == "skip"
    assert page.run("return document.activeElement.getBoundingClientRect().top") >= 0
    reached = []
    while page.focused != "pick-rgb":
        page.press(TAB)
        assert_focus_shows(page)
        reached.append(page.focused)
    assert "gallery" in reached
    page.browser.switch_to.active_element.send_keys("\n".join(map(str, query.values())))
    page.until("document.querySelectorAll('.slot[data-filled]').length === 3")
    assert page.focused == "pick-rgb"
    seen = set()
    while page.focused != "go":
        page.press(TAB)
        assert_focus_shows(page)
        seen.add(page.focused)
    assert {"swap-rgb", "clear-tir", "pick-tir", "camera", "k", "other-cameras"} <= seen
    page.press(ENTER)
    page.hits()
    assert page.focused == "results"
    page.press(TAB, SPACE)
    assert page.focused == "grouped"
    assert len(page.texts(".card")) < 12
    page.press(TAB)
    assert page.run("return document.activeElement.closest('#demo-network') !== null")
    page.press(TAB)
    assert page.focused == "view"
    page.press(ENTER)
    assert page.by("compare").is_displayed()
    page.press(ESCAPE)
    assert not page.by("compare").is_displayed()
    assert page.focused == "view"
    page.press(TAB)
    assert page.focused == "more"
    before = len(page.texts(".card"))
    page.press(ENTER)
    assert len(page.texts(".card")) > before
    assert_focus_shows(page)


def assert_focus_shows(page: Page) -> None:
    ring = page.run(
        """
        const focused = document.activeElement;
        const ringed = focused.type === "file" ? focused.closest(".slot-drop") : focused;
        const style = getComputedStyle(ringed);
        return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 || focused.matches(".skip");
        """
    )
    assert ring, page.focused


def test_a_hit_is_the_next_query(page: Page, query: dict[str, Path]) -> None:
    page.open().choose([query["rgb"]])
    page.search()
    third = page.all(".card")[2]
    item, camera = (
        third.get_attribute("data-id"),
        third.find_elements("css selector", ".facts dd")[0].text,
    )
    third.find_element("css selector", '[aria-label="Search with hit 3"]').click()
    page.until(f"document.querySelector('.card')?.dataset.id === {json.dumps(item)}")
    assert page.by("camera").get_attribute("value") == camera
    assert page.texts(".slot-file")[0] == f"{item}_rgb.jpg"


def test_filters_narrow_what_is_found(
    page: Page, query: dict[str, Path], samples: list[Sample]
) -> None:
    page.open().choose(query.values())
    page.by("camera").send_keys(str(samples[0].camera))
    page.by("other-cameras").click()
    page.all("#filters summary")[0].click()
    page.by("where-cameras").send_keys("0-2, 4")
    page.all("#where-attributes button")[0].click()
    page.press("gate", TAB, "0")
    assert page.by("filters-count").text == "2 set"
    page.search()
    wanted = {
        sample.id
        for sample in samples
        if sample.identity in ("Ada", "Eli")
        and sample.camera in (0, 1, 2, 4)
        and sample.camera != samples[0].camera
    }
    assert {card.get_attribute("data-id") for card in page.all(".card")} == wanted
    page.by("where-cameras").clear()
    page.by("where-cameras").send_keys("first")
    page.by("go").click()
    assert page.by("error-where-cameras").text == "Cameras: numbers such as 1, 3-5, not first"
    assert page.focused == "where-cameras"
    page.by("where-cameras").clear()
    page.run("document.getElementById('where-from').value = '2031-01-01T00:00'")
    page.by("go").click()
    page.until("document.querySelector('.empty-title').textContent === 'No hits'")


def test_errors_stand_next_to_their_field(
    page: Page, query: dict[str, Path], tmp_path: Path
) -> None:
    page.open().by("go").click()
    assert page.by("error-images").text == "Add at least one image."
    assert page.focused == "pick-rgb"
    wrong = tmp_path / "wrong_nir.png"
    wrong.write_text("no image")
    page.choose([query["rgb"], wrong])
    page.until("document.body.textContent.includes('No preview')")
    page.by("go").click()
    page.until("!document.getElementById('error-nir').hidden")
    assert page.by("error-nir").text.startswith("nir: not an image that is read")
    assert page.focused == "pick-nir"
    assert page.by("pick-nir").get_attribute("aria-invalid") == "true"
    page.by("clear-nir").click()
    assert not page.all("#error-nir")[0].is_displayed()
    page.by("k").clear()
    page.by("k").send_keys("5000")
    page.by("go").click()
    page.until("!document.getElementById('error-k').hidden")
    assert page.by("error-k").text.startswith("k: ")


def test_a_slow_search_shows_its_progress_and_is_cancelled(
    page: Page, query: dict[str, Path]
) -> None:
    page.open().choose(query.values())
    slow = {
        "offline": False,
        "latency": 20_000,
        "downloadThroughput": 1000,
        "uploadThroughput": 1000,
    }
    page.browser.execute_cdp_cmd("Network.enable", {})
    page.browser.execute_cdp_cmd("Network.emulateNetworkConditions", slow)
    try:
        for by_key in (False, True):
            page.by("go").click()
            page.until(
                "/^Searching people, 0.[3-9]"
                " s/.test(document.getElementById('progress-text').textContent)"
            )
            assert page.by("progress").is_displayed()
            page.press(ESCAPE) if by_key else page.by("cancel").click()
            page.until("document.getElementById('progress').hidden")
            assert page.by("live").get_attribute("textContent") == "Cancelled."
            assert not page.by("trouble").is_displayed()
    finally:
        fast = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        page.browser.execute_cdp_cmd("Network.emulateNetworkConditions", fast)


def test_enrolled_then_found_then_removed_after_a_confirmation(
    page: Page, shown: Server, samples: list[Sample], tmp_path: Path
) -> None:
    stranger, *again = [sample for sample in samples if sample.identity == NAMES[5]][:3]
    page.open()
    for sample, item in ((again[0], "z/3"), (again[1], "z/2"), (stranger, "z/1")):
        page.choose(write_images(sample, tmp_path).values())
        page.by("enroll-open").click()
        assert page.by("enroll-title").text == "Enroll into people"
        assert page.focused == "enroll-identity"
        page.press("Zoë <b>", TAB, item, TAB, "7")
        page.run("document.getElementById('enroll-time').value = '2026-03-30T12:00'")
        page.all("#enroll-attributes button")[0].click()
        page.press("bag", TAB, "left, small")
        page.by("enroll-go").click()
        page.until(
            f"document.getElementById('note').textContent === 'Enrolled into people as {item}.'"
        )
    page.until(
        "document.getElementById('gallery').selectedOptions[0].textContent === 'people (23)'"
    )
    page.search()
    first = page.all(".card")[0]
    for known in ("Zoë <b>", "z/1", "camera\n7", "2026-03-30 12:00 UTC", "bag\nleft, small"):
        assert known in first.text

    first.find_element("css selector", ".remove").click()
    assert page.focused == "remove-cancel"
    said = page.by("remove-what").text
    assert said.startswith(
        "Item z/1 (identity Zoë <b>, camera 7, 2026-03-30 12:00 UTC) will be removed from people,"
        " with 3 im"
    )
    assert page.by("remove-go").text == "Remove 1 item"
    page.press(ENTER)  # the focus is on Keep
    assert not page.by("remove").is_displayed()
    assert list_ids(shown, "Zoë <b>") == {"z/1", "z/2", "z/3"}
    page.all(".card .remove")[0].click()
    page.by("remove-go").click()
    page.until("document.getElementById('note').textContent === 'Removed 1 item.'")
    assert list_ids(shown, "Zoë <b>") == {"z/2", "z/3"}

    page.all(".card .remove")[0].click()
    page.by("remove-identity").click()
    page.until("document.getElementById('remove-go').textContent === 'Remove 2 items'")
    assert page.texts("#remove-what li") == [
        f"{item} (camera 7, 2026-03-30 12:00 UTC)" for item in ("z/2", "z/3")
    ]
    page.shoot("confirmation")
    page.by("remove-go").click()
    page.until("document.getElementById('note').textContent === 'Removed 2 items.'")
    assert not {"z/1", "z/2", "z/3"} & {card.get_attribute("data-id") for card in page.all(".card")}
    assert list_ids(shown, "Zoë <b>") == set()
    page.until(
        "document.getElementById('gallery').selectedOptions[0].textContent === 'people (20)'"
    )


def list_ids(server: Server, identity: str) -> set[str]:
    where = json.dumps({"identity": identity})
    image = {"rgb": (UI.parent.parent / "docs" / "person.png").read_bytes()}
    hits = server.client.post(
        "/search", files=image, data={"gallery": "people", "where": where}
    ).json()["hits"]
    return {hit["id"] for hit in hits}


def test_hits_of_one_identity_are_grouped(page: Page, query: dict[str, Path]) -> None:
    page.open(scheme="dark").choose(query.values())
    page.by("k").clear()
    page.by("k").send_keys("20")
    page.search()
    page.by("grouped").click()
    cards = page.texts(".card h3")
    assert sorted(cards) == sorted(NAMES[:5])
    assert cards[0] == "Ada"
    more = page.all(".more")[0]
    assert more.text == "3 more of Ada"
    more.click()
    assert page.texts(".card h3")[:5] == ["Ada", "Ada", "Ada", "Ada", cards[1]]
    page.shoot("grouped-dark")


def test_an_embedded_network_is_said_to_be_for_demonstration(page: Page) -> None:
    page.open()
    note = page.by("demo-network")
    assert note.text.startswith("General demo network, trained on drawn images: limited accuracy")
    page.run("gallery.value = 'spare'; gallery.dispatchEvent(new Event('change'))")
    assert not note.is_displayed()
    page.run("gallery.value = 'people'; gallery.dispatchEvent(new Event('change'))")
    page.all("#demo-network a")[0].click()
    page.until("document.querySelector('.better-network')")
    commands = page.texts(".better-network code")
    assert commands[-1] == "trireid gallery reembed people.gallery --model FILE.onnx"
    page.run("gallery.value = 'spare'; gallery.dispatchEvent(new Event('change'))")
    page.until("document.querySelector('.empty-gallery')")
    assert not page.all(".better-network")


def test_the_overview_counts_what_is_there(page: Page, samples: list[Sample]) -> None:
    page.open()
    page.all('#views a[href="#overview"]')[0].click()
    page.until("document.querySelector('.figures')")
    figures = page.texts(".figures dd")
    assert figures == ["20", "5", "6", "trireid-default-person", "person", "768"]
    bars = dict(row.split("\n")[:2] for row in page.texts(".bars li"))
    known = samples[:20]
    assert bars["camera 0"] == str(sum(sample.camera == 0 for sample in known))
    assert (bars["person"], bars["RGB + NIR + TIR"], bars["RGB + NIR"]) == ("20", "19", "1")
    about = page.all("svg.days")[0].get_attribute("aria-label") or ""
    assert about.startswith("20 items with a time, 2026-03-02 to 2026-03-2")
    page.shoot("overview")
    page.run("gallery.value = 'spare'; gallery.dispatchEvent(new Event('change'))")
    page.until(
        "document.querySelector('.empty-gallery')?.textContent.startsWith('spare holds nothing"
        " yet')"
    )
    page.all('#views a[href="#search"]')[0].click()
    assert page.texts(".empty-title") == ["spare is empty"]


def test_a_token_is_asked_for_kept_in_the_tab_and_forgotten(
    asked: Page, query: dict[str, Path]
) -> None:
    asked.open("sign-in")
    assert asked.focused == "token"
    asked.press("wrong-0123456789", ENTER)
    asked.until("!document.getElementById('error-token').hidden")
    assert asked.by("error-token").text.startswith("a token is needed")
    assert not asked.by("search").is_displayed()
    asked.press(TOKENS["boss"][1], ENTER)
    asked.until("!document.getElementById('search').hidden")
    assert asked.by("who-name").text == "boss"
    kept = "return [Object.values(sessionStorage), Object.keys(localStorage), document.cookie, location.href]"
    assert asked.run(kept) == [[TOKENS["boss"][1]], [], "", f"{asked.address}/ui/"]
    asked.choose(query.values())
    asked.search()
    asked.by("sign-out").click()
    assert asked.by("sign-in").is_displayed()
    assert asked.all(".card, .slot[data-filled]") == []  # nothing is left for who comes next
    assert asked.run(kept)[0] == []
    assert not asked.by("who").is_displayed()
    asked.press(TOKENS["ann"][1], ENTER)
    asked.until("!document.getElementById('search').hidden")
    asked.run("sessionStorage.setItem('trireid.token', 'withdrawn-0123456789')")
    asked.choose([query["rgb"]])
    asked.by("go").click()
    asked.until("!document.getElementById('sign-in').hidden")
    assert asked.by("error-token").text.startswith("a token is needed")


@pytest.mark.parametrize(
    ("name", "buttons"),
    [
        ("ann", {"go", "search"}),
        ("eve", {"enroll-open"}),
        ("rob", set()),
        ("boss", {"go", "search", "enroll-open", "remove"}),
    ],
)
def test_scopes_decide_what_is_offered(
    asked: Page, query: dict[str, Path], name: str, buttons: set[str]
) -> None:
    asked.open("sign-in").press(TOKENS[name][1], ENTER)
    asked.until("!document.getElementById('search').hidden")
    found = {button for button in ("go", "enroll-open") if asked.by(button).is_displayed()}
    found |= {"search"} if asked.by("views").is_displayed() else set()
    if "go" in found:
        asked.choose(query.values())
        asked.search()
        assert asked.all(".card [aria-label^='Search with']")
        found |= {"remove"} if asked.texts(".card .remove") else set()
    else:
        assert asked.texts(".empty-title") == ["This token may not search"]
    assert found == buttons
    if name == "eve":  # who may not see the galleries says which one
        asked.choose([query["rgb"]])
        asked.by("enroll-open").click()
        assert asked.focused == "enroll-gallery"
        asked.press("people")
        asked.by("enroll-id").send_keys("by-eve")
        asked.by("enroll-go").click()
        asked.until(
            "document.getElementById('note').textContent === 'Enrolled into people as by-eve.'"
        )


def test_an_open_server_asks_for_nothing(
    browser: WebDriver, server: Server, tmp_path: Path
) -> None:
    for page in visit(Page(browser, str(server.client.base_url), tmp_path), expected=set()):
        page.open()
        assert page.by("who-name").text == "open to this machine"
        assert not page.by("sign-out").is_displayed()
        assert page.by("enroll-open").is_displayed()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_is_legible(page: Page, query: dict[str, Path], scheme: str) -> None:
    script = (Path(__file__).parent / "contrast.js").read_text(encoding="utf-8")

    def check(what: str, least: int) -> None:
        found: dict[str, Any] = page.run(script)
        assert found["texts"] >= least, what
        assert found["errors"] == [], what

    page.open(scheme=scheme)
    assert page.run("return getComputedStyle(document.body).backgroundColor") == (
        "rgb(243, 245, 247)" if scheme == "light" else "rgb(14, 19, 24)"
    )
    page.by("go").click()
    page.all("#filters summary")[0].click()
    page.all("#where-attributes button")[0].click()
    check("before a search", 15)
    page.choose(query.values())
    page.by("k").clear()
    page.by("k").send_keys("20")
    page.search()
    page.by("swap-nir").click()
    check("hits", 100)
    page.all(".card .remove")[0].click()
    check("removing", 5)
    page.press(ESCAPE)
    page.by("enroll-open").click()
    check("enrolling", 8)
    page.press(ESCAPE)
    page.all(".view")[0].click()
    check("comparing", 8)
    page.press(ESCAPE)
    page.run("location.hash = '#overview'")
    page.until("document.querySelector('.figures')")
    check("overview", 30)


def test_a_phone_needs_no_scrolling_sideways(page: Page, query: dict[str, Path]) -> None:
    def check(what: str) -> None:
        assert page.run("return [document.documentElement.scrollWidth, innerWidth]") == [
            360,
            360,
        ], what
        wide = """
            return [...document.querySelectorAll("main *, header *, dialog[open] *")]
              .filter((each) => each.checkVisibility() && !each.closest(".visually-hidden, .skip, .table")
                && each.getBoundingClientRect().right > 361).map((each) => each.outerHTML.slice(0, 80))
        """
        assert page.run(wide) == [], what

    page.open(**PHONE)
    page.all("#filters summary")[0].click()
    page.all("#where-attributes button")[0].click()
    check("before a search")
    page.choose(query.values())
    page.search()
    # the hits are in view
    assert page.run("return document.getElementById('results').getBoundingClientRect().top") < 200
    check("hits")
    page.shoot("phone-hits")
    page.all(".card .remove")[0].click()
    check("removing")
    page.press(ESCAPE)
    page.run("scrollTo(0, 0)")
    page.shoot("phone")
    page.by("enroll-open").click()
    check("enrolling")
    page.press(ESCAPE)
    page.run("location.hash = '#overview'")
    page.until("document.querySelector('.figures')")
    check("overview")


def test_every_control_has_a_name(page: Page, query: dict[str, Path]) -> None:
    page.open().choose(query.values())
    page.search()
    nameless = """
        return [...document.querySelectorAll("input, select, button, a, img, svg, progress, dialog, nav")]
          .filter((each) => !(each.labels?.length || each.getAttribute("aria-label") || each.getAttribute("aria-labelledby")
            || each.textContent.trim() || each.hasAttribute("alt")))
          .map((each) => each.outerHTML.slice(0, 120))
    """
    assert page.run(nameless) == []
    ids = page.run("return [...document.querySelectorAll('[id]')].map(({ id }) => id)")
    assert len(ids) == len(set(ids))
    referred = """
        return [...document.querySelectorAll("[aria-describedby], [aria-labelledby], label[for]")].flatMap((each) =>
          ["aria-describedby", "aria-labelledby", "for"].flatMap((name) => each.getAttribute(name)?.split(" ") ?? []))
    """
    assert set(page.run(referred)) <= set(ids)


def test_the_files_need_no_other_host_and_are_in_the_wheel() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"][
        "package-data"
    ]["trireid.serving"]
    files = [path for path in UI.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"index.html", "main.js", "theme.css"}
    for path in files:
        assert any(
            fnmatch.fnmatch(str(path.relative_to(UI.parent)), pattern) for pattern in patterns
        ), path
        hosts = set(re.findall(r"https?://[^\s\"']+", path.read_text(encoding="utf-8")))
        assert hosts <= {"http://www.w3.org/2000/svg"}, path
    html = (UI / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", html) == []
