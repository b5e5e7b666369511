"""The documents: links lead somewhere, code compiles and imports names that exist, and one version
is named everywhere.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from PIL import Image

from tests.conftest import ROOT, make_pixels
from trireid.cli.app import load_app

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")])
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]


def find_blocks(page: Path, *languages: str) -> list[str]:
    """Find the fenced code of these languages."""
    fences = re.findall(r"(?ms)^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"))
    return [code for language, code in fences if language in languages]


def read_prose(page: Path) -> str:
    """Read a page without its code."""
    text = re.sub(r"(?ms)^```.*?^```", "", page.read_text(encoding="utf-8"))
    return re.sub(r"`[^`\n]*`", "", text)


def find_anchors(page: Path) -> set[str]:
    """Find what `#...` may name on a page, as GitHub makes it of headings."""
    headings = re.findall(r"(?m)^#+ (.*)$", page.read_text(encoding="utf-8"))
    plain = [re.sub(r"\[([^\]]*)\](\([^)]*\))?", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    text = read_prose(page)
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"(?m)^\[[^\]]+\]: (\S+)$", text)
    for link in links:
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in find_anchors(target), link


@pytest.mark.parametrize("name", NAMES)
def test_files_exist(name: str) -> None:
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()}
    text = (ROOT / name).read_text(encoding="utf-8")
    for path in re.findall(r"(?:`|pytest )([\w./-]+/[\w./-]+)", text):
        if path.split("/")[0] in folders and not re.search("[A-Z]{3}", path):
            assert (ROOT / path).exists(), path
    for module in re.findall(r"python -m ((?:trireid|benchmarks|research|tests|docs)[\w.]*)", text):
        assert importlib.util.find_spec(module), module


def find_commands(page: Path) -> list[str]:
    """Find what follows `trireid` in fenced and inline code."""
    text = page.read_text(encoding="utf-8")
    shell = "\n".join(find_blocks(page, "sh")).replace("\\\n", " ")
    lines = [part for line in shell.splitlines() for part in re.split(r"&&|[|;#]", line)]
    fenced = [line.split("trireid ", 1)[1] for line in lines if line.startswith("trireid ")]
    prose = re.sub(r"(?ms)^```.*?^```", "", text)
    return fenced + re.findall(r"`trireid ([^`]+)`", prose)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "CHANGELOG.md"])
def test_commands_and_options_exist(name: str) -> None:
    for line in find_commands(ROOT / name):
        command, words = load_app(), re.sub(r"[\[\]]", " ", line).split()
        while words and hasattr(command, "list_commands") and re.fullmatch(r"[a-z]+", words[0]):
            command = command.get_command(None, words.pop(0))
            assert command, line
        names = {name for each in command.params for name in [*each.opts, *each.secondary_opts]}
        for option in re.findall(r"(?<!\S)--?[a-z][\w-]*", " ".join(words)):
            assert option in {*names, "--help"}, f"{option} in {line}"


def import_names(code: str) -> None:
    """Import what code imports, and look up each name."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                with contextlib.suppress(ModuleNotFoundError):
                    importlib.import_module(f"{node.module}.{alias.name}")
                    continue
                assert hasattr(importlib.import_module(node.module), alias.name), alias.name


@pytest.mark.parametrize("name", NAMES)
def test_code_is_sound(name: str) -> None:
    page = ROOT / name
    for code in find_blocks(page, "python"):
        import_names(code)
    for code in find_blocks(page, "json"):
        json.loads(code)
    for code in find_blocks(page, "yaml"):
        yaml.safe_load(code)
    for code in find_blocks(page, "sh", "bash", "shell", "console"):
        subprocess.run(["bash", "-n"], input=code, text=True, check=True, capture_output=True)


@pytest.mark.parametrize("script", sorted((ROOT / "docs").glob("*.py")), ids=lambda path: path.name)
def test_scripts_import_names_that_exist(script: Path) -> None:
    import_names(script.read_text(encoding="utf-8"))


def test_fences_have_a_language() -> None:
    for page in PAGES:
        opened = re.findall(r"(?ms)^```(\w*)$.*?^```$", page.read_text(encoding="utf-8"))
        assert all(opened), page


def test_the_readme_runs(tmp_path: Path, artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "best.onnx").write_bytes(artifact.read_bytes())
    for seed, name in enumerate(("a1.jpg", "a1_t.jpg", "query.jpg")):
        Image.fromarray(make_pixels(seed)).save(tmp_path / name)
    blocks = find_blocks(ROOT / "README.md", "python")
    assert blocks
    for code in blocks:
        exec(compile(code, "README.md", "exec"), {})


def test_one_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for name in ("bentofile.yaml", "bentofile.gpu.yaml"):
        assert f"dist/trireid-{version}-py3-none-any.whl" in (ROOT / name).read_text()
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == version
    released = re.findall(r"(?m)^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text())
    assert released[:2] == ["Unreleased", version]
    assert f"## [{version}] - {citation['date-released']}" in (ROOT / "CHANGELOG.md").read_text()
