"""The benchmark of the embedded defaults: each table on a tiny set, and the histograms it compares
with on real crops.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import default
from tests.conftest import encode_image, find_shared, make_pixels
from trireid.demo.baselines import describe_by_colors, describe_by_hsv_stripes
from trireid.evaluation import evaluate_distance
from trireid.inference import Embedder
from trireid.inference.retrieval import SUBSETS
from trireid.samples import MODALITIES, Sample, SourceError


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """Two people under two cameras, two frames each, and one under a single camera."""
    folder = tmp_path / "crops"
    folder.mkdir()
    names = [f"{who}_c{camera}_{frame}" for who in (1, 2) for camera in (0, 1) for frame in (7, 8)]
    for number, name in enumerate([*names, "3_c0_9"]):
        Image.fromarray(make_pixels(number // 4)).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def triplets(tmp_path: Path) -> Path:
    """A query, one that looks like it in all modalities, and two others."""
    rows = [(0, "query"), (0, "pos"), (1, "neg"), (2, "neg")]
    with (tmp_path / "idea.csv").open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow([*MODALITIES, "role", "query"])
        for number, (seed, role) in enumerate(rows):
            names = [f"{number}_{modality}.png" for modality in MODALITIES]
            for column, name in enumerate(names):
                Image.fromarray(make_pixels(10 * column + seed)).save(tmp_path / name)
            writer.writerow([*names, role, 0])
    return tmp_path / "idea.csv"


def test_it_prints_every_table_and_keeps_the_figures(
    tmp_path: Path, artifact: Path, crops: Path, triplets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    command = f"--artifact {artifact} --identities 2 --runs 1 --crops {crops} --triplets {triplets}"
    default.main([*command.split(), "--output", str(output)])
    printed = capsys.readouterr().out
    found = json.loads((output / "tiny.json").read_text())
    assert found["kind"] == "person"
    assert found["milliseconds"]["tiny"] > 0
    assert [figure["row"] for figure in found["drawn_plain"]] == [
        "+".join(each) for each in SUBSETS
    ]
    assert {figure["queries"] for figure in found["drawn_plain"]} == {16}
    scores = {(figure["row"], figure["column"]): figure for figure in found["crops"]}
    assert len(scores) == 2 * 2 * 3
    for (_, column), figure in scores.items():
        assert (figure["queries"], figure["mAP"], figure["rank1"]) == (8, 100, 100), column
        assert figure["precisions"] == [100] * 8
    ranks = [(row["modalities"], row["ranks"], row["among"]) for row in found["triplets"]]
    assert ranks == 2 * [("rgb", [1], 3), ("rgb+nir+tir", [1], 3)]
    matched = "8 across cameras (of 2 identities), 8 among all (of 2 identities)"
    assert f"9 crops; queries with a match: {matched}\n" in printed
    assert "| tiny, re-ranked | 100.0 (100 to 100) / 100.0 |" in printed
    with Image.open(output / "idea-tiny-rgb+nir+tir.png") as sheet:
        assert sheet.width > 4 * 3 * 64


def test_a_crop_that_cannot_be_read_is_an_error(crops: Path) -> None:
    (crops / "nameless.png").write_bytes((crops / "3_c0_9.png").read_bytes())
    with pytest.raises(SourceError, match="nameless"):
        default.read_samples(str(crops), default.PATTERN)


def test_a_hidden_modality_does_not_count(embedder: Embedder) -> None:
    rgb, *others = (encode_image(seed) for seed in range(5))
    samples = [Sample(rgb=rgb, nir=nir, tir=tir) for nir, tir in (others[:2], others[2:])]
    one, other = default.embed(embedder, samples, ("rgb",))
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert np.linalg.norm(one) == pytest.approx(1)
    one, other = default.embed(embedder, samples, ("rgb", "nir"))
    assert not np.allclose(one, other)


def test_two_networks_of_one_name_are_refused(artifact: Path) -> None:
    with pytest.raises(ValueError, match="same name"):
        default.load_networks([str(artifact), str(artifact)], 1)


def test_scores_of_single_queries_are_those_of_all_together() -> None:
    draw = np.random.default_rng(0)
    distance = draw.random((30, 30), np.float32)
    identities, cameras = draw.integers(0, 6, 30).tolist(), draw.integers(0, 3, 30).tolist()
    scores = default.score_queries(distance, identities, cameras)
    figure = default.Figure.summarize("a", "b", scores, identities)
    whole = evaluate_distance(distance, identities, identities, cameras, cameras)
    assert figure.mAP == pytest.approx(100 * whole.mAP, abs=0.06)
    assert figure.rank1 == pytest.approx(100 * whole.rank1, abs=0.06)
    assert figure.queries == whole.queries == len(figure.precisions)
    assert figure.interval[0] < figure.mAP < figure.interval[1]


def test_histograms_of_crops_know_colors_and_where_they_are() -> None:
    red, blue = (np.full((60, 30, 3), color, np.uint8) for color in ((200, 30, 30), (30, 30, 200)))
    upper = np.concatenate([red[:30], blue[:30]])
    images = np.stack([upper, upper[::-1], upper, red])
    colors, stripes = describe_by_colors(images), describe_by_hsv_stripes(images)
    for features in (colors, stripes):
        np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(colors[0] @ colors.T, [1, 1, 1, 0.5**0.5], atol=1e-5)
    np.testing.assert_allclose(stripes[0] @ stripes.T, [1, 0, 1, 0.5], atol=1e-5)


def test_real_crops_have_few_queries_across_cameras() -> None:
    samples = default.read_samples(str(find_shared("real") / "pets09"), default.PATTERN)
    figures = {
        (figure.row, figure.column): figure
        for figure in default.measure_crops({}, samples, default.SIZES["person"])
    }
    counts = {column: (each.queries, each.identities) for (_, column), each in figures.items()}
    assert counts == {"across cameras": (13, 1), "among all": (67, 10)}
    striped, plain = (
        figures[name, "among all"].mAP for name in ("striped HSV histogram", "color histogram")
    )
    assert striped > plain > 50
