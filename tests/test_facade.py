"""`import trireid`: the names that it exports, and a wheel in a user's environment and folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from zipfile import ZipFile

import pytest

import trireid
from tests.conftest import SUBPACKAGES, build_wheel, encode_image
from tests.serving.conftest import start_command, stop
from trireid.samples import errors

NAMES = {
    *(
        "AsyncClient",
        "Card",
        "Client",
        "Embedder",
        "Gallery",
        "Hit",
        "Sample",
        "Scores",
        "SearchParams",
    ),
    *("__version__", "evaluate", "export_onnx", "load_artifact", "load_checkpoint"),
}
#: A user's script, and what mypy reveals of it.
SCRIPT = """
from trireid import Client, Gallery, ImageError, Sample, StoreError, evaluate, load_artifact

embedder = load_artifact("person.onnx")
with Gallery.open("people.gallery", embedder) as gallery:
    try:
        reveal_type(gallery.search(Sample(rgb="query.jpg"), k=10))
    except (ImageError, StoreError) as error:
        reveal_type(error.field)
reveal_type(evaluate)
with Client("http://127.0.0.1:3000") as client:
    reveal_type(client.whoami())
reveal_type(embedder.card.dimension)
"""
REVEALED = ("trireid.gallery.", "str | None", ".Scores", ".WhoAmI", '"int"')


def test_the_exported_names() -> None:
    assert set(trireid.__all__) == NAMES | set(errors.__all__)
    assert len(trireid.__all__) == len(set(trireid.__all__))
    assert set(trireid.__all__) <= set(dir(trireid))
    for name in trireid.__all__:
        assert getattr(trireid, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'trireid' has no attribute 'nothing'"):
        _ = trireid.nothing


def test_the_old_name_of_an_error_is_answered() -> None:
    assert trireid.PictureError is trireid.ImageError


def test_the_tree_of_errors_is_whole() -> None:
    tree, path = (errors.__doc__ or "").split("```")[1].strip(), ["ValueError"]
    names = []
    for line in tree.splitlines():
        row = re.fullmatch(r"([│├└─ ]*)(\w+)\S* +(as answered|\w+) .*", line)
        assert row, line
        start, name, code = row.groups()
        path[len(start) // 4 + 1 :] = [name]
        kind = getattr(errors, name)
        assert kind.__mro__[1].__name__ == path[-2]
        assert code in (kind.code, "as answered")
        names.append(name)
    assert sorted(names) == sorted(errors.__all__)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment that holds the wheel, and sees these tests' packages."""
    folder = tmp_path_factory.mktemp("environment")
    command = [sys.executable, "-m", "venv", "--without-pip", "--symlinks", str(folder)]
    subprocess.run(command, check=True, timeout=60)
    (packages,) = folder.glob("lib/python*/site-packages")
    with ZipFile(build_wheel(folder)) as wheel:
        assert {name.split("/")[0].split("-")[0] for name in wheel.namelist()} == {"trireid"}
        wheel.extractall(packages)
    # as plain folders: their own .pth files, that of an editable install too, are not read
    others = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "others.pth").write_text("\n".join(others))
    return folder / "bin" / "python"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's project, whose packages are called as the folders of this repository."""
    for name in SUBPACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('the user\\'s package')")
    return tmp_path


def run(python: Path, folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(
        [python, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_wheel_in_a_folder_with_packages_of_the_same_names(python: Path, folder: Path) -> None:
    where = run(python, folder, "-c", "import trireid as t; t.export_onnx; print(t.__file__)")
    assert Path(where.strip()).is_relative_to(python.parents[1])
    assert "Usage: trireid" in run(python, folder, "-m", "trireid", "--help")
    index = ("index", "synthetic:person:2", "--gallery", "a.gallery")
    run(python, folder, "-m", "trireid", *index)
    (folder / "query.png").write_bytes(encode_image())
    search = ("search", "--gallery", "a.gallery", "--rgb", "query.png", "--json")
    assert '"score"' in run(python, folder, "-m", "trireid", *search)
    command = [str(python), "-m", "trireid", "serve", "a.gallery"]
    process, client = start_command(command, folder / "log", folder)
    with closing(client):
        listed = client.get("/galleries").json()
        stop(process)
    assert [each["name"] for each in listed["galleries"]] == ["a"]


def test_a_users_mypy_sees_the_types(python: Path, folder: Path) -> None:
    (folder / "script.py").write_text(SCRIPT)
    # large, and not what is looked at
    skipped = "[mypy-torch.*,onnxruntime.*,bentoml.*,faiss.*,starlette.*,uvicorn.*,tqdm.*,PIL.*]"
    settings = f"[mypy]\nstrict = true\n{skipped}\nfollow_imports = skip\n"
    (folder / "mypy.ini").write_text(settings)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--python-executable", str(python), "script.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    notes = [line for line in done.stdout.splitlines() if "Revealed type" in line]
    for note, part in zip(notes, REVEALED, strict=True):
        assert part in note
        assert 'is "Any"' not in note
