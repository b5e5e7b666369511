"""An artifact's weights are the ones that its card was written for, and a large file is read for
that once.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

import trireid.cli
from tests.conftest import encode_image, make_sample
from trireid.gallery import Gallery
from trireid.inference import digest_cache, load_artifact
from trireid.inference.content import compute_content
from trireid.inference.embedded import DEFAULTS, default_artifact
from trireid.inference.onnx_file import ProtobufError, find_weight_files
from trireid.samples import ArtifactError

Change = Callable[[onnx.ModelProto], None]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of remembered digests, in a cache folder of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "trireid" / "digests.json"


def change(source: Path, target: Path, *changes: Change) -> Path:
    """A copy of an ONNX file with changes."""
    model = onnx.load(source)
    for change in changes:
        change(model)
    onnx.save(model, target)
    return target


def change_card(**values: object) -> Change:
    """Change the card, and nothing else; a value of None takes the key away."""

    def change(model: onnx.ModelProto) -> None:
        card = json.loads(model.metadata_props[0].value) | values
        model.metadata_props[0].value = json.dumps(
            {name: value for name, value in card.items() if value is not None}
        )

    return change


def change_weight(model: onnx.ModelProto) -> None:
    weight = max(model.graph.initializer, key=lambda each: len(each.raw_data))
    weight.raw_data = weight.raw_data[:-2] + bytes(2)


def change_graph(model: onnx.ModelProto) -> None:
    node = next(each for each in model.graph.node if each.op_type == "LayerNormalization")
    next(each for each in node.attribute if each.name == "epsilon").f *= 2


CHANGES: dict[str, Change] = {
    "weight": change_weight,
    "graph": change_graph,
    "fingerprint": change_card(fingerprint="0" * 64),
    "camera": change_card(kind="vehicle"),
    "content": change_card(content="0" * 64),
    "another field": lambda model: setattr(model, "doc_string", "mine"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_file_that_is_not_its_cards_is_refused(what: str, artifact: Path, tmp_path: Path) -> None:
    path = change(artifact, tmp_path / "changed.onnx", CHANGES[what])
    with pytest.raises(ArtifactError, match="were changed after it was exported") as caught:
        load_artifact(path)
    assert caught.value.message.startswith(f"{path}: ")
    assert "\n" not in caught.value.message
    assert caught.value.field == str(path)


def test_a_gallery_is_not_searched_by_changed_weights(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(artifact.read_bytes())
    with Gallery.open(tmp_path / "people.gallery", load_artifact(path)) as gallery:
        gallery.add([make_sample(1, id="s1")])
    change(artifact, path, change_weight)
    (tmp_path / "q.png").write_bytes(encode_image(3))
    assert (
        trireid.cli.main(
            [
                "search",
                "--gallery",
                str(tmp_path / "people.gallery"),
                "--rgb",
                str(tmp_path / "q.png"),
            ]
        )
        == 2
    )
    assert "were changed after it was exported" in capsys.readouterr().err


def test_name_and_measurements_are_free(artifact: Path, tmp_path: Path) -> None:
    path = change(
        artifact, tmp_path / "named.onnx", change_card(name="ours", measured={"mAP": 0.9})
    )
    assert load_artifact(path).card.name == "ours"


def test_an_artifact_of_before_opens_with_its_fingerprint(artifact: Path, tmp_path: Path) -> None:
    path = change(artifact, tmp_path / "before.onnx", change_card(content=None))
    assert load_artifact(path).card.fingerprint == load_artifact(artifact).card.fingerprint


@pytest.mark.parametrize("name", DEFAULTS)
def test_an_embedded_default_cannot_be_passed_off(name: str, tmp_path: Path) -> None:
    default = load_artifact(default_artifact(name))
    path = change(
        default_artifact(name), tmp_path / "d.onnx", change_weight, change_card(content=None)
    )
    with pytest.raises(ArtifactError, match="were changed"):
        load_artifact(path)
    assert default.card.fingerprint


def test_fingerprints_are_what_they_always_were(golden: Path) -> None:
    fingerprint = "e2a07ce0f08f5619a0abcbc40ccc63562f67b4adb3250c01a25f33992af0305d"
    assert load_artifact(golden).card.fingerprint == fingerprint


def test_weights_outside_are_found_wherever_a_graph_has_tensors(tmp_path: Path) -> None:
    def outside(name: str) -> onnx.TensorProto:
        tensor = onnx.helper.make_tensor(name, onnx.TensorProto.FLOAT, [1], b"\0\0\0\0", raw=True)
        tensor.external_data.add(key="location", value=f"{name}.bin")
        return tensor

    inner = onnx.helper.make_graph([], "inner", [], [], [outside("branch")])
    constant = onnx.helper.make_node("Constant", [], ["c"], value=outside("constant"))
    choice = onnx.helper.make_node("If", ["c"], ["d"], then_branch=inner)
    sparse = onnx.SparseTensorProto(values=outside("values"), indices=outside("indices"), dims=[1])
    graph = onnx.helper.make_graph(
        [constant, choice], "g", [], [], [outside("plain")], sparse_initializer=[sparse]
    )
    model = onnx.helper.make_model(graph)
    model.functions.append(
        onnx.FunctionProto(
            name="f", node=[onnx.helper.make_node("Constant", [], ["e"], value=outside("f"))]
        )
    )
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    found = {path.stem for path in find_weight_files(tmp_path / "m.onnx")}
    assert found == {"branch", "constant", "values", "indices", "plain", "f"}


@pytest.mark.parametrize(
    "junk", [b"\x3a\xff", b"\x3a\x80", b"\x3b", b"\x3a" + b"\xff" * 12, b"\x3d\x00"], ids=repr
)
def test_what_is_not_protobuf_is_said(junk: bytes) -> None:
    with pytest.raises(ProtobufError):
        compute_content(io.BytesIO(junk), "{}")


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that counts as large, and as left alone."""
    monkeypatch.setattr(digest_cache, "LARGE", 1)
    monkeypatch.setattr(digest_cache, "SETTLED", -1.0)
    (tmp_path / "large").write_bytes(b"abc")
    return tmp_path / "large"


