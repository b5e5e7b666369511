"""Imports run one way, change nothing outside the package, and need no more than what is used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, SUBPACKAGES, encode_image

#: A program that prints what importing each module of the package changes for the process.
#: Everything is imported twice: what other packages change at their import is not looked at.
CHANGES = """
import importlib, logging, os, sys, warnings
import PIL.Image, PIL.ImageFile

def import_all():
    for name in sys.argv[1:]:
        importlib.import_module(name)

def list_modules():
    return [name for name in sys.modules if name.split(".")[0] == "trireid"]

def read_state():
    names = sorted(logging.root.manager.loggerDict)
    loggers = [logging.getLogger(), *map(logging.getLogger, names)]
    pillow = {**vars(PIL.Image), **vars(PIL.ImageFile)}
    return {
        "environment": dict(os.environ),
        "warnings": list(warnings.filters),
        "logging": {each.name: (each.level, list(each.handlers)) for each in loggers},
        "pillow": {name: value for name, value in pillow.items() if name.isupper()},
        "threads": faiss.omp_get_max_threads(), "torch": torch.get_num_threads(),
        "hooks": (sys.excepthook, sys.path[:], os.getcwd()),
    }

environment = dict(os.environ)
import_all()
import faiss, torch
first = set(list_modules())
for name in first - {"trireid"}:
    del sys.modules[name]
os.environ.clear()
os.environ.update(environment)
warnings.resetwarnings()
for name in logging.root.manager.loggerDict:
    logging.getLogger(name).setLevel(logging.NOTSET)
PIL.Image.MAX_IMAGE_PIXELS = 12345
before = read_state()
import_all()
assert set(list_modules()) == first
for name, value in read_state().items():
    if value != before[name]:
        print(name, before[name], value)
"""

#: A program in which all packages but httpx and pydantic, and what these need, are missing.
CLIENT = """
import importlib.abc, sys

class Block(importlib.abc.MetaPathFinder):
    allowed = set(sys.stdlib_module_names) | set(
        "trireid httpx httpcore h11 h2 anyio sniffio certifi idna socksio brotli zstandard"
        " pydantic pydantic_core annotated_types typing_extensions typing_inspection"
        " click rich pygments email_validator".split()
    )
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in self.allowed and not name.startswith("_"):
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Block())
import trireid
from trireid import AsyncClient, Client, ServiceError
with Client("http://127.0.0.1:1", retries=0, timeout=1) as client:
    try:
        client.remove(gallery="a", ids=["1"])
    except ServiceError as error:
        assert error.code == "connection"
"""


def run(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},  # not what imports in this process have changed
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_imports_run_one_way(tmp_path: Path) -> None:
    package = tmp_path / "trireid"  # import-linter finds modules below one folder alone
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "trireid", package, ignore=ignored)
    for name in SUBPACKAGES:
        shutil.copytree(ROOT / name, package / name, ignore=ignored)
    lint = "import sys; from importlinter.cli import lint_imports_command as lint; sys.exit(lint())"
    done = subprocess.run(
        [sys.executable, "-c", lint, ROOT / "pyproject.toml", "--no-cache"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_changes_nothing_global() -> None:
    modules = set()
    for folder in ("trireid", *SUBPACKAGES):
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            modules.add(".".join(("trireid", *parts) if folder != "trireid" else parts))
    # the entry points of processes of our own
    modules -= {"trireid.serving.service", "trireid.__main__"}
    assert len(modules) > 150
    assert run(CHANGES, *(each.removesuffix(".__init__") for each in sorted(modules))) == ""


def test_the_package_alone_imports_nothing_heavy() -> None:
    code = "import sys, trireid; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = set(run(code).split())
    heavy = {"numpy", "PIL", "httpx", "pydantic", "faiss", "onnxruntime", "torch", "starlette"}
    assert not loaded & heavy


def test_the_client_needs_httpx_and_pydantic_alone() -> None:
    run(CLIENT)


def test_index_search_and_serve_need_no_torch(tmp_path: Path, artifact: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_image(1))
    (tmp_path / "m.csv").write_text("rgb\na.png\n")
    code = f"""
import sys
for name in ("torch", "onnx", "onnxscript", "yaml_is_fine"):
    sys.modules[name] = None
import trireid.cli
gallery = {str(tmp_path / "g.gallery")!r}
index = ["index", {str(tmp_path / "m.csv")!r}, "--gallery", gallery]
assert trireid.cli.main([*index, "--model", {str(artifact)!r}]) == 0
assert trireid.cli.main(["search", "--gallery", gallery, "--rgb", {str(tmp_path / "a.png")!r}]) == 0
import trireid.serving.service
"""
    subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", code],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
