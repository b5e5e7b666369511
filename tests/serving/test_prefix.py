"""A server behind a proxy with a prefix: it strips it, or it does not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urljoin

import pytest

from tests.conftest import ROOT
from tests.serving.conftest import Server, fill_gallery, run_server
from tests.serving.test_scopes import ask
from tests.serving.test_service import files
from trireid.inference import Embedder
from trireid.samples import ConfigError
from trireid.serving.settings import load_settings


@pytest.fixture(scope="module")
def prefixed(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Iterator[Server]:
    """A server that knows of the prefix /reid."""
    folder = tmp_path_factory.mktemp("prefixed")
    with run_server(
        (fill_gallery(folder / "people.gallery", embedder),),
        folder / "log",
        {"TRIREID_ROOT_PATH": "/reid/"},
    ) as made:
        yield made


def test_every_address_on_the_pages_is_relative(server: Server) -> None:
    text = server.client.get("/docs/").text
    addresses = re.findall(r'(?:href|src)="([^"]+)"', text)
    assert addresses
    for address in addresses:
        assert not address.startswith("/")
        assert server.client.get(urljoin("/docs/", address)).status_code == 200
    for path, target in (("/", "ui/"), ("/ui", "ui/"), ("/docs", "docs/")):
        answer = server.client.get(path)
        assert (answer.status_code, answer.headers["location"]) == (307, target)
    servers = json.loads(server.client.get("/openapi.json").text)["servers"]
    assert [urljoin("http://a/reid/openapi.json", each["url"]) for each in servers] == [
        "http://a/reid/",
        "http://a/reid/v1",
    ]


@pytest.mark.parametrize("prefix", ["", "/reid"])
def test_a_prefix_may_be_stripped_or_not(prefixed: Server, prefix: str) -> None:
    for path in ("/galleries", "/v1/galleries", "/ui/", "/docs/", "/readyz", "/whoami"):
        assert prefixed.client.get(prefix + path).status_code == 200
    hits = prefixed.client.post(f"{prefix}/search", files=files(5)).json()["hits"]
    assert prefixed.client.get(prefix + hits[0]["images"]["rgb"]).status_code == 200
    for path in ("/reid", "/reidgalleries", "/other/galleries", "/reid/reid/galleries"):
        assert ask(prefixed, "GET", path, {}) == 404


@pytest.mark.parametrize("path", ["reid", "/a b", "/a/../b?", "/a\n", "//a"])
def test_a_prefix_that_is_not_a_path_is_refused(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIREID_ROOT_PATH", path)
    with pytest.raises(ConfigError, match="TRIREID_ROOT_PATH"):
        load_settings()


def test_a_server_without_a_folder_for_temporary_files_says_so_in_one_line() -> None:
    code = (
        "import tempfile, sys, trireid.cli; tempfile._candidate_tempdir_list = lambda:"
        " ['/proc/none'];"
        "sys.exit(trireid.cli.main(['serve']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.startswith("trireid: TMPDIR: no temporary file can be written")
    assert done.stderr.count("\n") == 1
