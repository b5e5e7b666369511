"""External networks, odd ones: other layouts, channel orders, statistics, several inputs, and cards
that do not fit.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import trireid.cli
from tests.conftest import encode_image, make_pixels
from trireid.gallery import Gallery, index_source
from trireid.inference import load_artifact
from trireid.samples import Sample, pixels
from trireid.samples.errors import ArtifactError, ImageError
from trireid.samples.fitting import Fit
from trireid.samples.sources import open_source
from trireid.serving.batching import BatchingEmbedder
from trireid.serving.errors import answer_to

H, W, D = 16, 8, 5
IMAGES: dict[str, Any] = {
    "rgb": make_pixels(1, (H, W)),
    "nir": make_pixels(2, (H, W)),
    "tir": make_pixels(3, (H, W)),
}
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def weights(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def network(path: Path, shapes: dict[str, list[Any]], kind: int = TensorProto.FLOAT) -> Path:
    """An ONNX that flattens its inputs, joins them and multiplies by random weights [_, D]."""
    nodes = []
    for name in shapes:
        nodes.append(helper.make_node("Cast", [name], [f"{name}.float"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Flatten", [f"{name}.float"], [f"{name}.flat"], axis=1))
    nodes.append(
        helper.make_node("Concat", [f"{name}.flat" for name in shapes], ["joined"], axis=1)
    )
    nodes.append(helper.make_node("MatMul", ["joined", "weights"], ["feat"]))
    length = sum(int(np.prod(shape[1:])) for shape in shapes.values())
    graph = helper.make_graph(
        nodes,
        "external",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info("feat", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights(length, D), "weights")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    return path


def describe(path: Path, inputs: list[dict[str, Any]], **more: Any) -> Path:
    """Write the card next to it."""
    card = {"image_size": [H, W], "inputs": inputs, "output": "feat", **more}
    path.with_suffix(".json").write_text(json.dumps(card))
    return path


def expect(*pixels: NDArray[Any]) -> NDArray[np.float32]:
    """The embedding of pixels in the graph's own layout."""
    joined = np.concatenate([each.astype(np.float32).ravel() for each in pixels])
    feature = joined @ weights(len(joined), D)
    return np.asarray(feature / np.linalg.norm(feature))


def embed(path: Path, **images: Any) -> NDArray[np.float32]:
    return np.asarray(load_artifact(path).embed([Sample(**images)])[0])


def test_height_width_channels_in_bgr_from_0_to_255(tmp_path: Path) -> None:
    path = network(tmp_path / "odd.onnx", {"x": ["batch", H, W, 3]})
    describe(
        path, [{"name": "x", "modality": "rgb", "layout": "NHWC", "channels": "BGR", "scale": 1}]
    )
    assert np.allclose(embed(path, rgb=IMAGES["rgb"]), expect(IMAGES["rgb"][..., ::-1]), atol=1e-5)


def test_channels_first_with_imagenet_statistics(tmp_path: Path) -> None:
    path = describe(
        network(tmp_path / "net.onnx", {"x": ["b", 3, H, W]}),
        [{"name": "x", "modality": "rgb", **IMAGENET}],
    )
    pixels = (IMAGES["rgb"] / 255 - IMAGENET["mean"]) / IMAGENET["std"]
    assert np.allclose(embed(path, rgb=IMAGES["rgb"]), expect(pixels.transpose(2, 0, 1)), atol=1e-5)


