"""One form for text that looks the same: Unicode NFC."""

from __future__ import annotations

import unicodedata
from typing import Any


def normalize_text(value: Any) -> Any:
    """Return a value with all text in it, names of mappings too, in NFC."""
    if isinstance(value, str):
        return value if value.isascii() else unicodedata.normalize("NFC", value)
    if isinstance(value, dict):
        return {normalize_text(name): normalize_text(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [normalize_text(each) for each in value]
    return value


def forms_of(text: str) -> list[str]:
    """Return the forms that a text may have been stored in: NFC, and in older stores as it was given, or NFD."""
    return list(dict.fromkeys((unicodedata.normalize("NFC", text), text, unicodedata.normalize("NFD", text))))
