"""Decoding in processes of its own, each with limits of processor time and memory, killed where an
image exceeds them.

The processes start when they are first needed, by `subprocess`: nothing is forked from a process
whose threads hold locks.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from PIL import Image

import trireid
from trireid.samples.budget import hold_one, usable_cores
from trireid.samples.containers import Container
from trireid.samples.deadline import time_left
from trireid.samples.depth import current_notes
from trireid.samples.errors import (
    CorruptImageError,
    DeadlineError,
    ImageError,
    ImageFormatError,
    ImageTooLargeError,
)
from trireid.samples.messages import (
    create_shared_file,
    read_shared,
    receive_message,
    send_message,
    strips,
    write_shared,
)

#: Whether this system has what the processes need; where not, everything is decoded in the
#: caller's.
AVAILABLE: Final = os.name == "posix"
#: Processes that wait for the next image; others end when they are done.
_IDLE: Final = 2
#: Pixels, and bytes of the file, up to which an image never waits for a larger one.
_SMALL_PIXELS: Final = 1 << 20
_SMALL_BYTES: Final = 1 << 20
#: Seconds an image may take where there is no deadline, for each second of processor time: cores
#: may be busy elsewhere.
_WALL: Final = 20
_ENVIRONMENT: Final = (
    "PATH",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "PYTHONHOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
)
_THREADS: Final = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
}
#: As the process that decodes names them.
_ERRORS: Final = {
    kind.__name__: kind for kind in (CorruptImageError, ImageFormatError, ImageTooLargeError)
}
#: Large blocks go back to the system when they are freed.
_MEMORY: Final = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)}


def render_apart(container: Container, *, seconds: float, memory: int) -> Image.Image:
    """As `rendering.render`, in another process.

    Args:
        container: The image to decode.
        seconds: Of processor time that it may take.
        memory: Bytes that it may take.

    Raises:
        ImageError: As `render`, and with `too_large` where the limits are exceeded.
        DeadlineError: The caller's deadline passes; the process is killed.
    """
    is_small = container.pixels <= _SMALL_PIXELS and len(container.data) <= _SMALL_BYTES
    with _workers.one(is_small) as worker:
        return worker.render(container, seconds, memory)


class _Worker:
    """One process and the socket to it. After an error it is of no more use: see `dead`."""

    def __init__(self) -> None:
        self._shared = create_shared_file()
        self._socket, theirs = socket.socketpair()
        root = str(Path(trireid.__path__[0]).resolve().parent)
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", f"{__package__}.decode_worker", str(self._shared)],
                stdin=theirs.fileno(),
                pass_fds=(self._shared,),
                stdout=subprocess.DEVNULL,
                env={**environment, **_THREADS, **_MEMORY, "PYTHONPATH": root},
            )
        self.dead = False

    def render(self, container: Container, seconds: float, memory: int) -> Image.Image:
        left = time_left()
        until = time.monotonic() + (_WALL * seconds if left is None else left)
        try:
            image = self._ask(container, seconds, memory, until)
            os.ftruncate(self._shared, 0)
            return image
        except TimeoutError as error:
            self.close()
            if left is not None:
                raise DeadlineError("the image was not decoded in time") from error
            raise ImageTooLargeError(
                f"decoding the image takes over {_WALL * seconds:.0f} s"
            ) from error
        except (EOFError, ConnectionError) as error:
            raise self._why_it_ended(seconds) from error
        except ImageError:
            os.ftruncate(self._shared, 0)
            raise
        except BaseException:
            self.close()
            raise

    def lives(self) -> bool:
        """Whether the process is there; somebody may have ended it while it was idle."""
        if self._process.poll() is None:
            return True
        self.close()
        return False

    def close(self) -> None:
        """Kill the process."""
        self._drop()
        self._process.kill()
        self._process.wait()

    def forget(self) -> None:
        """Leave the process to the one that this process was forked from."""
        self._drop()
        self._process.returncode = 0  # so that nothing here waits for it

    def _ask(self, container: Container, seconds: float, memory: int, until: float) -> Image.Image:
        asked = {
            "form": container.form,
            "width": container.width,
            "height": container.height,
            "orientation": container.orientation,
            "depth": str(current_notes().depth),
            "bytes": len(container.data),
            "seconds": seconds,
            "memory": memory,
        }
        write_shared(self._shared, container.data)
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        send_message(self._socket, asked)
        answer = receive_message(self._socket)
        if "error" in answer:
            raise _ERRORS[answer["error"]](answer["message"])
        if answer["stretched"]:
            current_notes().note_stretched()
        return self._read_pixels(*answer["size"])

    def _read_pixels(self, width: int, height: int) -> Image.Image:
        image = Image.new("RGB", (width, height))
        for top, bottom, start in strips(width, height):
            size = width, bottom - top
            strip = Image.frombytes(
                "RGB", size, read_shared(self._shared, 3 * size[0] * size[1], start)
            )
            if bottom - top == height:
                return strip
            image.paste(strip, (0, top))
        return image

    def _drop(self) -> None:
        self.dead = True
        self._socket.close()
        os.close(self._shared)

    def _why_it_ended(self, seconds: float) -> Exception:
        """The error for a process that has ended by itself."""
        self._drop()
        code = self._process.wait()
        if code == -signal.SIGPROF:
            return ImageTooLargeError(
                f"decoding the image takes over {seconds:.1f} s of processor time"
            )
        if code < 0:
            return CorruptImageError(
                f"the image is damaged: its decoder ended by {signal.Signals(-code).name}"
            )
        return RuntimeError(
            f"the process that decodes images ended with exit code {code}; its output says why"
        )


class _Workers:
    """As many processes as are needed at the same time: for small images up to one for each core,
    and so for others.
    """

    def __init__(self) -> None:
        self._idle: list[_Worker] = []
        self._start()

    def _start(self) -> None:
        self._small_gate, self._gate = (
            threading.BoundedSemaphore(usable_cores()) for _ in range(2)
        )
        self._lock = threading.Lock()

    @contextmanager
    def one(self, is_small: bool) -> Iterator[_Worker]:
        """Borrow a process, started if none is idle.

        Raises DeadlineError if the deadline passes first.
        """
        with hold_one(self._small_gate if is_small else self._gate):
            worker = self._take() or _Worker()
            try:
                yield worker
            finally:
                self._give_back(worker)

    def close(self) -> None:
        """End the idle processes."""
        while worker := self._take():
            worker.close()

    def forget(self) -> None:
        """In a forked process: the idle processes are the parent's."""
        for worker in self._idle:
            worker.forget()
        self._idle.clear()
        self._start()

    def _take(self) -> _Worker | None:
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.lives():
                    return worker
        return None

    def _give_back(self, worker: _Worker) -> None:
        if worker.dead:
            return
        with self._lock:
            if len(self._idle) < _IDLE:
                self._idle.append(worker)
                return
        worker.close()


_workers: Final = _Workers()
atexit.register(_workers.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.forget)
