"""The process that decodes images for another one, which may kill it: `python -m
trireid.samples.decode_worker SHARED`.

Reads requests from the socket on descriptor 0, and answers each; an image's bytes, and its pixels
after them, are in the file whose descriptor is `SHARED`. It ends when the other end of the socket
is closed, as it is when the process that started it has ended, however that came about. It needs
Pillow and NumPy alone.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from PIL import Image

from trireid.samples.containers import Container
from trireid.samples.depth import Depth, ImageNotes, read_by_notes
from trireid.samples.errors import ImageError, ImageTooLargeError
from trireid.samples.messages import (
    read_shared,
    receive_message,
    send_message,
    strips,
    write_shared,
)
from trireid.samples.rendering import render

#: Behind requests that need no decoding apart.
_NICENESS: Final = 5


def main() -> None:
    """Serve until the other end is closed."""
    shared = int(sys.argv[1])
    for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # the parent decides: it has requests in flight to answer
        signal.signal(stop, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        os.nice(_NICENESS)
    with open(os.devnull, "wb") as nothing:  # libtiff writes to stderr
        os.dup2(nothing.fileno(), 2)
    with socket.socket(fileno=0) as connection, suppress(EOFError, ConnectionError):
        while True:
            _answer(connection, shared, receive_message(connection))


def _answer(connection: socket.socket, shared: int, asked: Mapping[str, Any]) -> None:
    _limit_memory(asked["memory"])
    # at the end of it the system ends this process
    signal.setitimer(signal.ITIMER_PROF, asked["seconds"])
    try:
        data = read_shared(shared, asked["bytes"])
        notes = ImageNotes(Depth.parse(asked["depth"]))
        with read_by_notes(notes):
            image = render(
                Container(
                    asked["form"], asked["width"], asked["height"], data, asked["orientation"]
                )
            )
    except MemoryError:
        error = {
            "message": f"decoding the image takes over {asked['memory'] >> 20} MiB",
            "error": ImageTooLargeError.__name__,
        }
        send_message(connection, error)
    except ImageError as error:
        send_message(connection, {"message": error.message, "error": type(error).__name__})
    else:
        _write_pixels(shared, image)
        send_message(connection, {"size": image.size, "stretched": notes.stretched})
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _write_pixels(shared: int, image: Image.Image) -> None:
    for top, bottom, start in strips(*image.size):
        write_shared(shared, image.crop((0, top, image.width, bottom)).tobytes(), start)


def _limit_memory(more: int) -> None:
    """Let this process take that many bytes more than it has now, where the system tells how many
    that are.
    """
    with suppress(OSError):
        with open("/proc/self/statm", encoding="ascii") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        wanted = now + more if hard == resource.RLIM_INFINITY else min(now + more, hard)
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


if __name__ == "__main__":
    main()
