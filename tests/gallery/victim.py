"""A process that works on a gallery until it is killed, and what it must not lose.

`python -m tests.gallery.victim` reads lines `FOLDER LOG SEED SECONDS`; for each it forks a child that works on the gallery,
kills it with SIGKILL after so many seconds, and prints `killed`. What the child is about to do and what it has been told is
done, it writes into the log, a line of JSON each.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export import Card, Embedder, Segment
from gallery import Gallery
from gallery.items import Item, Known, StoredPicture

DIMENSION = 12
State = dict[str, str]  # id -> identity


class NoNetwork(Embedder):
    """A card without a network: what is enrolled here has its embedding already."""

    def __init__(self, fingerprint: str = "0" * 64) -> None:
        parts = tuple(Segment(name, "global", 4 * i, 4 * i + 4) for i, name in enumerate(("rgb", "nir", "tir")))
        card = Card(
            name="none",
            kind="person",
            image_size=(64, 32),
            grid=(4, 2),
            kept=4,
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


def item(id_: str, identity: str, present: tuple[str, ...] = ("rgb", "nir", "tir")) -> Item:
    """An item with pictures that say whose they are."""
    pictures = [StoredPicture(name, f"picture of {identity}".encode()) for name in present]  # type: ignore[arg-type]
    return Item(id=id_, embedding=embedding(id_), digest=id_, identity=identity, pictures=pictures)


def nearest(gallery: Gallery, id_: str, k: int = 1) -> list[tuple[float, Known]]:
    """Scores and items nearest to what an id stands for."""
    with gallery.reading() as reading:
        scores, keys = reading.search(embedding(id_), 7, k)
        known = reading.known(keys)
    return [(float(score), known[key]) for key, score in zip(keys.tolist(), scores, strict=True)]


def indexed(gallery: Gallery) -> int:
    """How many items the index holds."""
    with gallery.reading() as reading:
        assert len(reading.moment) == len(gallery.view().index)
        return len(reading.moment)


def after(state: State, step: dict[str, Any]) -> State:
    """The state once a step is done."""
    if step["do"] == "add":
        return {**state, **dict(step["items"])}
    if step["do"] == "remove":
        return {id_: identity for id_, identity in state.items() if id_ not in step["ids"]}
    if step["do"] == "erase":
        return {id_: identity for id_, identity in state.items() if identity != step["identity"]}
    return state


def main() -> None:
    """Fork, kill, say so."""
    for line in sys.stdin:
        folder, log, seed, seconds = line.split()
        child = os.fork()
        if child == 0:
            _work(Path(folder), Path(log), int(seed))
        time.sleep(float(seconds))
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
        return {"do": "add", "items": [(id_, f"person {draw.randint(0, 30)}") for id_ in (*new, *again)]}
    if kind == "remove":
        return {"do": "remove", "ids": draw.sample(ids, min(len(ids), draw.randint(1, 5)))}
    return {"do": kind, "identity": f"person {draw.randint(0, 30)}"}


def _do(gallery: Gallery, step: dict[str, Any]) -> None:
    if step["do"] == "add":
        gallery.add_items([item(id_, identity) for id_, identity in step["items"]])
    elif step["do"] == "remove":
        gallery.remove(ids=step["ids"])
    elif step["do"] == "erase":
        gallery.remove(identity=step["identity"])
    elif step["do"] == "compact":
        gallery.compact()
    else:
        gallery.snapshot()


def _say(out: int, what: dict[str, Any]) -> None:
    os.write(out, json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    main()
