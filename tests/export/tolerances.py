"""A change of one row of the table of tolerances."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from trireid.export.tolerance import TOLERANCES


def change_tolerance(monkeypatch: pytest.MonkeyPatch, row: str, **changes: Any) -> None:
    """Change bounds of a row for a test."""
    changed = {**TOLERANCES, row: replace(TOLERANCES[row], **changes)}
    for module in ("report", "verification"):
        monkeypatch.setattr(f"trireid.export.{module}.TOLERANCES", changed)
