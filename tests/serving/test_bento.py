"""The bento: built without a network, whole and no more than that, and served from elsewhere over
galleries outside.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import httpx
import pytest
import yaml

from tests.conftest import ROOT, SUBPACKAGES, build_wheel, make_sample
from tests.serving.conftest import start_command, stop
from trireid.gallery import Gallery
from trireid.inference import Embedder, load_artifact

VARIANTS = {"cpu": "bentofile.yaml", "gpu": "bentofile.gpu.yaml"}
LAYERS = ("trireid", *SUBPACKAGES)
BENTOML = [sys.executable, "-m", "bentoml"]


def read(file: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / file).read_text())
    return content


@pytest.mark.parametrize(("extra", "file"), VARIANTS.items())
def test_a_bentos_packages_are_pyprojects(extra: str, file: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert read(file)["python"]["packages"] == [
        *project["dependencies"],
        *project["optional-dependencies"][extra],
    ]


def test_the_variants_differ_in_their_packages_alone() -> None:
    cpu, gpu = (read(file) for file in VARIANTS.values())
    for variant in (cpu, gpu):
        del variant["python"]["packages"]
    assert cpu == gpu


@dataclass(frozen=True)
class Bento:
    """A built bento: its folder in a store, the store's home."""

    folder: Path
    home: Path


@pytest.fixture(scope="module")
def bento(tmp_path_factory: pytest.TempPathFactory) -> Bento:
    """Built as `bentoml build` does, with a `uv` that fails: nothing may be resolved, so nobody is
    asked over a network.
    """
    folder = tmp_path_factory.mktemp("bento")
    uv = folder / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text("#!/bin/sh\nexit 1\n")
    uv.chmod(0o755)
    home = folder / "home"
    build_wheel(ROOT / "dist")
    environment = {
        **os.environ,
        "BENTOML_HOME": str(home),
        "PATH": f"{uv.parent}{os.pathsep}{os.environ['PATH']}",
    }
    subprocess.run(
        [*BENTOML, "build", "--version", "built"],
        cwd=ROOT,
        env=environment,
        check=True,
        timeout=240,
        capture_output=True,
    )
    return Bento(home / "bentos" / "trireid-service" / "built", home)


def test_it_carries_the_wheel_and_nothing_else(bento: Bento) -> None:
    source = bento.folder / "src"
    held = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()} - {
        "bentofile.yaml"
    }
    assert held == {"LICENSE", "NOTICE"}
    (wheel,) = (bento.folder / "env" / "python" / "wheels").iterdir()
    assert read("bentofile.yaml")["python"]["wheels"] == [f"dist/{wheel.name}"]
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.split("/")[0] for name in names} == {
        "trireid",
        wheel.name.split("-py3")[0] + ".dist-info",
    }
    listed = subprocess.run(
        ["git", "ls-files", *LAYERS], cwd=ROOT, check=True, capture_output=True, text=True
    )
    files = {
        name if name.startswith("trireid/") else f"trireid/{name}"
        for name in listed.stdout.splitlines()
    }
    assert {name for name in names if name.startswith("trireid/")} == files
    assert {Path(name).name for name in names if "/licenses/" in name} == {"LICENSE", "NOTICE"}


def test_it_names_no_index_and_no_torch(bento: Bento) -> None:
    requirements = (bento.folder / "env" / "python" / "requirements.txt").read_text()
    assert "://" not in requirements
    assert "torch" not in requirements
    assert "index_url: null" in (bento.folder / "bento.yaml").read_text()


def test_it_serves_a_gallery_outside_by_its_own_artifact(bento: Bento, tmp_path: Path) -> None:
    with Gallery.open(
        tmp_path / "volume" / "people.gallery", load_artifact("person-tiny")
    ) as gallery:
        gallery.add([make_sample(i, id=f"s{i}") for i in range(3)])
    (tmp_path / "elsewhere").mkdir()
    process, client = start_command(
        [*BENTOML, "serve", "trireid-service:built"],
        tmp_path / "log",
        tmp_path / "elsewhere",
        {"BENTOML_HOME": str(bento.home), "TRIREID_GALLERY_ROOT": "../volume"},
    )
    query = make_sample(1)
    with closing(client):
        answer = client.post(
            "/search", files={name: (name, getattr(query, name)) for name in ("rgb", "nir", "tir")}
        )
        ready = client.get("/readyz")
        stop(process)
        with pytest.raises(httpx.TransportError):
            client.get("/livez")
    assert answer.status_code == 200, answer.text
    assert (answer.json()["gallery"], answer.json()["hits"][0]["id"]) == ("people", "s1")
    assert ready.status_code == 200


def test_bentoml_serve_alone_serves_from_the_root(tmp_path: Path, embedder: Embedder) -> None:
    """Without a root of galleries it serves the demo galleries, which take long to make: test_demo."""
    Gallery.open(tmp_path / "people.gallery", embedder).close()
    environment = {"BENTOML_HOME": str(tmp_path / "home"), "TRIREID_GALLERY_ROOT": str(tmp_path)}
    process, client = start_command([*BENTOML, "serve"], tmp_path / "log", ROOT, environment)
    with closing(client):
        (served,) = client.get("/galleries").json()["galleries"]
        stop(process)
    assert served["name"] == "people"


def test_the_image_is_made_from_the_packages_and_nothing_else() -> None:
    wanted = {"pyproject.toml", "README.md", "LICENSE", "NOTICE", "locks", "trireid", *SUBPACKAGES}
    lines = [line.split() for line in (ROOT / "Dockerfile").read_text().splitlines()]
    copied = {
        name
        for line in lines
        if line[:1] == ["COPY"] and not line[1].startswith("--")
        for name in line[1:-1]
    }
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert copied == wanted
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == wanted
    assert "*" in ignored