def test_two_inputs_of_which_one_is_grey_and_bytes_with_a_fixed_batch(tmp_path: Path) -> None:
    path = network(tmp_path / "two.onnx", {"a": [2, 3, H, W], "b": [2, 1, H, W]}, TensorProto.UINT8)
    inputs = [
        {"name": "b", "modality": "tir", "channels": "GRAY", "scale": 1},
        {"name": "a", "modality": "nir", "scale": 1},
    ]
    describe(path, inputs, name="two eyes", kind="vehicle")
    grey = (IMAGES["tir"] @ [0.299, 0.587, 0.114]).round()
    wanted = expect(IMAGES["nir"].transpose(2, 0, 1), grey)
    embedder = load_artifact(path)
    assert (embedder.card.name, embedder.card.kind, embedder.card.modalities) == (
        "two eyes",
        "vehicle",
        ("nir", "tir"),
    )
    assert (embedder.card.dimension, embedder.card.segments[0].modality) == (D, "nir+tir")
    # three samples through a batch of two; rgb is not looked at
    for rows in embedder.embed([Sample(**IMAGES)] * 3):
        assert np.allclose(rows, wanted, atol=1e-5)
    assert embedder.embed_with_tokens([Sample(**IMAGES)])[1].shape == (
        1,
        3,
        0,
    )  # it tells of no selected patches
    alone = embedder.embed([Sample(nir=IMAGES["nir"])])[0]  # an absent modality counts as zeros
    assert np.allclose(alone, expect(IMAGES["nir"].transpose(2, 0, 1), 0 * grey), atol=1e-5)


def test_a_sample_without_what_the_network_sees_is_refused(tmp_path: Path) -> None:
    path = describe(
        network(tmp_path / "net.onnx", {"x": ["b", 3, H, W]}), [{"name": "x", "modality": "rgb"}]
    )
    with pytest.raises(ImageError, match="net sees rgb only, and the sample has none of it"):
        embed(path, nir=IMAGES["nir"])


def test_a_external_network_fills_a_gallery_and_is_evaluated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = describe(
        network(tmp_path / "net.onnx", {"x": ["b", 3, H, W]}),
        [{"name": "x", "modality": "rgb", **IMAGENET}],
    )
    folder = tmp_path / "people.gallery"
    assert (
        trireid.cli.main(
            ["index", "synthetic:person:2", "--gallery", str(folder), "--model", str(path)]
        )
        == 0
    )
    with Gallery.open(folder) as gallery:
        gallery.add([Sample(id="me", rgb=encode_image(7))])
        (hit,) = gallery.search(Sample(rgb=encode_image(7)), k=1)
    assert (hit.id, round(hit.score, 5)) == ("me", 1.0)
    capsys.readouterr()
    assert (
        trireid.cli.main(["evaluate", "synthetic:person:3", "--model", str(path), "--missing"]) == 0
    )
    table = capsys.readouterr().out
    assert "rgb" in table
    assert "nir" not in table  # what the network does not see cannot be missing


def test_the_fingerprint_follows_file_and_card_but_not_the_name(tmp_path: Path) -> None:
    path = network(tmp_path / "net.onnx", {"x": ["b", 3, H, W]})
    one = load_artifact(
        describe(path, [{"name": "x", "modality": "rgb"}], name="a")
    ).card.fingerprint
    assert (
        load_artifact(describe(path, [{"name": "x", "modality": "rgb"}], name="b")).card.fingerprint
        == one
    )
    assert load_artifact(describe(path, [{"name": "x", "modality": "nir"}])).card.fingerprint != one
    path.write_bytes(path.read_bytes() + b"\x7a\x00")  # an empty field that no reader knows
    assert load_artifact(describe(path, [{"name": "x", "modality": "rgb"}])).card.fingerprint != one


def test_the_fingerprint_follows_weights_in_a_file_of_their_own(tmp_path: Path) -> None:
    path = describe(
        network(tmp_path / "net.onnx", {"x": ["b", 3, H, W]}), [{"name": "x", "modality": "rgb"}]
    )
    onnx.save(
        onnx.load(path), path, save_as_external_data=True, location="net.data", size_threshold=0
    )
    one = load_artifact(path).card.fingerprint
    content = bytearray((tmp_path / "net.data").read_bytes())
    content[2] ^= 1
    (tmp_path / "net.data").write_bytes(content)
    assert load_artifact(path).card.fingerprint != one


