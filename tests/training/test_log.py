"""TensorBoard's event files, read by an independent reader, and the CSV tables."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import pytest

from trireid.training.log import Log, Table


def records(path: Path) -> list[bytes]:
    """The records of a file, their checksums compared with a CRC computed bit by bit."""
    content, found = path.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        data = content[12 : 12 + length]
        assert struct.unpack("<I", content[8:12])[0] == compute_checksum(content[:8])
        assert struct.unpack("<I", content[12 + length : 16 + length])[0] == compute_checksum(data)
        found.append(data)
        content = content[16 + length :]
    return found


def compute_checksum(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return (crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8 & 0xFFFFFFFF


def test_events_are_what_tensorboard_expects(tmp_path: Path) -> None:
    Log(tmp_path, events=True).add_step(300, {"loss": 0.5, "lr": 0.25})
    (path,) = (tmp_path / "events").iterdir()
    version, event = records(path)
    assert version.endswith(b"\x1a\x0dbrain.Event:2")
    assert version[0] == event[0] == 0x09  # field 1, fixed64: wall time
    loss = b"\x0a\x09step/loss\x15" + struct.pack("<f", 0.5)
    lr = b"\x0a\x07step/lr\x15" + struct.pack("<f", 0.25)
    summary = b"\x0a" + bytes([len(loss)]) + loss + b"\x0a" + bytes([len(lr)]) + lr
    # step 300 as a varint, then the summary
    assert event[9:] == b"\x10\xac\x02" + b"\x2a" + bytes([len(summary)]) + summary


def test_each_start_of_a_run_has_an_event_file_of_its_own(tmp_path: Path) -> None:
    for first in (1, 3):
        log = Log(tmp_path, events=True)
        for step in (first, first + 1):
            log.add_step(step, {"loss": 1.0})
    assert [len(records(path)) for path in (tmp_path / "events").iterdir()] == [3, 3]


def test_the_log_writes_csv_and_events_and_leaves_out_what_was_not_measured(tmp_path: Path) -> None:
    log = Log(tmp_path, events=True)
    log.add_step(1, {"loss": 2.0, "other": math.nan})
    log.add_step(2, {"loss": 1.0, "other": 3.0})
    assert (tmp_path / "log.csv").read_text() == "step,loss,other\n1,2,\n2,1,3\n"
    (path,) = (tmp_path / "events").iterdir()
    _, first, second = records(path)
    assert b"step/loss" in first
    assert b"step/other" not in first
    assert b"step/other" in second
    Log(tmp_path / "quiet", events=False)
    assert not (tmp_path / "quiet").exists()


@pytest.mark.parametrize("last", [0, 1, 3])
def test_a_cut_table_ends_where_it_is_told(last: int, tmp_path: Path) -> None:
    table = Table(tmp_path / "t.csv")
    for step in range(1, 4):
        table.add({"step": step, "value": step / 2})
    table.cut(last)
    assert [row["step"] for row in table.read_rows()] == [str(step) for step in range(1, last + 1)]
    table.add({"step": 9, "value": 1.0})
    assert table.read_rows()[-1] == {"step": "9", "value": "1"}
