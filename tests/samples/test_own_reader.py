"""Readers of a user's own: any samples in a script, a scheme by an entry point."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import encode_image, make_sample
from trireid.gallery import Gallery, index_source
from trireid.inference import Embedder
from trireid.samples import Sample, SourceError
from trireid.samples.source import read_samples
from trireid.samples.sources import open_source

PLUGIN = """
from trireid.samples import Sample
from trireid.samples.source import read_samples

def read_frames(name, split, **options):
    return read_samples([Sample(id=f"{split}-{n}", rgb=name) for n in range(3)], name)
"""


@pytest.fixture
def gallery(tmp_path: Path, embedder: Embedder) -> Iterator[Gallery]:
    with Gallery.open(tmp_path / "own.gallery", embedder) as opened:
        yield opened


def test_a_gallery_takes_samples_of_a_list_or_a_generator(gallery: Gallery) -> None:
    samples = [make_sample(n, id=f"s{n}", identity=str(n % 2)) for n in range(4)]
    assert index_source(samples, gallery).added == 4
    report = index_source((make_sample(n, id=f"s{n}") for n in range(3, 6)), gallery)
    assert (report.added, len(gallery)) == (2, 6)


def test_a_sample_without_an_id_is_named_by_its_file(gallery: Gallery, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_image(3))
    samples = [Sample(rgb=tmp_path / "a.png"), Sample(rgb=encode_image(4))]
    assert index_source(samples, gallery).added == 2
    assert [entry.place for entry in read_samples(samples)] == [str(tmp_path / "a.png"), "sample 1"]
    assert index_source(samples, gallery).added == 0


def test_what_is_not_a_sample_is_rejected_and_the_rest_go_on(gallery: Gallery) -> None:
    bad: list[Sample] = ["a.png", make_sample(1, id="a"), Sample(rgb=b"x", id="b")]  # type: ignore[list-item]
    report = index_source(bad, gallery)
    assert (report.added, len(report.rejected)) == (1, 2)
    assert "gave str; give Sample objects" in str(report.rejected)


def test_an_installed_package_adds_a_scheme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "frames_reader.py").write_text(PLUGIN)
    metadata = tmp_path / "frames_reader-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: frames-reader\nVersion: 1.0\n")
    points = "[trireid.sources]\nframes = frames_reader:read_frames\n"
    (metadata / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)
    source = open_source("frames:camera-1", "query")
    assert len(source) == 3
    assert [entry.sample.id for entry in source if entry.sample] == [
        "query-0",
        "query-1",
        "query-2",
    ]
    with pytest.raises(SourceError, match="not a SOURCE"):
        open_source("film:camera-1")
