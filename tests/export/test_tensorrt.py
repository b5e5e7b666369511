"""Building against stand-ins for TensorRT 10 and 11: what is asked of the builder, and that nothing
unproved is left behind.
"""

from __future__ import annotations

import errno
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import trireid.cli
from tests.conftest import drop_content
from tests.inference.tensorrt_fake import FakeCuda, FakeTensorRt, Flags, Severity, install
from trireid.export.tensorrt import export_tensorrt
from trireid.inference import Embedder, load_artifact
from trireid.inference.card import METADATA_KEY
from trireid.inference.tensorrt.plan import Gpu, Profile, read_plan
from trireid.samples import ArtifactError

PROFILE = Profile(1, 2, 4)


@pytest.fixture(params=["10.14.1.48", "11.4.0.106"])
def api(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> FakeTensorRt:
    """TensorRT 10 or 11 on an H200, with a cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return install(monkeypatch, FakeTensorRt(FakeCuda(), request.param))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """The path of a plan, in a folder of its own."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "p.plan"


def test_the_build_is_strongly_typed_in_full_float32(
    api: FakeTensorRt, artifact: Path, target: Path
) -> None:
    export_tensorrt(artifact, target, batch=PROFILE)
    assert api.networks[0].flags == (2 if api.__version__.startswith("10") else 0)
    assert api.builds[0].flags == {Flags.REQUIRE_USER_ALLOCATION}
    assert api.builds[0].profiles == [
        {
            "images": tuple((size, 3, 64, 32, 3) for size in (1, 2, 4)),
            "camera": ((1,), (2,), (4,)),
            "present": ((1, 3), (2, 3), (4, 3)),
        }
    ]


def test_the_plan_says_what_it_is(
    api: FakeTensorRt, artifact: Path, target: Path, embedder: Embedder
) -> None:
    plan = export_tensorrt(artifact, target, batch=PROFILE)
    assert read_plan(target)[0] == replace(plan, measured={})
    assert (plan.library, plan.version, plan.gpu) == (
        "tensorrt",
        api.__version__,
        Gpu("NVIDIA H200", "9.0"),
    )
    assert plan.card == embedder.card
    assert plan.card.fingerprint == embedder.card.fingerprint
    assert plan.verified
    assert plan.measured["tensorrt_min_cosine"] >= 0.9999
    assert plan.measured["gpu"] == "NVIDIA H200"
    assert api.cuda.held == 0


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (lambda embedding: np.roll(embedding, 1, axis=1), "embeddings have a cosine"),
        (lambda embedding: embedding + np.float32(2e-3), "embeddings have a cosine"),
        (
            lambda embedding: embedding + np.eye(1, 192, dtype=np.float32) * np.float32(2e-3),
            "embeddings have a cosine",
        ),
        (lambda embedding: embedding * np.float32(np.nan), "embeddings are not finite"),
        (
            lambda embedding: embedding if len(embedding) < 4 else -embedding,
            "embeddings have a cosine",
        ),
        (
            lambda embedding: embedding if len(embedding) > 1 else -embedding,
            "embeddings have a cosine",
        ),
    ],
    ids=["rolled", "a little off", "one number off", "NaN", "at the maximum", "at the minimum"],
)
def test_an_engine_that_differs_is_not_left_behind(
    api: FakeTensorRt, artifact: Path, target: Path, problem: Any, message: str
) -> None:
    target.write_bytes(b"the one before")
    api.break_output = problem
    with pytest.raises(ArtifactError, match=message):
        export_tensorrt(artifact, target, batch=PROFILE)
    assert target.read_bytes() == b"the one before"
    assert sorted(os.listdir(target.parent)) == [target.name, f"{target.name}.report.json"]
    assert api.cuda.held == 0


def test_an_engine_that_keeps_other_patches_is_not_left_behind(
    api: FakeTensorRt, artifact: Path, target: Path
) -> None:
    api.break_tokens = lambda tokens: np.concatenate(
        [tokens[..., :-1], 7 - tokens[..., -1:]], axis=-1
    )
    try:
        plan = export_tensorrt(artifact, target, batch=PROFILE)
    except ArtifactError:
        pytest.fail("one patch of a set may differ, as at a tie")
    assert plan.measured["tensorrt_swapped"] <= 1
    api.break_tokens = lambda tokens: (tokens + 4) % 8
    target.unlink()
    with pytest.raises(ArtifactError, match="patches of a set are other ones"):
        export_tensorrt(artifact, target, batch=PROFILE)
    assert os.listdir(target.parent) == [f"{target.name}.report.json"]


