"""How fast `trireid index` is against the bare embedder, in one run, and where a sample's time on a
core goes.

    python -m benchmarks.indexing [ARTIFACT ...] [--vit-b] [--samples 192] [--rounds 5] [--forms png
    jpeg frame] python -m benchmarks.indexing --memory [--samples 192]

For each network (`person-tiny` where none is named; `--vit-b`: an untrained one of 12 x 768,
exported first) and form of image (256 x 128 crops as PNG and as JPEG, 1280 x 720 frames as JPEG)
a folder of triplets is drawn. Then, in turns, the bare embedder runs over the decoded batches
in memory, and `index` over the folder into a fresh gallery; both have the same batch size and
threads. Prints samples (three images each) per second, and the median, lowest and highest ratio
of index to bare over the rounds, and the time on cores that a sample takes in both, which a busy
machine disturbs less. One round before them does not count. `--memory`: the peak of memory of a
`trireid index` on a batch of crops, on `--samples` crops, and on four triplets of 8000 x 6000 JPEGs
per thread.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stderr
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from trireid.demo.synthetic.source import synthetic_samples
from trireid.gallery import Gallery, index_source
from trireid.gallery.images import digest, thumbnail
from trireid.gallery.indexing import BATCH, count_decoding_threads
from trireid.inference import Embedder, load_artifact
from trireid.inference.embedded import default_artifact
from trireid.inference.embedder import pixels
from trireid.samples import MODALITIES, Sample, decode
from trireid.samples import pixels as fitted
from trireid.samples.source import Source
from trireid.samples.sources import open_source

FORMS = {
    "png": ("PNG", "256 x 128 PNG"),
    "jpeg": ("JPEG", "256 x 128 JPEG"),
    "frame": ("JPEG", "1280 x 720 JPEG"),
    "huge": ("JPEG", "8000 x 6000 JPEG"),
}
Times = tuple[float, float]  # seconds on the wall, and on all cores together
FRAME = (1280, 720)
HUGE = (8000, 6000)
CROP = (256, 128)
QUALITY = 90
# A command, and then its process's own peak in MiB.
_PEAK = """
import sys, trireid
from trireid.training.memory import peak_megabytes
trireid.cli.main(sys.argv[1:])
print(peak_megabytes())
"""


def draw(folder: Path, form: str, count: int) -> Source:
    """Fill a folder with triplets; frames are mosaics of crops, so that they hold as much detail as
    a camera's.
    """
    crops = [
        {m: Image.fromarray(np.asarray(s.image(m))) for m in MODALITIES} for s in _crops(count)
    ]
    for modality in MODALITIES:
        (folder / modality).mkdir()
        for number, crop in enumerate(crops):
            image = _in_form(crop[modality], form, [each[modality] for each in crops], number)
            name = f"{number:06d}.{'png' if form == 'png' else 'jpg'}"
            image.save(folder / modality / name, FORMS[form][0], quality=QUALITY)
    return open_source(str(folder))


def _crops(count: int) -> Iterator[Sample]:
    shots = synthetic_samples("person", -(-count // 8), size=CROP)
    return (sample for sample, _ in zip(shots, range(count), strict=False))


def _in_form(crop: Image.Image, form: str, crops: list[Image.Image], seed: int) -> Image.Image:
    if form == "huge":
        return crop.resize(HUGE)
    return _mosaic(crops, seed) if form == "frame" else crop


def _mosaic(crops: list[Image.Image], seed: int) -> Image.Image:
    chance, frame = random.Random(seed), Image.new("RGB", FRAME)
    for left in range(0, FRAME[0], CROP[1]):
        for top in range(0, FRAME[1], CROP[0]):
            frame.paste(chance.choice(crops), (left, top))
    return frame


def measure_times(work: Callable[[], object]) -> Times:
    """Measure how long something takes, on the wall and on all cores together."""
    wall, cores = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cores


def prepare_bare_run(embedder: Embedder, source: Source) -> Callable[[], Times]:
    """Return a measurement of the embedder alone, over batches that are decoded now."""
    samples = [entry.sample for entry in source if entry.sample]
    batches = [
        pixels(samples[start : start + BATCH], embedder.card)
        for start in range(0, len(samples), BATCH)
    ]

    def run() -> None:
        for batch in batches:
            embedder.run(*batch)

    return lambda: measure_times(run)


def index_once(embedder: Embedder, source: Source) -> Times:
    """Index the source into a fresh gallery, and measure it."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Gallery.open(Path(folder) / "bench.gallery", embedder) as gallery,
        redirect_stderr(io.StringIO()),
    ):
        taken = measure_times(lambda: index_source(source, gallery))
        assert len(gallery) == len(source)
    return taken


