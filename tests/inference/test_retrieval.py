"""Retrieval on a SOURCE: the patterns, the subsets, the protocols, and what cannot be measured."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trireid.cli
from tests.conftest import GOLDENS, encode_image, export_tiny, find_shared
from tests.samples.test_datasets import small_tree
from trireid.evaluation import evaluate
from trireid.evaluation.protocol import Protocol
from trireid.inference import Embedder, load_artifact
from trireid.inference.retrieval import ALL, SUBSETS, embed_source, score_retrieval
from trireid.models import load_checkpoint
from trireid.samples import SourceError
from trireid.samples.sources import open_source
from trireid.training.image_set import ImageSet, normalize_images


def manifest(folder: Path, rows: list[str], header: str = "rgb,nir,tir,identity,camera") -> str:
    for i in range(24):
        (folder / f"{i}.png").write_bytes(encode_image(i))
    (folder / "m.csv").write_text("\n".join([header, *rows]) + "\n")
    return str(folder / "m.csv")


def some_rows() -> list[str]:
    return [f"{3 * i}.png,{3 * i + 1}.png,{3 * i + 2}.png,{i % 3},{i % 2}" for i in range(8)]


def test_the_patterns_are_what_the_network_gives(tmp_path: Path, golden: Path) -> None:
    """Each row of the table against the checkpoint, pattern by pattern and subset by subset."""
    import torch

    network = load_checkpoint(GOLDENS / "tiny_sdtps.pth", GOLDENS / "tiny_sdtps.yml")
    embedder = load_artifact(golden)
    source = open_source(manifest(tmp_path, some_rows()))
    data = ImageSet.decode((entry.sample for entry in source if entry.sample), (64, 32))
    asked = embed_source(embedder, source, SUBSETS)
    rows = score_retrieval(asked, asked, embedder.card)
    assert len(rows) == 7 * 3
    for row in rows:
        present = torch.tensor([[m in row.modalities for m in ALL]] * 8)
        with torch.inference_mode():
            images, camera = (
                normalize_images(data.images, network.config),
                torch.from_numpy(data.cameras),
            )
            features = network(images, camera, present, row.pattern).numpy()
        expected = evaluate(
            features, features, data.identities, data.identities, data.cameras, data.cameras
        )
        assert row.scores.mAP == pytest.approx(expected.mAP), (row.modalities, row.pattern)


def test_a_network_without_a_head_has_one_pattern(tmp_path: Path) -> None:
    embedder = load_artifact(export_tiny(tmp_path / "t.onnx", 0, head="none"))
    asked = embed_source(embedder, open_source(manifest(tmp_path, some_rows())))
    assert [row.pattern for row in score_retrieval(asked, asked, embedder.card)] == [1]


def test_a_sample_without_a_camera_is_never_its_own_match(
    tmp_path: Path, embedder: Embedder
) -> None:
    rows = ["0.png,,,a,", "1.png,,,b,", "2.png,,,a,", "3.png,,,b,"]
    asked = embed_source(embedder, open_source(manifest(tmp_path, rows)))
    (scores, *_) = (row.scores for row in score_retrieval(asked, asked, embedder.card))
    expected = asked.embeddings[ALL]
    own = np.arange(4)
    assert scores.mAP == pytest.approx(
        evaluate(expected[:, :96], expected[:, :96], ["a", "b"] * 2, ["a", "b"] * 2, own, own).mAP
    )


def test_bad_entries_are_set_aside(tmp_path: Path, embedder: Embedder) -> None:
    (tmp_path / "bad.png").write_bytes(b"bad")
    source = open_source(manifest(tmp_path, [*some_rows(), "bad.png,,,a,1", "gone.png,,,a,1"]))
    asked = embed_source(embedder, source)
    assert len(asked.samples) == 8
    assert [place for place, _ in asked.rejected] == ["row 10", "row 11"]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (["0.png,,,,1", "1.png,,,,2"], "none of 2 samples has an identity"),
        (["0.png,,,,1", "1.png,,,a,1"], "no query has a match"),
        (["0.png,,,a,1", "1.png,,,b,2"], "no query has a match"),
        (["gone.png,,,a,1"], "no sample in it can be used"),
    ],
)
def test_sources_that_cannot_be_measured(
    tmp_path: Path, embedder: Embedder, rows: list[str], problem: str
) -> None:
    source = open_source(manifest(tmp_path, rows))

    def measure() -> None:
        asked = embed_source(embedder, source)
        score_retrieval(asked, asked, embedder.card)

    with pytest.raises(SourceError, match=problem):
        measure()


def test_scenes_group_where_the_data_set_says_so(tmp_path: Path, embedder: Embedder) -> None:
    small_tree(tmp_path, "msvr310")
    asked = embed_source(embedder, open_source(f"msvr310:{tmp_path}"))
    one_scene = replace(asked, samples=[replace(sample, scene="1") for sample in asked.samples])
    by_scene = Protocol(by_scene=True)
    assert score_retrieval(asked, asked, embedder.card, protocol=by_scene)[0].scores.queries == 2
    with pytest.raises(SourceError, match="no query has a match"):
        score_retrieval(one_scene, one_scene, embedder.card, protocol=by_scene)


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs `trireid evaluate`: the exit code, what it printed, and stderr without its progress
    bar.
    """

    def run(*arguments: object) -> tuple[int, str, str]:
        code = trireid.cli.main(["evaluate", *map(str, arguments)])
        out, err = capsys.readouterr()
        return (
            code,
            out,
            "".join(
                line
                for line in err.splitlines(keepends=True)
                if line.strip() and "sample/s" not in line
            ),
        )

    return run


