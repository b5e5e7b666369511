"""Foreign networks, odd ones: other layouts, channel orders, statistics, several inputs, and cards that do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import trireid
from export import load_artifact
from gallery import Gallery
from samples import ArtifactError, PictureError, Sample
from tests.conftest import encoded, picture

H, W, D = 16, 8, 5
PICTURES: dict[str, Any] = {"rgb": picture(1, (H, W)), "nir": picture(2, (H, W)), "tir": picture(3, (H, W))}
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def weights(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def network(path: Path, shapes: dict[str, list[Any]], kind: int = TensorProto.FLOAT) -> Path:
    """An ONNX that flattens its inputs, joins them and multiplies by random weights [_, D]."""
    nodes = []
    for name in shapes:
        nodes.append(helper.make_node("Cast", [name], [f"{name}.float"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Flatten", [f"{name}.float"], [f"{name}.flat"], axis=1))
    nodes.append(helper.make_node("Concat", [f"{name}.flat" for name in shapes], ["joined"], axis=1))
    nodes.append(helper.make_node("MatMul", ["joined", "weights"], ["feat"]))
    length = sum(int(np.prod(shape[1:])) for shape in shapes.values())
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info("feat", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights(length, D), "weights")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def described(path: Path, inputs: list[dict[str, Any]], **more: Any) -> Path:
    """Write the card beside it."""
    card = {"image_size": [H, W], "inputs": inputs, "output": "feat", **more}
    path.with_suffix(".json").write_text(json.dumps(card))
    return path


def expected(*pixels: NDArray[Any]) -> NDArray[np.float32]:
    """The embedding of pixels in the graph's own layout."""
    joined = np.concatenate([each.astype(np.float32).ravel() for each in pixels])
    feature = joined @ weights(len(joined), D)
    return np.asarray(feature / np.linalg.norm(feature))


def embedded(path: Path, **pictures: Any) -> NDArray[np.float32]:
    return np.asarray(load_artifact(path).embed([Sample(**pictures)])[0])


def test_height_width_channels_in_bgr_from_0_to_255(tmp_path: Path) -> None:
    path = network(tmp_path / "odd.onnx", {"x": ["batch", H, W, 3]})
    described(path, [{"name": "x", "modality": "rgb", "layout": "NHWC", "channels": "BGR", "scale": 1}])
    assert np.allclose(embedded(path, rgb=PICTURES["rgb"]), expected(PICTURES["rgb"][..., ::-1]), atol=1e-5)


def test_channels_first_with_imagenet_statistics(tmp_path: Path) -> None:
    path = described(network(tmp_path / "net.onnx", {"x": ["b", 3, H, W]}), [{"name": "x", "modality": "rgb", **IMAGENET}])
    pixels = (PICTURES["rgb"] / 255 - IMAGENET["mean"]) / IMAGENET["std"]
    assert np.allclose(embedded(path, rgb=PICTURES["rgb"]), expected(pixels.transpose(2, 0, 1)), atol=1e-5)


def test_two_inputs_of_which_one_is_grey_and_bytes_with_a_fixed_batch(tmp_path: Path) -> None:
    path = network(tmp_path / "two.onnx", {"a": [2, 3, H, W], "b": [2, 1, H, W]}, TensorProto.UINT8)
    inputs = [
        {"name": "b", "modality": "tir", "channels": "GRAY", "scale": 1},
        {"name": "a", "modality": "nir", "scale": 1},
    ]
    described(path, inputs, name="two eyes", kind="vehicle")
    grey = (PICTURES["tir"] @ [0.299, 0.587, 0.114]).round()
    wanted = expected(PICTURES["nir"].transpose(2, 0, 1), grey)
    embedder = load_artifact(path)
    assert (embedder.card.name, embedder.card.kind, embedder.card.modalities) == ("two eyes", "vehicle", ("nir", "tir"))
    assert (embedder.card.dimension, embedder.card.segments[0].modality) == (D, "nir+tir")
    for rows in embedder.embed([Sample(**PICTURES)] * 3):  # three samples through a batch of two; rgb is not looked at
        assert np.allclose(rows, wanted, atol=1e-5)
    assert embedder.look([Sample(**PICTURES)])[1].shape == (1, 3, 0)  # it tells of no kept patches
    alone = embedder.embed([Sample(nir=PICTURES["nir"])])[0]  # an absent modality counts as zeros
    assert np.allclose(alone, expected(PICTURES["nir"].transpose(2, 0, 1), 0 * grey), atol=1e-5)


def test_a_sample_without_what_the_network_sees_is_refused(tmp_path: Path) -> None:
    path = described(network(tmp_path / "net.onnx", {"x": ["b", 3, H, W]}), [{"name": "x", "modality": "rgb"}])
    with pytest.raises(PictureError, match="net sees rgb only, and the sample has none of it"):
        embedded(path, nir=PICTURES["nir"])


def test_a_foreign_network_fills_a_gallery_and_is_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = described(network(tmp_path / "net.onnx", {"x": ["b", 3, H, W]}), [{"name": "x", "modality": "rgb", **IMAGENET}])
    folder = tmp_path / "people.gallery"
    assert trireid.main(["index", "synthetic:person:2", "--gallery", str(folder), "--model", str(path)]) == 0
    with Gallery.open(folder) as gallery:
        gallery.add([Sample(id="me", rgb=encoded(7))])
        (hit,) = gallery.search(Sample(rgb=encoded(7)), k=1)
    assert (hit.id, round(hit.score, 5)) == ("me", 1.0)
    capsys.readouterr()
    assert trireid.main(["evaluate", "synthetic:person:3", "--model", str(path), "--missing"]) == 0
    table = capsys.readouterr().out
    assert "rgb" in table
    assert "nir" not in table  # what the network does not see cannot be missing