def measure_preparing(source: Source, size: tuple[int, int]) -> dict[str, float]:
    """Measure the milliseconds on a core that the parts of preparing a sample take.

    They are medians of up to 60 samples.
    """
    taken: dict[str, list[float]] = {
        "read and hash": [],
        "decode": [],
        "resize": [],
        "thumbnail": [],
    }
    for entry, _ in zip(source, range(60), strict=False):
        assert entry.sample is not None
        paths = [Path(str(entry.sample.image(modality))) for modality in MODALITIES]
        images = [decode(path) for path in paths]
        parts: dict[str, Callable[[], object]] = {
            "read and hash": partial(digest, entry.sample),
            "decode": partial(_map, decode, paths),
            "resize": partial(_map, partial(fitted, to=size), images),
            "thumbnail": partial(_map, thumbnail, images),
        }
        for name, part in parts.items():
            start = time.thread_time()
            part()
            taken[name].append(1e3 * (time.thread_time() - start))
    return {name: median(times) for name, times in taken.items()}


def _map(work: Callable[[Any], object], items: Iterable[object]) -> list[object]:
    return [work(item) for item in items]


def compare(name: str, embedder: Embedder, form: str, count: int, rounds: int) -> None:
    """Measure one network on one form of image, in turns, and print a line, and one on the core
    time of preparing.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = draw(Path(folder), form, count)
        bare = prepare_bare_run(embedder, source)
        pairs = [(bare(), index_once(embedder, source)) for _ in range(rounds + 1)][1:]
        parts = measure_preparing(source, embedder.card.image_size)
    ratios = sorted(one / whole for (one, _), (whole, _) in pairs)
    alone, indexed = (
        count / median(wall for wall, _ in times) for times in zip(*pairs, strict=True)
    )
    cores = [
        1e3 * median(cores for _, cores in times) / count for times in zip(*pairs, strict=True)
    ]
    print(
        f"{name}, {FORMS[form][1]}: bare {alone:.2f}, index {indexed:.2f} samples a second;"
        f" ratio {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )
    print(f"    a sample takes {cores[0]:.1f} ms on cores, in index {cores[1]:.1f}")
    listed = ", ".join(f"{part} {taken:.2f}" for part, taken in parts.items())
    print(
        f"    preparing a sample takes {sum(parts.values()):.2f} ms on a core: {listed}", flush=True
    )


def print_memory(count: int) -> None:
    """Print the peak of memory of a `trireid index`, whole process, with `person-tiny`."""
    for form, each in (("jpeg", BATCH), ("jpeg", count), ("huge", 4 * count_decoding_threads())):
        with tempfile.TemporaryDirectory() as folder:
            draw(Path(folder), form, each)
            command = [
                sys.executable,
                "-c",
                _PEAK,
                "index",
                folder,
                "--gallery",
                f"{folder}/bench.gallery",
                "--model",
                "person-tiny",
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"{each} samples, {FORMS[form][1]}: peak {done.stdout.split()[-1]} MiB", flush=True)


def export_vit_b(folder: Path) -> Path:
    """Export an untrained network of the published size."""
    import torch

    from trireid.export import export_onnx
    from trireid.models import NetworkConfig, ReIdNetwork

    torch.manual_seed(0)
    export_onnx(ReIdNetwork(NetworkConfig()), folder / "vit-b.onnx")
    return folder / "vit-b.onnx"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.indexing", description="index against the bare embedder"
    )
    parser.add_argument("artifacts", nargs="*", type=Path)
    parser.add_argument(
        "--vit-b", action="store_true", help="an untrained network of 12 x 768, exported first"
    )
    parser.add_argument("--samples", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=["png", "jpeg", "frame"])
    parser.add_argument("--memory", action="store_true", help="measure memory instead")
    parser.add_argument(
        "--threads", type=int, help="of a forward pass (default: what the runtime takes)"
    )
    given = parser.parse_args()
    print(
        f"{os.cpu_count()} cores, {count_decoding_threads()} decoding threads, batch {BATCH},"
        f" load {os.getloadavg()[0]:.1f}"
    )
    if given.memory:
        print_memory(given.samples)
        return
    with tempfile.TemporaryDirectory() as folder:
        made = [export_vit_b(Path(folder))] if given.vit_b else []
        for path in [*given.artifacts, *made] or [default_artifact("person-tiny")]:
            embedder = load_artifact(path, given.threads)
            for form in given.forms:
                compare(path.stem, embedder, form, given.samples, given.rounds)


if __name__ == "__main__":
    main()
