"""Erasure as a client sees it: the answer comes while a reader is in the way, and says that the
erasure is pending.
"""

from __future__ import annotations

import time

from tests.gallery.test_erasure import reader
from tests.serving.conftest import Server
from tests.serving.test_service import files


def test_a_removal_with_a_reader_in_the_way_is_answered_as_pending(server: Server) -> None:
    client, about = server.client, "/galleries/people"
    for name, number in (("erased", 80), ("replaced", 81)):
        client.post(
            "/enroll", files=files(number), data={"gallery": "people", "id": name}
        ).raise_for_status()
    with reader(server.folders[0]):
        assert client.post("/remove", json={"gallery": "people", "ids": ["erased"]}).json() == {
            "removed": 1,
            "pending": True,
        }
        client.post(
            "/enroll", files=files(82), data={"gallery": "people", "id": "replaced"}
        ).raise_for_status()
        assert client.get(about).json()["erasure_pending"]
    until = time.monotonic() + 60
    while client.get(about).json()["erasure_pending"] and time.monotonic() < until:
        time.sleep(0.05)
    assert not client.get(about).json()["erasure_pending"]
    assert (
        client.post("/remove", json={"gallery": "people", "ids": ["replaced"]}).json()["removed"]
        == 1
    )