def ask(file: Path, purpose: str = "test") -> tuple[str, bool]:
    """The digest of a file, and whether it was read for it."""
    read = []

    def compute() -> str:
        read.append(file)
        return hashlib.sha256(file.read_bytes()).hexdigest()

    return digest_cache.remember_digest(purpose, [file], compute), bool(read)


def test_a_large_file_is_read_once_until_it_changes(large: Path, cache: Path) -> None:
    first = ask(large)
    assert first == (hashlib.sha256(b"abc").hexdigest(), True)
    assert ask(large) == (first[0], False)
    assert ask(large, "another purpose")[1]
    times = large.stat()
    large.write_bytes(b"abd")
    os.utime(large, ns=(times.st_atime_ns, times.st_mtime_ns))  # size and mtime as they were
    assert ask(large) == (hashlib.sha256(b"abd").hexdigest(), True)
    assert cache.stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_just_written_is_not_remembered(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest_cache, "SETTLED", 3600.0)
    assert [ask(large)[1] for _ in range(2)] == [True, True]


@pytest.mark.parametrize(
    "how", ["others can write it", "a link", "junk", "an entry that is not a digest"]
)
def test_a_cache_that_is_not_this_users_own_is_not_believed(
    how: str, large: Path, cache: Path
) -> None:
    ask(large)
    forged = dict.fromkeys(json.loads(cache.read_text()), "0" * 64)
    cache.write_text("[" * 9000 if how == "junk" else json.dumps(forged))
    if how == "others can write it":
        cache.chmod(0o666)
    elif how == "a link":
        cache.rename(cache.with_name("elsewhere"))
        cache.symlink_to("elsewhere")
    elif how == "an entry that is not a digest":
        cache.write_text(json.dumps(dict.fromkeys(forged, "x")))
    assert ask(large) == (hashlib.sha256(b"abc").hexdigest(), True)


def test_a_cache_that_cannot_be_written_costs_time_only(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(large))  # a file
    assert [ask(large)[1] for _ in range(2)] == [True, True]


def test_the_cache_is_bounded(large: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest_cache, "_ENTRIES", 3)
    for purpose in "abcdef":
        ask(large, purpose)
    assert len(json.loads(cache.read_text())) == 3
    assert not ask(large, "f")[1]


def test_an_artifact_is_checked_from_the_cache(
    artifact: Path, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(artifact.read_bytes())
    load_artifact(path)
    monkeypatch.setattr(
        "trireid.inference.content.compute_content", lambda *_: pytest.fail("it was read again")
    )
    load_artifact(path)