def test_a_network_whose_embedding_depends_on_the_batch_is_refused(tmp_path: Path) -> None:
    path = describe(
        network(tmp_path / "net.onnx", {"x": ["b", 3, H, W]}), [{"name": "x", "modality": "rgb"}]
    )
    whole = onnx.load(path)
    whole.graph.node[-1].output[0] = "each"
    # as batch norms do in training mode
    mean = helper.make_node("ReduceMean", ["each"], ["mean"], axes=[0], keepdims=1)
    whole.graph.node.extend([mean, helper.make_node("Sub", ["each", "mean"], ["off"])])
    whole.graph.node.append(helper.make_node("Add", ["each", "off"], ["feat"]))
    onnx.save(whole, path)
    with pytest.raises(
        ArtifactError, match=r"embeds an image differently if another is in its batch"
    ):
        load_artifact(path)
    frozen = onnx.load(path)
    del frozen.graph.node[-3:]
    shape = numpy_helper.from_array(np.array([1, D]), "shape")  # traced for a batch of one
    frozen.graph.initializer.append(shape)
    frozen.graph.node.append(helper.make_node("Reshape", ["each", "shape"], ["feat"]))
    onnx.save(frozen, path)
    with pytest.raises(
        ArtifactError, match=r"does not run on batches of 16 x 8 images: "
    ) as caught:
        load_artifact(path)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"inputs": []}, "inputs: expected a list"),
        ({"inputs": [{"name": "y", "modality": "rgb"}]}, "the graph has x, its card y"),
        (
            {"inputs": [{"name": "x", "modality": "uv"}]},
            "inputs.0.modality: expected 'rgb', 'nir' or 'tir', not 'uv'",
        ),
        (
            {"inputs": [{"name": "x", "modality": "rgb", "layout": "CHWN"}]},
            "inputs.0.layout: expected 'NCHW' or 'NHWC', not 'CHWN'",
        ),
        ({"inputs": [{"name": "x", "modality": "rgb", "layout": "NHWC"}]}, "its card says"),
        (
            {"inputs": [{"name": "x", "modality": "rgb", "std": [0, 1, 1]}]},
            "inputs.0.std: is a divisor",
        ),
        (
            {"inputs": [{"name": "x", "modality": "rgb", "mean": [1, 2]}]},
            "inputs.0.mean: expected a list of 3 numbers",
        ),
        ({"inputs": [{"name": "x", "modality": "rgb", "scale": "much"}]}, "inputs.0.scale"),
        (
            {"inputs": [{"name": "x", "modality": "rgb", "colour": 1}]},
            "inputs.0.colour: is not a known key",
        ),
        ({"inputs": [{"name": "x"}]}, "inputs.0.modality: is missing"),
        ({"image_size": [H]}, "image_size.1: is missing"),
        ({"image_size": [H, 2 * W]}, "its card says"),
        ({"output": "features"}, "output: the graph has feat, not features"),
        (
            {"inputs": [{"name": "x", "modality": "rgb"}, {"name": "x", "modality": "nir"}]},
            "inputs: two of them have one name",
        ),
        (
            {"inputs": [{"name": "x", "modality": "rgb"}, {"name": "y", "modality": "rgb"}]},
            "two of them have one modality",
        ),
        (
            {"inputs": [{"name": [], "modality": "rgb"}]},
            "inputs.0.name: expected a valid string, not []",
        ),
        ({"name": 5}, "name: expected a valid string, not 5"),
        ({"version": 2}, "version: expected 1, not 2"),
        ({"kind": "dog"}, "kind: expected 'person' or 'vehicle', not 'dog'"),
        ({"sizes": 1}, "sizes: is not a known key"),
    ],
)
def test_a_card_that_does_not_fit_names_the_key(
    tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    path = network(tmp_path / "net.onnx", {"x": ["b", 3, H, W]})
    describe(path, **{"inputs": [{"name": "x", "modality": "rgb"}], **change})
    with pytest.raises(ArtifactError) as caught:
        load_artifact(path)
    assert problem in caught.value.message
    assert "\n" not in caught.value.message


def test_a_card_that_is_no_json_is_named(tmp_path: Path) -> None:
    path = network(tmp_path / "net.onnx", {"x": ["b", 3, H, W]})
    path.with_suffix(".json").write_text("{")
    with pytest.raises(ArtifactError, match=r"net\.json: not JSON"):
        load_artifact(path)


CAFFE = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}


