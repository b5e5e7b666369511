"""The project's words: no folder gains a banned name or phrase, and each rule catches what it is
for.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import words
from tests.words import check_file, count_hits, find_hits, load_counts


def test_no_folder_gains_hits() -> None:
    hits, allowed = find_hits([]), load_counts()
    more = {name: n for name, n in count_hits(hits).items() if n > allowed.get(name, 0)}
    assert not more, f"python -m tests.words {' '.join(more)}  # allowed: {allowed}"


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("def load(picture: str) -> None: ...", "picture"),
        ("def load() -> str:\n    return 'there is nothing: nobody asked'", "nobody"),
        ('"""Where it lies."""', "Where ..."),
        ('"""A file. What it holds."""', "What ..."),
        ("# It is no\n# index.", "is no X"),
        ("#: Stored with so\n#: many vectors.", "so many"),
        ("def rows_of() -> None: ...", "def rows_of"),
        ("def _kept_rows() -> None: ...", "def _kept_rows"),
        ("class Reading: ...", "class Reading"),
        (f"x = {'1' * 100}", "long line"),
    ],
)
def test_a_rule_catches(tmp_path: Path, source: str, rule: str) -> None:
    file = tmp_path / "example.py"
    file.write_text(source)
    assert [hit.rule for hit in check_file(file, "gallery/example.py")] == [rule]


@pytest.mark.parametrize(
    "source",
    [
        '"""Load a card. What for?"""',
        "# There is no card, and it is no longer than that.",
        '"""The key `nobody` is true."""',
        "def embed() -> None: ...",
        "class A:\n    @property\n    def expired(self) -> bool: ...",
        "sql = 'PRAGMA foreign_keys'",
    ],
)
def test_good_lines_pass(tmp_path: Path, source: str) -> None:
    file = tmp_path / "example.py"
    file.write_text(source)
    assert check_file(file, "gallery/example.py") == []


def test_every_exception_is_needed() -> None:
    for path, part in words.EXCEPTIONS:
        assert part in (words.ROOT / path).read_text(encoding="utf-8"), f"{path}: {part}"
