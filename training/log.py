"""What a run writes down: a CSV row per step and per epoch, and the same for TensorBoard."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path

from trireid.training.event_file import EventFile
from trireid.training.files import write_text


class Table:
    """A CSV file whose first column counts (step or epoch); rows after a resumed run's place are
    cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns = self._header()

    def add(self, row: Mapping[str, float | int | str]) -> None:
        """Append a row; the first one names the columns."""
        new = self._columns is None
        if self._columns is None:
            self._columns = list(row)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            if new:
                file.write(_line(self._columns))
            file.write(_line([_text(row.get(name, "")) for name in self._columns]))

    def rows(self) -> list[dict[str, str]]:
        """What stands in it; empty where there is no file."""
        if not self.path.exists():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def cut(self, last: int) -> None:
        """Drop rows that count beyond `last`, which a resumed run writes again, and a line that a
        kill cut short.
        """
        if not self.path.exists():
            return
        head, *lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True) or [""]
        kept = [
            line for line in lines if line.endswith("\n") and int(line.split(",", 1)[0]) <= last
        ]
        write_text(self.path, head + "".join(kept))

    def _header(self) -> list[str] | None:
        if not self.path.exists():
            return None
        with self.path.open(newline="", encoding="utf-8") as file:
            return next(csv.reader(file), None)


class Log:
    """A run's logs in its folder:

    `log.csv` by step, `epochs.csv` by epoch, TensorBoard's events beside them.
    """

    def __init__(self, folder: Path, *, events: bool) -> None:
        self.steps, self.epochs = Table(folder / "log.csv"), Table(folder / "epochs.csv")
        self._folder, self._wanted = folder, events
        self._events: EventFile | None = None

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """What one step gave; `step` counts from 1."""
        self.steps.add({"step": step, **values})
        self._event(step, values, "step")

    def epoch(self, epoch: int, step: int, values: Mapping[str, float]) -> None:
        """What one epoch gave; counts from 1."""
        self.epochs.add({"epoch": epoch, "step": step, **values})
        self._event(step, values, "epoch")

    def resume(self, step: int, epoch: int) -> None:
        """Drop what was written after the last save."""
        self.steps.cut(step)
        self.epochs.cut(epoch)

    def _event(self, step: int, values: Mapping[str, float], group: str) -> None:
        if not self._wanted:
            return
        # a file of its own for each start: TensorBoard lets the later one win where they overlap
        if self._events is None:
            self._events = EventFile(self._folder / "events", step)
        self._events.scalars(
            step,
            {f"{group}/{name}": value for name, value in values.items() if not math.isnan(value)},
        )


def _text(value: float | int | str) -> str:
    """A cell; blank for what was not measured (NaN)."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return str(value)


def _line(cells: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()
