"""One face for every runtime: the same samples give the same embeddings, and what is not there is
said.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import onnxruntime
import pytest

import trireid.cli
from tests.conftest import GOLDENS, make_sample
from trireid.inference import Embedder, artifact, load_artifact, onnx_runtime
from trireid.inference.artifact import PROVIDER, THREADS
from trireid.inference.embedder import LoadOptions
from trireid.samples import ArtifactError, CheckpointError, ConfigError

CHECKPOINT, CONFIG = GOLDENS / "tiny_sdtps.pth", GOLDENS / "tiny_sdtps.yml"


def test_checkpoint_and_artifact_embed_alike_and_have_one_fingerprint(golden: Path) -> None:
    checkpoint, exported = load_artifact(CHECKPOINT, config=CONFIG), load_artifact(golden)
    samples = [make_sample(i, camera=i - 1) for i in range(20)]
    assert np.abs(checkpoint.embed(samples) - exported.embed(samples)).max() < 1e-5
    assert checkpoint.card.fingerprint == exported.card.fingerprint
    assert checkpoint.runtime.startswith("PyTorch")
    assert exported.runtime == f"ONNX Runtime {onnxruntime.__version__} on CPU"


def test_threads_come_from_the_caller_or_the_environment(
    golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    made = onnxruntime.InferenceSession

    def spy(name: str, options: onnxruntime.SessionOptions, **more: object) -> object:
        asked.append(options.intra_op_num_threads)
        return made(name, options, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    load_artifact(golden)
    load_artifact(golden, threads=1)
    monkeypatch.setenv(THREADS, "2")
    load_artifact(golden)
    load_artifact(golden, threads=1)
    assert asked == [0, 1, 2, 1]


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        (PROVIDER, "tpu", "provider: 'tpu' is not one of cuda, cpu"),
        (THREADS, "many", "threads: 'many' is not a whole number"),
        (THREADS, "0", "threads: '0' is not a whole number"),
    ],
)
def test_a_setting_that_is_none_is_refused(
    golden: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, problem: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ArtifactError, match=problem):
        load_artifact(golden)


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="CUDA is there"
)
def test_cuda_that_is_not_there_is_one_line(
    golden: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["verify", str(golden), "--against", str(golden), "--provider", "cuda"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PROVIDER, "")  # restored afterwards: the command sets it
        assert trireid.cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert "provider cuda is not available; this ONNX Runtime has cpu" in error
    assert error.count("\n") == 1


def test_a_gpu_that_cannot_be_used_is_said_and_the_cpu_taken(
    golden: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """ONNX Runtime's CUDA build names its provider also where there is no GPU, and falls back to
    the CPU.
    """
    made = onnxruntime.InferenceSession
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)

    def fallen_back(name: str, options: onnxruntime.SessionOptions, providers: list[str]) -> object:
        return made(name, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", fallen_back)
    with caplog.at_level(logging.WARNING):
        assert load_artifact(golden).runtime.endswith("on CPU")
    assert "runs on the CPU" in caplog.text
    with pytest.raises(ArtifactError, match="CUDA finds no GPU"):
        load_artifact(golden, provider="cuda")


def test_a_checkpoint_without_or_with_another_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="add its training configuration"):
        load_artifact(CHECKPOINT)
    with pytest.raises(ConfigError, match="the YAML says True, the checkpoint False"):
        load_artifact(GOLDENS / "tiny_baseline.pth", config=CONFIG)
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        load_artifact(tmp_path / "text.pth", config=CONFIG)


def test_the_graph_of_an_artifact_is_checked(golden: Path, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(golden)
    del model.graph.output[1:]
    onnx.save(model, tmp_path / "cut.onnx")
    with pytest.raises(ArtifactError, match="not that of an artifact"):
        load_artifact(tmp_path / "cut.onnx")


def test_every_runtime_is_an_embedder(golden: Path) -> None:
    assert isinstance(load_artifact(golden), Embedder)
    assert isinstance(load_artifact(CHECKPOINT, config=CONFIG), Embedder)


def test_a_new_runtime_is_a_module_and_a_row(golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []

    def load(file: Path, options: LoadOptions) -> Embedder:
        told.append((file, options.provider))
        return onnx_runtime.load(file, replace(options, provider="cpu"))

    module = ModuleType("a_new_runtime")
    module.__dict__["load"] = load
    monkeypatch.setitem(sys.modules, "a_new_runtime", module)
    last = artifact.RUNTIMES[-1]
    row = artifact.Runtime(last.opens, ("new",), "a_new_runtime")
    monkeypatch.setattr(artifact, "RUNTIMES", (*artifact.RUNTIMES, row))
    monkeypatch.setattr(artifact, "PROVIDERS", (*artifact.PROVIDERS, "new"))
    load_artifact(golden)
    assert not told
    load_artifact(golden, provider="new")
    assert told == [(golden, "new")]