@pytest.mark.parametrize(
    ("statistics", "words"),
    [
        (
            CAFFE,
            'inputs.0.mean: 123.675 lies outside 0 to 255 * scale = 1; did you mean "scale": 1?',
        ),
        (
            {"std": CAFFE["std"]},
            "inputs.0.std: 58.395 does not fit pixels of 0 to 255 * scale = 1;"
            ' did you mean "scale": 1?',
        ),
        (
            {**IMAGENET, "scale": 1},
            "inputs.0.mean: 0.485 is nearly black in pixels of 0 to 255 * scale = 255;"
            " did you mean to leave",
        ),
        ({"std": [0.229], "scale": 1}, 'did you mean to leave "scale" out (1/255)?'),
        (
            {"scale": 255},
            "inputs.0.std: 1 does not fit pixels of 0 to 255 * scale = 6.502e+04;"
            ' did you mean to leave "scale" out',
        ),
        ({"scale": 1 / 255**2}, "inputs.0.std: 1 does not fit"),
        ({"scale": 0}, "inputs.0.scale: is a factor, and 0 makes every pixel the same"),
        ({"mean": [-0.5]}, "inputs.0.mean: -0.5 lies outside"),
        ({"std": [-1.0]}, "inputs.0.std: -1 must be over 0"),
    ],
)
def test_statistics_that_cannot_be_are_refused_with_the_likely_fix(
    tmp_path: Path, statistics: dict[str, Any], words: str
) -> None:
    path = network(tmp_path / "net.onnx", {"x": ["b", 3, H, W]})
    describe(path, [{"name": "x", "modality": "rgb", **statistics}])
    with pytest.raises(ArtifactError) as caught:
        load_artifact(path)
    assert words in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "statistics",
    [
        {"mean": CAFFE["mean"], "std": CAFFE["std"], "scale": 1},
        {"mean": [127.5], "std": [128], "scale": 1},
        {"mean": CAFFE["mean"], "scale": 1},
        {"scale": 1 / 127.5, "mean": [1]},
        {"scale": 1 / 256},
        {"scale": 1, "std": [255]},
        {"mean": [0.05], "std": [0.1]},
        {"scale": -1 / 255, "mean": [-0.5]},
    ],
)
def test_statistics_that_can_be_are_taken(tmp_path: Path, statistics: dict[str, Any]) -> None:
    path = network(tmp_path / "net.onnx", {"x": ["b", 3, H, W]})
    load_artifact(describe(path, [{"name": "x", "modality": "rgb", **statistics}]))


def test_a_graph_of_bytes_gets_bytes(tmp_path: Path) -> None:
    path = network(tmp_path / "net.onnx", {"x": ["b", 3, H, W]}, TensorProto.UINT8)
    describe(path, [{"name": "x", "modality": "rgb"}])
    with pytest.raises(
        ArtifactError, match=r'x: takes bytes of 0 to 255: its card needs "scale": 1'
    ):
        load_artifact(path)


def rewritten(path: Path, *nodes: Any, **constants: Any) -> Path:
    """A network whose output `feat` is made by further nodes from `each`, which it was before."""
    whole = onnx.load(path)
    whole.graph.node[-1].output[0] = "each"
    whole.graph.node.extend(nodes)
    whole.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    )
    onnx.save(whole, path)
    return path


