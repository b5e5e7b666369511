"""Requests and bytes that a server takes in."""

from __future__ import annotations

import tempfile
from collections import namedtuple
from pathlib import Path

import pytest
from starlette.exceptions import HTTPException

from tests.serving.conftest import Server
from tests.serving.test_access import bearer
from tests.serving.test_http_protocol import connect
from tests.serving.test_service import files
from trireid.samples.errors import BusyError
from trireid.serving.admission import AdmissionControl

Usage = namedtuple("Usage", "total used free")


def test_uploads_count_from_their_first_byte_until_the_request_ends() -> None:
    control = AdmissionControl(2, 1000)
    with control.admit() as first, control.admit() as second:
        assert control.now == 2
        with pytest.raises(BusyError), control.admit():
            pass
        first(1000)
        second(1000)
        with pytest.raises(BusyError, match="share of the disk"):
            second(1)
    assert (control.now, control.bytes) == (0, 0)


def test_uploads_get_half_of_the_space_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "shutil.disk_usage",
        lambda folder: Usage(0, 0, 100) if folder == tempfile.gettempdir() else None,
    )
    control = AdmissionControl(128, 1000)
    with control.admit() as take, control.admit() as other:
        take(50)
        with pytest.raises(BusyError):
            other(1)
        with pytest.raises(HTTPException) as raised:
            take(1)
        assert raised.value.status_code == 507


def test_an_upload_that_is_on_its_way_takes_a_place_in_the_queue(
    guarded: Server, tmp_path: Path
) -> None:
    token = bearer("ann")["Authorization"].encode()
    with connect(guarded) as connection:
        connection.sendall(
            b"POST /search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            b"Content-Length: 9999\r\nAuthorization: " + token + b"\r\n\r\n--x\r\n"
        )
        values: list[float] = []
        for _ in range(20):
            text = guarded.client.get("/metrics", headers=bearer("boss")).text
            values += [
                float(line.split(" ")[1])
                for line in text.splitlines()
                if line.startswith("trireid_queue_requests ")
            ]
        assert 1 in values
    assert guarded.client.post("/search", files=files(5), headers=bearer("ann")).status_code == 200
