"""The logs of a run: a CSV row per step and per epoch, and the same for TensorBoard."""

from __future__ import annotations

import csv
import io
import math
import os
import time
import weakref
from collections.abc import Mapping
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary

from trireid.training.files import write_text


class Table:
    """A CSV file whose first column counts (step or epoch); a resumed run cuts off the rows after
    its last save.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns = self._read_header()

    def add(self, row: Mapping[str, float | int | str]) -> None:
        """Append a row; the first one names the columns."""
        is_new = self._columns is None
        if self._columns is None:
            self._columns = list(row)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            if is_new:
                file.write(_format_row(self._columns))
            file.write(_format_row([_format_cell(row.get(name, "")) for name in self._columns]))

    def read_rows(self) -> list[dict[str, str]]:
        """Read all rows; none if the file does not exist."""
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
        whole = [line for line in lines if line.endswith("\n")]
        rows = [line for line in whole if int(line.split(",", 1)[0]) <= last]
        write_text(self.path, head + "".join(rows))

    def _read_header(self) -> list[str] | None:
        if not self.path.exists():
            return None
        with self.path.open(newline="", encoding="utf-8") as file:
            return next(csv.reader(file), None)


class Log:
    """A run's logs in its folder: `log.csv` by step, `epochs.csv` by epoch, and `events/` for
    TensorBoard if asked for.
    """

    def __init__(self, folder: Path, *, events: bool) -> None:
        self.steps, self.epochs = Table(folder / "log.csv"), Table(folder / "epochs.csv")
        self._folder, self._writes_events = folder / "events", events
        self._events: EventsWriter | None = None

    def add_step(self, step: int, values: Mapping[str, float]) -> None:
        """Log the values of one step; `step` counts from 1."""
        self.steps.add({"step": step, **values})
        self._add_events(step, values, "step")

    def add_epoch(self, epoch: int, step: int, values: Mapping[str, float]) -> None:
        """Log the values of one epoch; `epoch` counts from 1."""
        self.epochs.add({"epoch": epoch, "step": step, **values})
        self._add_events(step, values, "epoch")

    def resume(self, step: int, epoch: int) -> None:
        """Drop the rows after the last save."""
        self.steps.cut(step)
        self.epochs.cut(epoch)

    def _add_events(self, step: int, values: Mapping[str, float], group: str) -> None:
        if not self._writes_events:
            return
        if self._events is None:
            self._events = self._open_events(step)
        event = Event(step=step, wall_time=time.time(), summary=Summary())
        for name, value in values.items():
            if not math.isnan(value):
                event.summary.value.add(tag=f"{group}/{name}", simple_value=value)
        self._events.write_event(event)
        self._events.flush()  # a kill loses nothing

    def _open_events(self, step: int) -> EventsWriter:
        """Open a file of its own for each start: TensorBoard lets the later one win."""
        self._folder.mkdir(parents=True, exist_ok=True)
        writer = EventsWriter(str(self._folder / "events"), f".{os.getpid()}.{step}")
        weakref.finalize(self, writer.close)
        return writer


def _format_cell(value: float | int | str) -> str:
    """Format a cell; blank for a value that was not measured (NaN)."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return str(value)


def _format_row(cells: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()