Told = Callable[..., tuple[int, str, str]]


def test_the_command_prints_writes_and_draws(tmp_path: Path, artifact: Path, told: Told) -> None:
    source = manifest(tmp_path, some_rows())
    arguments = (
        source,
        "--model",
        artifact,
        "--missing",
        "--rerank",
        "--csv",
        tmp_path / "t.csv",
        "--plot",
        tmp_path / "plots",
    )
    code, out, error = told(*arguments)
    assert (code, error) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"tiny on {source}: 8 queries, 8 gallery items, in percent"
    assert lines[1].split() == [
        "modalities",
        "pattern",
        "re-ranked",
        "mAP",
        "Rank-1",
        "Rank-5",
        "Rank-10",
        "mINP",
    ]
    assert len(lines) == 2 + 7 * 3 * 2
    with (tmp_path / "t.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == 42
    found: dict[str, Any] = json.loads(told(*arguments[:-2], "--json")[1])
    assert (found["queries"], found["gallery_items"], found["set_aside"], found["model"]) == (
        8,
        8,
        0,
        "tiny",
    )
    assert [f"{row['mAP']:g}" for row in found["rows"]] == [
        f"{float(row['mAP']):g}" for row in table
    ]
    for name in ("cmc.png", "ranks.png"):
        assert (tmp_path / "plots" / name).read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("scheme", ["rgbnt201", "rgbnt100", "msvr310"])
def test_the_command_takes_each_data_set(
    tmp_path: Path, artifact: Path, scheme: str, told: Told
) -> None:
    small_tree(tmp_path, scheme)
    part = {"rgbnt201": None, "rgbnt100": "RGBNT100/rgbir", "msvr310": "MSVR310"}[scheme]
    if part:
        query = {"rgbnt100": "query", "msvr310": "query3"}[scheme]
        (tmp_path / part / query).symlink_to(tmp_path / part / "bounding_box_test")
    code, out, _ = told(f"{scheme}:{tmp_path}", "--model", artifact)
    assert code == 0
    assert (
        f"tiny on {scheme}:{tmp_path}: 2 queries with a match (of 3), 3 gallery items, in percent"
        in out
    )


def test_an_error_is_one_line(tmp_path: Path, artifact: Path, told: Told) -> None:
    code, out, error = told(f"rgbnt201:{tmp_path}", "--model", artifact)
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert "RGBNT201/test: does not exist" in error


def test_real_crops_can_be_measured(tmp_path: Path, artifact: Path, told: Told) -> None:
    folder = find_shared("real") / "pets09"
    rows = [
        f"{path},{path.name.split('_')[0]},{path.name.split('_')[1][1:]}"
        for path in sorted(folder.glob("*.jpg"))
    ]
    (tmp_path / "pets.csv").write_text("\n".join(["rgb,identity,camera", *rows]) + "\n")
    _, out, _ = told(tmp_path / "pets.csv", "--allow-outside", "--model", artifact, "--json")
    found = json.loads(out)
    assert (found["queries"], found["queries_given"], found["gallery_items"]) == (
        13,
        len(rows),
        len(rows),
    )