def test_an_embedding_that_a_tie_changed_is_no_difference(
    api: FakeTensorRt, artifact: Path, target: Path
) -> None:
    def tie(tokens: Any) -> Any:
        if len(tokens) > 1:
            tokens[1, 0, -1] = np.setdiff1d(np.arange(8), tokens[1, 0])[0]
        return tokens

    def change(embedding: Any) -> Any:
        if len(embedding) > 1:
            embedding[1] = np.roll(embedding[1], 1)
        return embedding

    api.break_tokens, api.break_output = tie, change
    measured = export_tensorrt(artifact, target, batch=PROFILE).measured
    assert measured["tensorrt_max_difference"] < 1e-3
    assert measured["tensorrt_swapped"] == 1


def test_the_timing_cache_is_kept_for_the_gpu_and_version(
    api: FakeTensorRt, artifact: Path, target: Path, tmp_path: Path
) -> None:
    export_tensorrt(artifact, target, batch=PROFILE)
    [kept] = (tmp_path / "cache" / "trireid").iterdir()
    assert kept.name == f"TensorRT-{api.__version__}-NVIDIA-H200.timing"
    assert kept.read_bytes() == b"timed;"
    export_tensorrt(artifact, target, batch=PROFILE)
    assert kept.read_bytes() == b"timed;timed;"
    assert api.builds[1].cache.start == b"timed;"


