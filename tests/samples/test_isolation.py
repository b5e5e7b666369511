"""Decoding in a process of its own: the same pixels, and an end for whatever takes too long or too
much.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT, encode_image
from tests.samples.hostile_images import photo, rle_bmp, save_image
from trireid.samples import Sample, decode, isolation, to_batch
from trireid.samples.budget import usable_cores
from trireid.samples.containers import Container
from trireid.samples.deadline import deadline
from trireid.samples.decoding import examine
from trireid.samples.errors import DeadlineError, ImageError, TrireidError
from trireid.samples.rendering import render

_MUCH = 1 << 30
_TIMEOUT = 30.0


def slow() -> Container:
    """An image that its structure says nothing against, and that takes seconds: run-length codes of
    one pixel.
    """
    line = b"\x01\x07" * 3000 + b"\0\0"
    return examine(rle_bmp(3000, 3000, line * 3000))


@pytest.fixture(scope="module")
def costly() -> Container:
    return slow()


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """No idle process of another test."""
    isolation._workers.close()
    yield
    isolation._workers.close()


def test_an_image_decoded_apart_has_the_same_pixels() -> None:
    for container in (
        examine(save_image(photo(1500, 1300), "JPEG")),
        examine(encode_image(1, "WEBP")),
        examine(encode_image(1, "TIFF")),
    ):
        apart = isolation.render_apart(container, seconds=20, memory=_MUCH)
        np.testing.assert_array_equal(np.asarray(apart), np.asarray(render(container)))
    assert len(isolation._workers._idle) == 1


def test_a_small_image_never_waits_for_large_ones(costly: Container) -> None:
    def endure() -> None:
        with pytest.raises(ImageError):
            isolation.render_apart(costly, seconds=1.5, memory=_MUCH)

    threads = [threading.Thread(target=endure) for _ in range(3 * usable_cores())]
    for thread in threads:
        thread.start()
    isolation.render_apart(examine(encode_image(1, "WEBP")), seconds=20, memory=_MUCH)
    waiting = sum(thread.is_alive() for thread in threads)
    for thread in threads:
        thread.join()
    assert waiting > usable_cores()


def test_the_limit_of_processor_time_ends_the_process_and_the_next_image_is_decoded(
    costly: Container,
) -> None:
    with pytest.raises(ImageError, match=r"takes over 0\.2 s of processor time") as caught:
        isolation.render_apart(costly, seconds=0.2, memory=_MUCH)
    assert caught.value.code == "too_large"
    assert decode(encode_image(1, "WEBP")).size == (32, 64)


@pytest.mark.skipif(
    not os.path.exists("/proc/self/statm"),
    reason="the system does not tell how much memory a process has",
)
def test_the_limit_of_memory_refuses_the_image_and_the_process_goes_on() -> None:
    container = examine(save_image(photo(2000, 2000), "WEBP", method=0))
    with pytest.raises(ImageError) as caught:
        isolation.render_apart(container, seconds=20, memory=1 << 20)
    assert caught.value.code == "too_large"
    (worker,) = isolation._workers._idle
    assert isolation.render_apart(container, seconds=20, memory=_MUCH).size == (2000, 2000)
    assert isolation._workers._idle == [worker]


def test_the_callers_deadline_ends_decoding_and_frees_the_core(costly: Container) -> None:
    worker = isolation._Worker()
    isolation._workers._give_back(worker)
    with deadline(0.2), pytest.raises(DeadlineError) as caught:
        isolation.render_apart(costly, seconds=60, memory=_MUCH)
    assert caught.value.code == "deadline"
    assert worker._process.returncode == -signal.SIGKILL


def test_a_request_that_waits_for_others_images_ends_at_its_deadline(costly: Container) -> None:
    began = threading.Semaphore(0)

    def occupy() -> None:
        began.release()
        with pytest.raises(ImageError):
            isolation.render_apart(costly, seconds=0.4, memory=_MUCH)

    others = [threading.Thread(target=occupy) for _ in range(usable_cores())]
    for each in others:
        each.start()
    for _ in others:
        began.acquire()
    time.sleep(0.1)
    with deadline(0.1), pytest.raises(TrireidError) as caught:
        to_batch([Sample(rgb=encode_image(1, "WEBP"))], (64, 32))
    assert caught.value.code == "deadline"
    for each in others:
        each.join(_TIMEOUT)
        assert not each.is_alive()


def test_a_process_that_was_killed_while_idle_is_replaced() -> None:
    decode(encode_image(1, "WEBP"))
    (worker,) = isolation._workers._idle
    worker._process.kill()
    worker._process.wait()
    assert decode(encode_image(2, "WEBP")).size == (32, 64)


def test_a_decoder_that_crashes_is_a_damaged_image(costly: Container) -> None:
    worker = isolation._Worker()
    isolation._workers._give_back(worker)
    killer = threading.Timer(0.5, worker._process.send_signal, [signal.SIGSEGV])
    killer.start()
    with pytest.raises(ImageError, match="ended by SIGSEGV") as caught:
        isolation.render_apart(costly, seconds=60, memory=_MUCH)
    assert caught.value.code == "corrupt"


def test_many_threads_share_few_processes() -> None:
    data, wrong = [encode_image(i, "WEBP") for i in range(4)], list[int]()
    wanted = [np.asarray(render(examine(each))) for each in data]

    def work(number: int) -> None:
        for i in range(10):
            if not np.array_equal(
                np.asarray(decode(data[(number + i) % 4])), wanted[(number + i) % 4]
            ):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(_TIMEOUT)
    assert wrong == []
    assert len(isolation._workers._idle) <= isolation._IDLE


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
def test_a_forked_process_has_processes_of_its_own(tmp_path: Path) -> None:
    code = """
import os, sys
from trireid.samples import decode, isolation
from tests.conftest import encode_image
decode(encode_image(1, "WEBP"))
mine = isolation._workers._idle[0]._process.pid
child = os.fork()
if not child:
    decode(encode_image(1, "WEBP"))
    theirs = isolation._workers._idle[0]._process.pid
    isolation._workers.close()
    os._exit(0 if theirs != mine else 1)
assert os.waitpid(child, 0)[1] == 0
decode(encode_image(1, "WEBP"))
assert isolation._workers._idle[0]._process.pid == mine
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, check=True, timeout=60)


def test_the_process_ends_with_the_one_that_started_it_and_knows_none_of_its_secrets() -> None:
    code = """
import sys
from trireid.samples import decode, isolation
from tests.conftest import encode_image
decode(encode_image(1, "WEBP"))
pid = isolation._workers._idle[0]._process.pid
print(pid, "TRIREID_TOKENS" in open(f"/proc/{pid}/environ").read(), flush=True)
sys.stdin.read()
"""
    environment = {**os.environ, "TRIREID_TOKENS": "ann admin 0123456789abcdef"}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pid, knows = parent.stdout.readline().split()
        parent.kill()
    assert knows == "False"
    until = time.monotonic() + _TIMEOUT
    while alive(int(pid)):
        assert time.monotonic() < until
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_the_process_needs_pillow_and_numpy_alone() -> None:
    code = """
import sys
import trireid.samples.decode_worker
loaded = {name.split(".")[0] for name in sys.modules}
assert not loaded & {"onnxruntime", "faiss", "torch", "bentoml", "gallery", "export", "serving"}, loaded
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
