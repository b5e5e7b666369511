"""A process that works on a gallery until it is killed, and what it must not lose.

`python -m tests.gallery.crash_worker` reads lines `FOLDER LOG SEED SECONDS`; for each it forks a
child that works on the gallery, kills it with SIGKILL after that many seconds, and prints `killed`.
What the child is about to do and what it has been told is done, it writes into the log, a line of
JSON each. Of a line `FOLDER POINT` the child kills itself at that point of an erasure.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trireid.gallery import Gallery
from trireid.gallery.erasure import Erasure
from trireid.gallery.index import serialization
from trireid.gallery.items import Item, ItemRecord, StoredImage
from trireid.inference import Card, Embedder, Segment

DIMENSION = 12
State = dict[str, tuple[str, str]]  # id -> identity, and the mark that its images carry
#: How a mark looks in a file.
MARK = re.compile(rb"<([\w-]+@[\w-]+)>")


class NoNetwork(Embedder):
    """A card without a network: what is enrolled here has its embedding already."""

    def __init__(self, fingerprint: str = "0" * 64) -> None:
        parts = tuple(
            Segment(name, "global", 4 * i, 4 * i + 4)
            for i, name in enumerate(("rgb", "nir", "tir"))
        )
        card = Card(
            name="none",
            kind="person",
            image_size=(64, 32),
            grid=(4, 2),
            selected_patches=4,
            cameras=0,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            dimension=DIMENSION,
            segments=parts,
            fingerprint=fingerprint,
        )
        super().__init__(Path("none.onnx"), card)

    @property
    def runtime(self) -> str:
        """Nothing runs."""
        return "nothing"

    def run(self, images: Any, camera: Any, present: Any) -> Any:
        """Nothing runs."""
        raise NotImplementedError


def embedding(id_: str) -> NDArray[np.float32]:
    """The unit embedding that an id stands for."""
    seed = int.from_bytes(hashlib.sha256(id_.encode()).digest()[:8], "little")
    values = np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32)
    return np.asarray(values / np.linalg.norm(values))


def item(
    id_: str, identity: str, present: tuple[str, ...] = ("rgb", "nir", "tir"), mark: str = ""
) -> Item:
    """An item with images that say whose they are, and carry a mark."""
    content = f"image of {identity}" + (f" <{mark}>" if mark else "")
    images = [StoredImage(name, content.encode()) for name in present]  # type: ignore[arg-type]
    return Item(id=id_, embedding=embedding(id_), digest=id_, identity=identity, images=images)


def nearest(gallery: Gallery, id_: str, k: int = 1) -> list[tuple[float, ItemRecord]]:
    """Scores and items nearest to what an id stands for."""
    with gallery.read() as session:
        scores, keys = session.search(embedding(id_), 7, k)
        known = session.load_records(keys)
    return [(float(score), known[key]) for key, score in zip(keys.tolist(), scores, strict=True)]


def indexed(gallery: Gallery) -> int:
    """How many items the index holds."""
    with gallery.read() as session:
        assert len(session.snapshot) == len(gallery.live_index().index)
        return len(session.snapshot)


def after(state: State, step: dict[str, Any]) -> State:
    """The state once a step is done."""
    if step["do"] == "add":
        return {**state, **{id_: (identity, _mark(id_, step)) for id_, identity in step["items"]}}
    if step["do"] == "remove":
        return {id_: known for id_, known in state.items() if id_ not in step["ids"]}
    if step["do"] == "erase":
        return {id_: known for id_, known in state.items() if known[0] != step["identity"]}
    return state


def main() -> None:
    """Fork, kill, say so."""
    for line in sys.stdin:
        folder, *how = line.split()
        child = os.fork()
        if child == 0 and len(how) == 1:
            _die(Path(folder), how[0])
        if child == 0:
            _work(Path(folder), Path(how[0]), int(how[1]))
        time.sleep(float(how[2]) if len(how) == 3 else 0)
        if len(how) == 1:
            os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        print("killed", flush=True)


def _work(folder: Path, log: Path, seed: int) -> None:
    draw = random.Random(seed)
    out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    gallery = Gallery.open(folder, NoNetwork())
    number = 0
    while True:
        number += 1
        step = _step(draw, sorted(gallery.ids()), f"{seed}-{number}")
        _say(out, {"about": step})
        _do(gallery, step)
        _say(out, {"done": step})


def _step(draw: random.Random, ids: list[str], name: str) -> dict[str, Any]:
    kind = draw.choices(("add", "remove", "erase", "compact", "snapshot"), (10, 4, 2, 1, 2))[0]
    if kind == "add":
        again = draw.sample(ids, min(len(ids), 2))
        new = [f"{name}-{i}" for i in range(draw.randint(1, 12))]
        items = [(id_, f"person {draw.randint(0, 30)}") for id_ in (*new, *again)]
        return {"do": "add", "name": name, "items": items}
    if kind == "remove":
        return {"do": "remove", "ids": draw.sample(ids, min(len(ids), draw.randint(1, 5)))}
    return {"do": kind, "identity": f"person {draw.randint(0, 30)}"}


def _do(gallery: Gallery, step: dict[str, Any]) -> None:
    if step["do"] == "add":
        gallery.add_items(
            [item(id_, identity, mark=_mark(id_, step)) for id_, identity in step["items"]]
        )
    elif step["do"] == "remove":
        gallery.remove(ids=step["ids"])
    elif step["do"] == "erase":
        gallery.remove(identity=step["identity"])
    elif step["do"] == "compact":
        gallery.compact()
    else:
        gallery.save_index()


def _mark(id_: str, step: dict[str, Any]) -> str:
    return f"{id_}@{step['name']}"


def _say(out: int, what: dict[str, Any]) -> None:
    os.write(out, json.dumps(what).encode() + b"\n")


#: Where a process may die while it erases `person 1`: what it does, and of what it dies instead of
#: doing it.
POINTS: dict[str, tuple[Callable[[Gallery], Any], tuple[Any, str]]] = {
    "committed": (lambda gallery: gallery.remove(identity="person 1"), (Erasure, "finish")),
    "index-dropped": (lambda gallery: gallery.remove(identity="person 1"), (Erasure, "_empty_log")),
    "log-emptied": (lambda gallery: gallery.remove(identity="person 1"), (Erasure, "_record")),
    "replaced": (lambda gallery: _replace(gallery), (Erasure, "finish")),
    "compacted": (lambda gallery: _compact(gallery), (Erasure, "finish")),
    "index-written": (lambda gallery: _save(gallery), (os, "replace")),
}


def _die(folder: Path, point: str) -> None:
    """Erase, and die at a point of it."""
    act, (owner, name) = POINTS[point]
    gallery = Gallery.open(folder, NoNetwork())
    if point != "index-written":
        gallery.save_index()
    assert gallery._maintenance is not None
    gallery._maintenance.stop()  # it would do the erasing
    setattr(owner, name, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    act(gallery)


def _replace(gallery: Gallery) -> None:
    with gallery.read() as session:
        ids = [
            id_ for (id_,) in session.rows("SELECT id FROM items WHERE identity = 'person 1'", [])
        ]
    gallery.add_items(
        [replace(item(id_, "person 2"), embedding=embedding("another")) for id_ in ids]
    )


def _compact(gallery: Gallery) -> None:
    gallery._writer.remove(("identity = ?", ["person 1"]), {})
    gallery.compact()


def _save(gallery: Gallery) -> None:
    """Another process removes while this one writes the index: its draft is new when all else has
    been erased.
    """
    save = serialization.save

    def save_late(*arguments: Any) -> None:
        Gallery.open(gallery.folder, NoNetwork()).remove(identity="person 1")
        save(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(serialization, "save", save_late)  # noqa: B010
    gallery.save_index()


if __name__ == "__main__":
    main()
