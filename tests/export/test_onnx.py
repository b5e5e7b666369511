"""The artifact is the network: interface, batches, card; a failing export leaves nothing behind."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from tests.conftest import (
    GOLDENS,
    encode_image,
    export_tiny,
    find_shared,
    make_pixels,
    make_sample,
    make_tiny_network,
)
from tests.export.tolerances import change_tolerance
from trireid.export import export_onnx
from trireid.export.tracing import ArtifactGraph
from trireid.inference import Card, Embedder, load_artifact
from trireid.inference.torch import compute_fingerprint, describe_network
from trireid.models import Head, ReIdNetwork, load_checkpoint
from trireid.samples import ArtifactError, Sample, VerificationError


def test_an_artifact_gives_the_goldens_embeddings(golden: Path) -> None:
    expected = np.load(GOLDENS / "tiny_sdtps.npz")
    images = np.stack([expected[f"img/{modality}"] for modality in ("RGB", "NI", "TI")], axis=1)
    for missing in ("nothing", "n", "rt"):
        present = np.array(
            [[missing == "nothing" or letter not in missing for letter in "rnt"]] * 3
        )
        got, _ = load_artifact(golden).run(images, expected["cam"], present)
        raw = expected[f"out/{missing}/3"]
        assert np.abs(got - raw / np.linalg.norm(raw, axis=1, keepdims=True)).max() <= 1e-4


@pytest.mark.parametrize(
    ("name", "kept"),
    [("sdtps_vehicle", 64), ("demo_hdm_atm", 128), ("imagenet_sdtps", 64), ("baseline", 128)],
)
def test_an_artifact_gives_the_research_codes_embeddings(
    tmp_path: Path, name: str, kept: int
) -> None:
    folder = find_shared("goldens")
    expected = np.load(folder / f"{name}.npz")
    network = load_checkpoint(folder / f"{name}.pth", folder / f"{name}.yml")
    export_onnx(network, tmp_path / "v.onnx")
    images = np.stack([expected[f"img/{modality}"] for modality in ("RGB", "NI", "TI")], axis=1)
    got, tokens = load_artifact(tmp_path / "v.onnx").run(
        images, expected["cam"], np.ones((3, 3), np.bool_)
    )
    raw = expected["out/nothing/3"]
    assert np.abs(got - raw / np.linalg.norm(raw, axis=1, keepdims=True)).max() <= 1e-4
    assert tokens.shape == (3, 3, kept)


def test_the_interface_is_the_contract(artifact: Path) -> None:
    graph = onnx.load(artifact).graph
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {
        "images": ["batch", 3, 64, 32, 3],
        "camera": ["batch"],
        "present": ["batch", 3],
        "embedding": ["batch", 192],
        "tokens": ["batch", 3, 4],
    }
    kinds = {
        value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)
    }
    tensor = onnx.TensorProto
    assert kinds == {
        "images": tensor.UINT8,
        "camera": tensor.INT64,
        "present": tensor.BOOL,
        "embedding": tensor.FLOAT,
        "tokens": tensor.INT64,
    }


@pytest.mark.parametrize(
    "changes", [{"cameras": 0}, {"head": Head.NONE}], ids=["no cameras", "no head"]
)
def test_every_network_has_the_three_inputs(tmp_path: Path, changes: dict[str, object]) -> None:
    embedder = load_artifact(export_tiny(tmp_path / "a.onnx", 0, **changes))
    one, two = (embedder.embed([make_sample(1, camera=camera)]) for camera in (1, 2))
    assert np.array_equal(one, two) == ("cameras" in changes)
    assert embedder.card.selected_patches == (8 if "head" in changes else 4)


def test_a_fixed_batch_has_no_free_dimension(tmp_path: Path, golden: Path) -> None:
    network = load_checkpoint(GOLDENS / "tiny_sdtps.pth", GOLDENS / "tiny_sdtps.yml")
    export_onnx(network, tmp_path / "two.onnx", batch=2)
    graph = onnx.load(tmp_path / "two.onnx").graph
    dims = [
        dim for value in (*graph.input, *graph.output) for dim in value.type.tensor_type.shape.dim
    ]
    assert not any(dim.dim_param for dim in dims)
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_value == 2
    samples = [make_sample(i) for i in range(5)]
    fixed, dynamic = (
        load_artifact(path).embed(samples) for path in (tmp_path / "two.onnx", golden)
    )
    assert np.abs(fixed - dynamic).max() < 1e-5


def test_the_card_says_what_the_network_is(embedder: Embedder) -> None:
    card = embedder.card
    assert (card.name, card.kind, card.precision) == ("tiny", "person", "fp32")
    assert (card.image_size, card.grid, card.selected_patches, card.cameras, card.dimension) == (
        (64, 32),
        (4, 2),
        4,
        4,
        192,
    )
    parts = [(s.modality, s.branch, s.start, s.stop) for s in card.segments]
    assert parts[0] == ("rgb", "global", 0, 32)
    assert parts[5] == ("tir", "head", 160, 192)
    assert card.measured["against_fp32"]["max_difference"] <= 1e-4
    assert Card.from_json(card.to_json(), "here") == card


def test_the_fingerprint_follows_the_weights(embedder: Embedder) -> None:
    def make_fingerprint(seed: int, **changes: Any) -> str:
        network = make_tiny_network(seed, **changes)
        return compute_fingerprint(network, describe_network(network, "a name of its own", None))

    assert make_fingerprint(0) == embedder.card.fingerprint
    assert make_fingerprint(1) != make_fingerprint(0)
    assert make_fingerprint(0, sie_coe=3.0) != make_fingerprint(
        0
    )  # the same weights, used otherwise


def test_an_artifact_holds_no_path_of_the_machine_that_made_it(artifact: Path) -> None:
    content = artifact.read_bytes()
    assert b".py" not in content
    assert b"/" + Path(__file__).parts[1].encode() + b"/" not in content


def test_embeddings_are_unit_and_do_not_depend_on_the_batch(embedder: Embedder) -> None:
    samples = [make_sample(i, camera=i % 5 - 1) for i in range(33)]
    together = embedder.embed(samples)
    assert together.dtype == np.float32
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    alone = np.concatenate([embedder.embed([sample]) for sample in samples])
    assert np.abs(together - alone).max() < 1e-5


def test_a_camera_out_of_range_embeds_as_unknown(embedder: Embedder) -> None:
    unknown = embedder.embed([make_sample(1)])
    for camera in (-7, 4, 99):
        assert np.array_equal(embedder.embed([make_sample(1, camera=camera)]), unknown)
    assert not np.allclose(embedder.embed([make_sample(1, camera=2)]), unknown)


def test_a_missing_modality_counts_as_zeros_after_normalisation(embedder: Embedder) -> None:
    grey = np.full((1, 3, 64, 32, 3), 127, np.uint8)
    grey[0, 0] = make_pixels(4)
    absent, _ = embedder.run(grey, np.array([-1]), np.array([[True, False, False]]))
    assert np.abs(absent - embedder.embed([Sample(rgb=encode_image(4))])).max() < 1e-6


def test_a_failing_export_leaves_its_report_and_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_tolerance(monkeypatch, "fp32", difference=-1.0)
    (tmp_path / "a.onnx").write_bytes(b"the one before")
    with pytest.raises(
        VerificationError, match=r"not written.*differ by.*a\.report\.json says more"
    ) as caught:
        export_tiny(tmp_path / "a.onnx", 0)
    assert "\n" not in caught.value.message
    assert (tmp_path / "a.onnx").read_bytes() == b"the one before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "a.report.json"]
    report = json.loads((tmp_path / "a.report.json").read_text())
    assert (report["holds"], report["parts_at"]) == (False, "embedding")


def test_a_network_that_is_not_finite_is_not_exported(tmp_path: Path) -> None:
    network = load_checkpoint(GOLDENS / "tiny_sdtps.pth", GOLDENS / "tiny_sdtps.yml")
    torch.nn.init.constant_(network.get_parameter("backbone.base.proj"), torch.nan)
    with pytest.raises(
        VerificationError, match=r"embeddings are not finite.*they part at the tokens"
    ):
        export_onnx(network, tmp_path / "a.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["a.report.json"]


def test_a_graph_that_normalises_wrongly_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = load_checkpoint(GOLDENS / "tiny_sdtps.pth", GOLDENS / "tiny_sdtps.yml")
    built = ArtifactGraph.__init__

    def double_batch(self: ArtifactGraph, given: ReIdNetwork) -> None:
        built(self, given)
        self.scale = torch.nn.Buffer(self.scale * 2, persistent=False)

    monkeypatch.setattr(ArtifactGraph, "__init__", double_batch)
    with pytest.raises(VerificationError, match="they part at the input"):
        export_onnx(network, tmp_path / "a.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["a.report.json"]


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:1000])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "a.onnx").write_bytes(b"the one before")
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"No space left.*a\.onnx"):
        export_tiny(tmp_path / "a.onnx", 0)
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]
    assert (tmp_path / "a.onnx").read_bytes() == b"the one before"


def test_a_disk_that_is_full_at_the_end_leaves_no_report_of_what_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if target.name == "a.onnx":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match=r"No space left.*a\.onnx"):
        export_tiny(tmp_path / "a.onnx", 0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "is a directory; name the file to write"),
        ("best.pth", "a file called .pth is taken for something else; call it .onnx"),
        ("best.plan", "a file called .plan is taken for something else; call it .onnx"),
        ("none/best.onnx", "the folder .*none does not exist"),
    ],
)
def test_a_place_that_nothing_can_be_written_to_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, problem: str
) -> None:
    monkeypatch.setattr("trireid.export.onnx.trace", lambda *_: pytest.fail("the work has begun"))
    network = load_checkpoint(GOLDENS / "tiny_sdtps.pth", GOLDENS / "tiny_sdtps.yml")
    with pytest.raises(ArtifactError, match=problem):
        export_onnx(network, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_an_unknown_precision_is_refused(tmp_path: Path) -> None:
    network = load_checkpoint(GOLDENS / "tiny_sdtps.pth", GOLDENS / "tiny_sdtps.yml")
    with pytest.raises(ValueError, match="precision"):
        export_onnx(network, tmp_path / "a.onnx", precision="fp12")


def test_files_that_are_no_artifact(tmp_path: Path, artifact: Path) -> None:
    bare = onnx.load(artifact)
    del bare.metadata_props[:]
    onnx.save(bare, tmp_path / "bare.onnx")
    old = onnx.load(artifact)
    old.metadata_props[0].value = old.metadata_props[0].value.replace(
        '"version": 1', '"version": 99'
    )
    onnx.save(old, tmp_path / "old.onnx")
    other = onnx.load(artifact)
    other.metadata_props[0].value = other.metadata_props[0].value.replace(
        '"image_size": [64', '"image_size": [32'
    )
    onnx.save(other, tmp_path / "other.onnx")
    (tmp_path / "text.onnx").write_text("hello")
    (tmp_path / "empty.onnx").write_bytes(b"")
    for name, problem in {
        "none.onnx": "does not exist",
        ".": "is a directory",
        "text.onnx": "not an ONNX file",
        "empty.onnx": "is empty",
        "bare.onnx": "without a card",
        "old.onnx": "version 99, this trireid reads 1",
        "other.onnx": "its graph is not that of an artifact with this card",
    }.items():
        with pytest.raises(ArtifactError, match=problem) as caught:
            load_artifact(tmp_path / name)
        assert "\n" not in caught.value.message