def test_a_bad_timing_cache_is_made_again(
    api: FakeTensorRt,
    artifact: Path,
    target: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cache = tmp_path / "mine.timing"
    cache.write_bytes(b"garbage")
    with caplog.at_level(logging.WARNING):
        export_tensorrt(artifact, target, batch=PROFILE, timing_cache=cache)
    assert "not a timing cache of this GPU and version" in caplog.text
    assert cache.read_bytes() == b"timed;"


def test_a_timing_cache_that_cannot_be_written_is_no_error(
    api: FakeTensorRt,
    artifact: Path,
    target: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "cache").write_bytes(b"a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        assert export_tensorrt(artifact, target, batch=PROFILE).verified
    assert "the timing cache cannot be written" in caplog.text


def test_rtx_has_no_timing_cache(
    monkeypatch: pytest.MonkeyPatch, artifact: Path, target: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    api = install(monkeypatch, FakeTensorRt(FakeCuda(), "1.7.1.116", rtx=True))
    plan = export_tensorrt(artifact, target, batch=PROFILE)
    assert (plan.library, plan.gpu, plan.verified) == ("tensorrt_rtx", None, True)
    assert api.builds[0].cache is None  # it would ask for a GPU, and do nothing with it
    assert not (tmp_path / "cache").exists()


def test_what_the_parser_says_is_passed_on(api: FakeTensorRt, artifact: Path, target: Path) -> None:
    api.readable = False
    with pytest.raises(
        ArtifactError, match=r"TensorRT .* cannot read it: In node 7 \(Attention\): UNSUPPORTED$"
    ):
        export_tensorrt(artifact, target)


def test_the_first_error_of_the_builder_is_passed_on_in_one_line(
    api: FakeTensorRt, artifact: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trireid.export.tensorrt._let_attention_decompose", lambda *_: None)
    with pytest.raises(
        ArtifactError,
        match=r"cannot build it: Attention operation was not supported by a dedicated kernel$",
    ):
        export_tensorrt(artifact, target)
    assert not os.listdir(target.parent)


def test_a_gpu_that_the_library_does_not_know_is_one_line(
    api: FakeTensorRt, artifact: Path, target: Path
) -> None:
    api.starts = False
    with pytest.raises(ArtifactError, match="does not start here: this GPU is too old"):
        export_tensorrt(artifact, target)


@pytest.mark.parametrize("unverified", [False, True])
def test_plain_tensorrt_needs_a_gpu_whatever_is_asked(
    api: FakeTensorRt, artifact: Path, target: Path, unverified: bool
) -> None:
    api.cuda.gpu = None
    with pytest.raises(
        ArtifactError,
        match=r"builds for the GPU it runs on: no GPU can be used here.*--library tensorrt_rtx",
    ):
        export_tensorrt(artifact, target, unverified=unverified)
    assert not api.builds


def test_unverified_is_no_way_around_a_gpu_that_is_there(
    api: FakeTensorRt, artifact: Path, target: Path
) -> None:
    api.break_output = lambda embedding: -embedding
    with pytest.raises(ArtifactError, match="not written"):
        export_tensorrt(artifact, target, unverified=True, batch=PROFILE)


def with_card(artifact: Path, path: Path, change: dict[str, str] | None) -> Path:
    """The artifact with another card, or none; without a content digest, as earlier versions
    exported it.
    """
    model = onnx.load(artifact)
    drop_content(model)
    text = model.metadata_props[0].value
    del model.metadata_props[:]
    for old, new in (change or {}).items():
        assert old in text
        text = text.replace(old, new)
    if change is not None:
        onnx.helper.set_model_props(model, {METADATA_KEY: text})
    onnx.save(model, path)
    return path


def test_artifacts_that_are_not_for_tensorrt(
    api: FakeTensorRt, artifact: Path, target: Path, tmp_path: Path
) -> None:
    int8 = with_card(
        artifact, tmp_path / "int8.onnx", {'"precision": "fp32"': '"precision": "int8"'}
    )
    bare = with_card(artifact, tmp_path / "bare.onnx", None)
    (tmp_path / "text.onnx").write_text("hello")
    (tmp_path / "best.pth").write_bytes(b"weights")
    errors = {
        int8: "has precision int8, which is for ONNX Runtime on CPUs; build from a fp32 or fp16"
        " artifact",
        bare: "an ONNX file without a card",
        tmp_path / "text.onnx": "not an ONNX file",
        tmp_path / "best.pth": "is a checkpoint; export it with `trireid export onnx` first",
        tmp_path / "none.onnx": "does not exist",
        tmp_path: "is a directory",
    }
    for source, problem in errors.items():
        with pytest.raises(ArtifactError, match=problem) as caught:
            export_tensorrt(source, target)
        assert "\n" not in caught.value.message
    with pytest.raises(ArtifactError, match=r"the folder .* does not exist"):
        export_tensorrt(artifact, tmp_path / "nowhere" / "p.plan")
    assert not api.builds


def test_fp16_has_a_wider_tolerance(
    api: FakeTensorRt, artifact: Path, target: Path, tmp_path: Path
) -> None:
    half = with_card(
        artifact, tmp_path / "half.onnx", {'"precision": "fp32"': '"precision": "fp16"'}
    )
    api.break_output = lambda embedding: embedding + np.float32(2e-3)
    assert export_tensorrt(half, target, batch=PROFILE).measured[
        "tensorrt_max_difference"
    ] == pytest.approx(2e-3, rel=0.01)
    api.break_output = lambda embedding: embedding + np.float32(2e-2)
    with pytest.raises(ArtifactError, match=r"differ by 0\.02"):
        export_tensorrt(half, target, batch=PROFILE)


def test_a_full_disk_leaves_nothing(
    api: FakeTensorRt, artifact: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        export_tensorrt(artifact, target, batch=PROFILE)
    assert caught.value.filename == str(target)
    assert not os.listdir(target.parent)


def test_the_command_line(
    api: FakeTensorRt,
    artifact: Path,
    target: Path,
    capsys: pytest.CaptureFixture[str],
    embedder: Embedder,
) -> None:
    assert (
        trireid.cli.main(
            ["export", "tensorrt", str(artifact), "-o", str(target), "--batch", "1,2,4"]
        )
        == 0
    )
    out = capsys.readouterr().out
    assert (
        f"{target}: TensorRT {api.__version__}, batch 1,2,4,"
        " for NVIDIA H200 (compute capability 9.0)" in out
    )
    assert f"fingerprint {embedder.card.fingerprint[:12]}" in out
    assert load_artifact(target).card.fingerprint == embedder.card.fingerprint


@pytest.mark.parametrize("batch", ["1,2", "a,b,c", "1,2,3,4", "-1,2,3", ""])
def test_a_batch_that_is_none_is_one_line(
    artifact: Path, target: Path, capsys: pytest.CaptureFixture[str], batch: str
) -> None:
    with pytest.raises(SystemExit) as left:
        trireid.cli.main(
            ["export", "tensorrt", str(artifact), "-o", str(target), f"--batch={batch}"]
        )
    assert left.value.code == 2
    assert "give MIN,OPT,MAX, as in 1,8,32" in capsys.readouterr().err


def test_a_full_disk_is_one_line_on_the_command_line(
    api: FakeTensorRt,
    artifact: Path,
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    assert (
        trireid.cli.main(
            ["export", "tensorrt", str(artifact), "-o", str(target), "--batch", "1,2,4"]
        )
        == 1
    )
    assert capsys.readouterr().err == f"trireid: {target}: No space left on device\n"


def test_the_log_holds_what_the_library_says(
    api: FakeTensorRt, caplog: pytest.LogCaptureFixture
) -> None:
    from trireid.inference.tensorrt.library import load_library

    library = load_library()
    with caplog.at_level(logging.DEBUG):
        library.logger.log(Severity.WARNING, "a warning")
    assert "a warning" in caplog.text
    assert library.complaint() == "it does not say why"
    for number in range(100):
        library.logger.log(Severity.ERROR, f"error {number}\n" + "x" * 1000)
    assert library.complaint().startswith("error 0 xxx")
    assert len(library.complaint()) < 400
    assert len(library._errors) <= 16
