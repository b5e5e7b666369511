"""A small gallery of drawn persons, with cameras, times and attributes: what the page is tested and
shown with.
"""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from PIL import Image

from trireid.demo.synthetic.source import synthetic_samples
from trireid.gallery import Gallery
from trireid.inference import load_artifact
from trireid.samples import MODALITIES, Kind, Sample

NAMES = ("Ada", "Ben", "Chloë", "Dev", "Eli", "Fay", "Gus", "Hal")
_FIRST = datetime(2026, 3, 2, 8, 15, tzinfo=UTC)
_COLOURS = ("red", "navy", "green")


def draw_samples(kind: Kind, identities: int, shots: int = 1) -> list[Sample]:
    """Samples of every camera; times within three weeks; the fifth lacks its thermal image."""
    samples = []
    for number, sample in enumerate(synthetic_samples(kind, identities, shots=shots)):
        identity = int(sample.identity or 0)
        samples.append(
            replace(
                sample,
                identity=NAMES[identity % len(NAMES)],
                time=(_FIRST + timedelta(days=number * 7 % 23, minutes=97 * number))
                .isoformat()
                .replace("+00:00", "Z"),
                attributes={"colour": _COLOURS[identity % len(_COLOURS)], "gate": identity % 4},
                tir=None if number == 4 else sample.tir,
            )
        )
    return samples


def fill(folder: Path, samples: list[Sample], kind: Kind) -> Path:
    """A gallery of these samples, with the kind's small default network."""
    with Gallery.open(folder, load_artifact(f"{kind}-tiny")) as gallery:
        if samples:
            gallery.add(samples)
    return folder


def write_images(sample: Sample, folder: Path) -> dict[str, Path]:
    """A sample's images as PNG files `NAME_MODALITY.png`."""
    paths: dict[str, Path] = {}
    for modality in MODALITIES:
        image = sample.image(modality)
        if image is not None:
            paths[modality] = folder / f"{sample.id}_{modality}.png"
            out = io.BytesIO()
            Image.fromarray(np.asarray(image)).save(out, "PNG")
            paths[modality].write_bytes(out.getvalue())
    return paths
