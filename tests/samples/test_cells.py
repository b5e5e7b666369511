"""Cells of CSV: no text reads as a formula, and all come back exactly."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trireid.samples.cells import read_text, read_value, write_text, write_value

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def through_csv(cell: str) -> str:
    out = io.StringIO(newline="")
    csv.writer(out).writerow(["x", cell])
    out.seek(0)
    ((_, read),) = csv.reader(out)
    return read


HEADS = ["'", "''=", "=", "\uff1d", "'-1", " ", "'1", "\t", "\r\n"]
TEXTS = st.one_of(
    st.text(), st.builds(lambda head, tail: head + tail, st.sampled_from(HEADS), st.text())
)


@given(TEXTS)
def test_text_comes_back_and_is_not_a_formula(text: str) -> None:
    for write, read in ((write_text, read_text), (write_value, read_value)):
        cell = write(text)
        assert not cell.startswith(FORMULAS)
        assert cell.strip()
        assert read(through_csv(cell)) == text


@given(
    st.one_of(
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False, allow_infinity=False),
        st.booleans(),
    )
)
def test_numbers_stay_numbers(value: Any) -> None:
    cell = write_value(value)
    assert not cell.startswith("'")
    assert read_value(cell) == value
    assert type(read_value(cell)) is type(value)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("1.75", 1.75),
        ("true", True),
        ("'1.75", "1.75"),
        ("'=1+1", "=1+1"),
        ("it's", "it's"),
        ("'quoted'", "'quoted'"),
        ("-3", -3),
    ],
)
def test_cells_read_as_documented(cell: str, value: Any) -> None:
    assert read_value(cell) == value


def test_a_number_of_hundreds_of_digits_is_text() -> None:
    assert read_value("1" * 400) == "1" * 400