def blind_to_black_and_white(path: Path) -> Path:
    """A network that gives NaN for a black image and zeros for a white one: the embedding times the
    mean pixel's log.
    """
    describe(network(path, {"x": ["b", 3, H, W]}), [{"name": "x", "modality": "rgb"}])
    return rewritten(
        path,
        helper.make_node("ReduceMean", ["joined"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Log", ["mean"], ["log"]),
        helper.make_node("Mul", ["each", "log"], ["feat"]),
    )


@pytest.mark.parametrize(
    ("operation", "constant", "words"),
    [
        ("Mul", np.float32(np.nan), "gives numbers that are not finite"),
        ("Div", np.float32(0), "gives numbers that are not finite"),
        ("Mul", np.float32(0), "gives embeddings of length 0 for probe images"),
        ("Add", np.float32(1e6), "embeds two images that have nothing in common alike (cosine"),
    ],
)
def test_a_network_that_can_tell_nothing_apart_is_refused_when_it_is_opened(
    tmp_path: Path, operation: str, constant: Any, words: str
) -> None:
    path = describe(
        network(tmp_path / "net.onnx", {"x": ["b", 3, H, W]}), [{"name": "x", "modality": "rgb"}]
    )
    rewritten(path, helper.make_node(operation, ["each", "constant"], ["feat"]), constant=constant)
    with pytest.raises(ArtifactError) as caught:
        load_artifact(path)
    assert words in caught.value.message
    assert "batch" not in caught.value.message


BLACK, WHITE = np.zeros((H, W, 3), np.uint8), np.full((H, W, 3), 255, np.uint8)


class TestWithoutDirection:
    """An embedding that is not finite or of length 0 fits neither an item nor a query."""

    @pytest.mark.parametrize(("image", "words"), [(BLACK, "not finite"), (WHITE, "has length 0")])
    def test_it_is_refused_at_every_entry(self, tmp_path: Path, image: Any, words: str) -> None:
        embedder = load_artifact(blind_to_black_and_white(tmp_path / "net.onnx"))
        good, bad = Sample(id="good", rgb=IMAGES["rgb"]), Sample(id="bad", rgb=image)
        told = f"bad: the network gives no direction for it: its embedding .*{words}"
        batching = BatchingEmbedder(embedder, 8)
        for refuse in (
            embedder.embed,
            embedder.embed_with_tokens,
            batching.embed,
            batching.embed_with_tokens,
        ):
            with pytest.raises(ImageError, match=told) as caught:
                refuse([good, bad])
        assert (caught.value.field, caught.value.code) == ("rgb", "no_direction")
        assert answer_to(caught.value).status_code == 422
        for each in (embedder, batching):
            with Gallery.open(tmp_path / f"{type(each).__name__}.gallery", each) as gallery:
                with pytest.raises(ImageError, match=told):
                    gallery.add([good, bad])
                assert len(gallery) == 0
                gallery.add([good])
                with pytest.raises(ImageError, match=told):
                    gallery.search(bad)
                with pytest.raises(ImageError, match="bad: the network gives no direction"):
                    gallery.add_embedded([bad], np.full((1, D), np.nan, np.float32))

    def test_index_evaluate_and_reembed_leave_it_out(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        rows = ["rgb,identity,camera"]
        for number, image in enumerate(
            (IMAGES["rgb"], BLACK, WHITE, make_pixels(5, (H, W)), make_pixels(6, (H, W)))
        ):
            Image.fromarray(image).save(tmp_path / f"{number}.png")
            rows.append(f"{number}.png,ann,{number}")
        (tmp_path / "m.csv").write_text("\n".join(rows))
        blind = str(blind_to_black_and_white(tmp_path / "blind.onnx"))
        seeing = describe(
            network(tmp_path / "s.onnx", {"x": ["b", 3, H, W]}), [{"name": "x", "modality": "rgb"}]
        )
        rewritten(seeing, helper.make_node("Add", ["each", "one"], ["feat"]), one=np.float32(1))
        source, folder = str(tmp_path / "m.csv"), str(tmp_path / "g.gallery")

        assert trireid.cli.main(["index", source, "--gallery", folder, "--model", blind]) == 1
        said = capsys.readouterr()
        assert "3 added" in said.out
        assert said.err.count("the network gives no direction for it") == 2
        assert "RuntimeWarning" not in said.err
        assert trireid.cli.main(["gallery", "check", folder]) == 0
        assert (
            trireid.cli.main(["search", "--gallery", folder, "--rgb", str(tmp_path / "1.png")]) == 2
        )
        assert "not finite" in capsys.readouterr().err
        trireid.cli.main(["evaluate", source, "--model", blind])
        said = capsys.readouterr()
        assert "3 queries, 3 gallery items" in said.out
        assert said.err.count("the network gives no direction for it") == 2

        everything = str(tmp_path / "all.gallery")
        assert (
            trireid.cli.main(["index", source, "--gallery", everything, "--model", str(seeing)])
            == 0
        )
        assert trireid.cli.main(["gallery", "reembed", everything, "--model", blind]) == 2
        assert "no direction" in capsys.readouterr().err
        assert (
            trireid.cli.main(["gallery", "reembed", everything, "--model", blind, "--drop-lost"])
            == 0
        )
        with Gallery.open(everything) as gallery:
            assert len(gallery) == 3


class TestFit:
    """A card says how images are brought to its size."""

    def card(self, path: Path, **more: Any) -> Path:
        return describe(path, [{"name": "x", "modality": "rgb"}], **more)

    @pytest.mark.parametrize(
        ("more", "resampling"),
        [
            ({}, Image.Resampling.BICUBIC),
            ({"resize": "bicubic"}, Image.Resampling.BICUBIC),
            ({"resize": "bilinear"}, Image.Resampling.BILINEAR),
            ({"resize": "area"}, Image.Resampling.BOX),
        ],
    )
    def test_the_filter(
        self, tmp_path: Path, more: dict[str, Any], resampling: Image.Resampling
    ) -> None:
        path = self.card(network(tmp_path / "net.onnx", {"x": ["b", 3, H, W]}), **more)
        large = make_pixels(3, (50, 40))
        small = np.asarray(Image.fromarray(large).resize((W, H), resampling))
        wanted = expect(small.transpose(2, 0, 1) / 255)
        assert np.allclose(embed(path, rgb=large), wanted, atol=1e-5)
        # indexing fits images, too
        with Gallery.open(tmp_path / "g.gallery", load_artifact(path)) as gallery:
            Image.fromarray(large).save(tmp_path / "large.png")
            (tmp_path / "m.csv").write_text("rgb\nlarge.png\n")
            index_source(open_source(str(tmp_path / "m.csv")), gallery)
            (hit,) = gallery.search(Sample(rgb=large))
        assert hit.score == pytest.approx(1, abs=1e-5)

    @pytest.mark.parametrize("size", [(8, 32), (64, 16), (10, 9), (1000, 8)])
    def test_a_letterbox_keeps_the_shape(self, size: tuple[int, int]) -> None:
        fitted = pixels(
            Image.fromarray(np.full((*size, 3), 200, np.uint8)),
            Fit((H, W), "bilinear", "letterbox"),
        )
        assert fitted.shape == (H, W, 3)
        rows, columns = (
            (fitted == 200).all(axis=2).any(axis=1).sum(),
            (fitted == 200).all(axis=2).any(axis=0).sum(),
        )
        assert rows == H or columns == W
        scale = min(H / size[0], W / size[1])
        assert (rows, columns) == (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
        # in the middle
        assert abs(int(fitted[: H // 2].sum()) - int(fitted[H // 2 :].sum())) <= 600 * W

    def test_it_is_in_the_fingerprint_where_it_is_not_the_default(self, tmp_path: Path) -> None:
        path = network(tmp_path / "net.onnx", {"x": ["b", 3, H, W]})
        fits: list[dict[str, Any]] = [
            {},
            {"resize": "bicubic", "fit": "stretch"},
            {"resize": "area"},
            {"fit": "letterbox"},
        ]
        prints = [load_artifact(self.card(path, **fit)).card.fingerprint for fit in fits]
        assert prints[0] == prints[1]
        assert len(set(prints)) == 3
        # what the fingerprint of a card was over before there was a choice
        before: dict[str, Any] = {
            "image_size": [H, W],
            "inputs": [{"name": "x", "modality": "rgb", "layout": "NCHW", "channels": "RGB"}],
            "output": "feat",
            "name": "",
            "kind": None,
            "version": 1,
        }
        before["inputs"][0] |= {"scale": 1 / 255, "mean": [0.0], "std": [1.0]}
        digest = hashlib.sha256(json.dumps(before, sort_keys=True).encode() + path.read_bytes())
        assert prints[0] == digest.hexdigest()

    @pytest.mark.parametrize(
        ("more", "words"),
        [
            (
                {"resize": "nearest"},
                "resize: expected 'bicubic', 'bilinear' or 'area', not 'nearest'",
            ),
            ({"fit": 1}, "fit: "),
        ],
    )
    def test_other_words_are_refused(
        self, tmp_path: Path, more: dict[str, Any], words: str
    ) -> None:
        path = self.card(network(tmp_path / "net.onnx", {"x": ["b", 3, H, W]}), **more)
        with pytest.raises(ArtifactError, match=words):
            load_artifact(path)
