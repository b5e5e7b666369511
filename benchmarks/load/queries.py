"""Queries to the server: synthetic triplets as files, and the same as whole requests, made before
the clock starts.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from trireid.demo.synthetic.source import synthetic_samples
from trireid.gallery import Gallery, index_source, is_gallery
from trireid.inference import load_artifact
from trireid.samples import MODALITIES, Modality, Sample
from trireid.samples.sources import open_source

K: Final = 10
SIZE: Final = (256, 128)
_PER_IDENTITY: Final = 8
_QUALITY: Final = 90
_BOUNDARY: Final = b"0b6c9f0e2d"


def prepare_gallery(folder: Path, items: int) -> Path:
    """Make a gallery of synthetic persons' samples, embedded by the default network, unless it is
    there.
    """
    path = folder / f"load-{items}.gallery"
    if not is_gallery(path):
        folder.mkdir(parents=True, exist_ok=True)
        building = folder / f"load-{items}.building"
        with Gallery.open(building, load_artifact("person-tiny")) as gallery:
            index_source(
                open_source(f"synthetic:person:{-(-items // _PER_IDENTITY)}"), gallery, resume=True
            )
        building.rename(path)
    return path


def make_queries(count: int) -> list[Sample]:
    """Make triplets of 256 x 128, by turns three PNG and three JPEG files each, of persons that the
    gallery does not hold.
    """
    samples = synthetic_samples("person", -(-count // _PER_IDENTITY), split="train", size=SIZE)
    return [
        _as_files(sample, "PNG" if i % 2 else "JPEG")
        for i, sample in zip(range(count), samples, strict=False)
    ]


def _as_files(sample: Sample, form: str) -> Sample:
    def file(modality: Modality) -> bytes:
        out = io.BytesIO()
        Image.fromarray(np.asarray(sample.image(modality))).save(out, form, quality=_QUALITY)
        return out.getvalue()

    return Sample(rgb=file("rgb"), nir=file("nir"), tir=file("tir"))


def write_request(sample: Sample, path: str = "/search") -> bytes:
    """Write a query as a client sends it: the head and a multipart body of three files and `k`."""
    parts = [_part('name="k"', str(K).encode())]
    for modality in MODALITIES:
        image = sample.image(modality)
        assert isinstance(image, bytes)
        parts.append(_part(f'name="{modality}"; filename="{modality}"', image))
    body = b"".join(parts) + b"--" + _BOUNDARY + b"--\r\n"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: multipart/form-data; boundary={_BOUNDARY.decode()}\r\n\r\n"
    )
    return head.encode() + body


def _part(name: str, content: bytes) -> bytes:
    return (
        b"--"
        + _BOUNDARY
        + f"\r\nContent-Disposition: form-data; {name}\r\n\r\n".encode()
        + content
        + b"\r\n"
    )