def test_the_fingerprint_follows_file_and_card_but_not_the_name(tmp_path: Path) -> None:
    path = network(tmp_path / "net.onnx", {"x": ["b", 3, H, W]})
    one = load_artifact(described(path, [{"name": "x", "modality": "rgb"}], name="a")).card.fingerprint
    assert load_artifact(described(path, [{"name": "x", "modality": "rgb"}], name="b")).card.fingerprint == one
    assert load_artifact(described(path, [{"name": "x", "modality": "nir"}])).card.fingerprint != one
    path.write_bytes(path.read_bytes() + b"\x7a\x00")  # an empty field that no reader knows
    assert load_artifact(described(path, [{"name": "x", "modality": "rgb"}])).card.fingerprint != one


def test_the_fingerprint_follows_weights_in_a_file_of_their_own(tmp_path: Path) -> None:
    path = described(network(tmp_path / "net.onnx", {"x": ["b", 3, H, W]}), [{"name": "x", "modality": "rgb"}])
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="net.data", size_threshold=0)
    one = load_artifact(path).card.fingerprint
    content = bytearray((tmp_path / "net.data").read_bytes())
    content[2] ^= 1
    (tmp_path / "net.data").write_bytes(content)
    assert load_artifact(path).card.fingerprint != one


def test_a_network_whose_embedding_depends_on_the_batch_is_refused(tmp_path: Path) -> None:
    path = described(network(tmp_path / "net.onnx", {"x": ["b", 3, H, W]}), [{"name": "x", "modality": "rgb"}])
    whole = onnx.load(path)
    whole.graph.node[-1].output[0] = "each"
    mean = helper.make_node("ReduceMean", ["each"], ["mean"], axes=[0], keepdims=1)  # as batch norms do in training mode
    whole.graph.node.extend([mean, helper.make_node("Sub", ["each", "mean"], ["off"])])
    whole.graph.node.append(helper.make_node("Add", ["each", "off"], ["feat"]))
    onnx.save(whole, path)
    with pytest.raises(ArtifactError, match=r"embeds a picture differently where another is in its batch"):
        load_artifact(path)
    frozen = onnx.load(path)
    del frozen.graph.node[-3:]
    shape = numpy_helper.from_array(np.array([1, D]), "shape")  # traced for a batch of one
    frozen.graph.initializer.append(shape)
    frozen.graph.node.append(helper.make_node("Reshape", ["each", "shape"], ["feat"]))
    onnx.save(frozen, path)
    with pytest.raises(ArtifactError, match=r"does not run on batches of 16 x 8 pictures: ") as caught:
        load_artifact(path)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"inputs": []}, "inputs: expected a list"),
        ({"inputs": [{"name": "y", "modality": "rgb"}]}, "the graph has x, its card y"),
        ({"inputs": [{"name": "x", "modality": "uv"}]}, "x: modality: expected one of rgb, nir, tir"),
        ({"inputs": [{"name": "x", "modality": "rgb", "layout": "CHWN"}]}, "x: layout: expected one of NCHW, NHWC"),
        ({"inputs": [{"name": "x", "modality": "rgb", "layout": "NHWC"}]}, "its card says"),
        ({"inputs": [{"name": "x", "modality": "rgb", "std": [0, 1, 1]}]}, "x: std: is a divisor"),
        ({"inputs": [{"name": "x", "modality": "rgb", "mean": [1, 2]}]}, "x: mean: expected a list of 3 numbers"),
        ({"inputs": [{"name": "x", "modality": "rgb", "scale": "much"}]}, "x: scale: expected a number"),
        ({"inputs": [{"name": "x", "modality": "rgb", "colour": 1}]}, "colour: unknown; an input knows name, modality"),
        ({"inputs": [{"name": "x"}]}, "modality: missing in an input"),
        ({"image_size": [H]}, "image_size: expected"),
        ({"image_size": [H, 2 * W]}, "its card says"),
        ({"output": "features"}, "output: the graph has feat, not features"),
        ({"inputs": [{"name": "x", "modality": "rgb"}, {"name": "x", "modality": "nir"}]}, "inputs: two of them have one name"),
        ({"inputs": [{"name": "x", "modality": "rgb"}, {"name": "y", "modality": "rgb"}]}, "two of them have one modality"),
        ({"inputs": [{"name": [], "modality": "rgb"}]}, "name: expected the name of a graph input"),
        ({"name": 5}, "name: expected a text"),
        ({"version": 2}, "version: this trireid reads 1"),
        ({"kind": "dog"}, "kind: expected person or vehicle"),
        ({"sizes": 1}, "sizes: unknown; the card knows image_size"),
    ],
)
def test_a_card_that_does_not_fit_names_the_key(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    path = network(tmp_path / "net.onnx", {"x": ["b", 3, H, W]})
    described(path, **{"inputs": [{"name": "x", "modality": "rgb"}], **change})
    with pytest.raises(ArtifactError) as caught:
        load_artifact(path)
    assert fault in caught.value.message
    assert "\n" not in caught.value.message


def test_a_card_that_is_no_json_is_named(tmp_path: Path) -> None:
    path = network(tmp_path / "net.onnx", {"x": ["b", 3, H, W]})
    path.with_suffix(".json").write_text("{")
    with pytest.raises(ArtifactError, match=r"net\.json: not JSON"):
        load_artifact(path)
