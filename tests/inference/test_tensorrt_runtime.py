"""The runner against stand-ins for CUDA and TensorRT that compute with ONNX Runtime: its logic, not
the real driver.
"""

from __future__ import annotations

import gc
import inspect
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import make_sample
from tests.inference.tensorrt_fake import (
    Error,
    FakeConfig,
    FakeContext,
    FakeCuda,
    FakeEngine,
    FakeNetwork,
    FakeParser,
    FakeRuntime,
    FakeTensorRt,
    install,
)
from trireid.export import export_onnx
from trireid.export.tensorrt import export_tensorrt
from trireid.export.verification import draw_probe_inputs
from trireid.inference import Embedder, load_artifact
from trireid.inference.tensorrt import engine as tensorrt_engine
from trireid.inference.tensorrt.plan import Gpu, Plan, Profile, read_plan, write_plan
from trireid.inference.tensorrt.runtime import TensorRtEmbedder
from trireid.models import NetworkConfig, ReIdNetwork
from trireid.samples import ArtifactError

PROFILE = Profile(2, 3, 5)


def stand_in(rtx: bool) -> FakeTensorRt:
    return FakeTensorRt(FakeCuda(), "1.7.1.116" if rtx else "11.4.0.106", rtx=rtx)


@pytest.fixture(scope="module", params=["TensorRT", "TensorRT-RTX"])
def ready(
    request: pytest.FixtureRequest, artifact: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[bool, Path]:
    """Whether it is TensorRT-RTX, and a verified plan of it for batches of 2 to 5."""
    rtx, folder = request.param == "TensorRT-RTX", tmp_path_factory.mktemp("plan")
    with pytest.MonkeyPatch.context() as patch:
        install(patch, stand_in(rtx))
        export_tensorrt(
            artifact, folder / "p.plan", batch=PROFILE, timing_cache=folder / "t.timing"
        )
    return rtx, folder / "p.plan"


@pytest.fixture
def api(ready: tuple[bool, Path], monkeypatch: pytest.MonkeyPatch) -> FakeTensorRt:
    """The library in whose place something stands."""
    return install(monkeypatch, stand_in(ready[0]))


@pytest.fixture
def path(api: FakeTensorRt, ready: tuple[bool, Path], tmp_path: Path) -> Path:
    """That plan, in a folder of the test's own."""
    return Path(shutil.copy(ready[1], tmp_path))


@pytest.fixture
def built(path: Path) -> Iterator[Embedder]:
    yield load_artifact(path)
    gc.collect()


def test_it_gives_what_the_onnx_gives_at_every_size(built: Embedder, embedder: Embedder) -> None:
    for size in (1, 2, 3, 5, 6, 7, 11, 17, 3, 1):
        given = draw_probe_inputs(embedder.card, size)
        (got, tokens), (expected, kept) = built.run(*given), embedder.run(*given)
        assert got.shape == (size, 192)
        assert tokens.shape == (size, 3, 4)
        assert np.abs(got - expected).max() < 1e-5
        assert np.array_equal(tokens, kept)


def test_it_is_an_embedder_like_the_others(
    built: Embedder, embedder: Embedder, api: FakeTensorRt, path: Path
) -> None:
    # -2, 4 and over are none of the network's
    samples = [make_sample(i, camera=i % 7 - 2) for i in range(9)]
    assert np.abs(built.embed(samples) - embedder.embed(samples)).max() < 1e-5
    assert built.card == embedder.card
    assert built.source == str(path)
    assert (
        built.runtime
        == f"{'TensorRT-RTX 1.7.1.116' if api.rtx else 'TensorRT 11.4.0.106'} on NVIDIA H200"
    )


def test_a_small_batch_is_padded_to_the_minimum_and_a_large_one_split(
    built: Embedder, api: FakeTensorRt, embedder: Embedder
) -> None:
    for size in (1, 13):
        built.run(*draw_probe_inputs(embedder.card, size))
    # 1 as 2; 13 as 5, 5 and 3
    assert [context.shapes["images"][0] for context in api.contexts] == [2, 5, 3]


def test_buffers_are_made_once_and_graphs_once_per_size(
    built: Embedder, api: FakeTensorRt, embedder: Embedder
) -> None:
    allocations = api.cuda.calls["cudaMalloc"], api.cuda.calls["cudaHostAlloc"]
    assert allocations == (6, 5)  # five tensors, and the activations that all contexts share
    assert api.cuda.calls["cudaStreamCreateWithFlags"] == 1
    for _ in range(4):
        for size in (2, 4, 5):
            built.run(*draw_probe_inputs(embedder.card, size))
    calls = api.cuda.calls
    assert (calls["cudaMalloc"], calls["cudaHostAlloc"]) == allocations
    assert calls["cudaGraphInstantiate"] == len(api.contexts) == 3
    assert calls["cudaGraphLaunch"] == 9  # the first of each size is not a launch
    assert {context.memory for context in api.contexts} == {api.contexts[0].memory}


def test_only_the_rows_of_the_batch_are_copied(
    built: Embedder, api: FakeTensorRt, embedder: Embedder
) -> None:
    moved: list[int] = []
    copy = api.cuda.cudaMemcpyAsync

    def count_copy(to: int, source: int, count: int, kind: Any, stream: int) -> Any:
        moved.append(count)
        return copy(to, source, count, kind, stream)

    api.cuda.cudaMemcpyAsync = count_copy  # type: ignore[method-assign]
    built.run(*draw_probe_inputs(embedder.card, 2))
    assert moved[:5] == [2 * 3 * 64 * 32 * 3, 2 * 8, 2 * 3, 2 * 192 * 4, 2 * 3 * 4 * 8]


def test_graphs_held_are_bounded(
    built: Embedder, api: FakeTensorRt, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt_engine, "GRAPHS", 2)
    for size in (2, 3, 2, 4, 2, 3):  # 4 replaces 3, then 3 replaces 4
        built.run(*draw_probe_inputs(embedder.card, size))
        assert len(api.cuda.executables) <= 2
    assert len(api.contexts) == 4


def test_a_result_is_not_written_over_by_the_next(built: Embedder, embedder: Embedder) -> None:
    embedding, tokens = built.run(*draw_probe_inputs(embedder.card, 3))
    copies = embedding.copy(), tokens.copy()
    built.run(*draw_probe_inputs(embedder.card, 5))
    assert np.array_equal(embedding, copies[0])
    assert np.array_equal(tokens, copies[1])


def test_threads_take_turns(built: Embedder, api: FakeTensorRt, embedder: Embedder) -> None:
    given = [draw_probe_inputs(embedder.card, size) for size in (2, 3, 4, 5, 7, 9)] * 3
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda each: built.run(*each)[0], given))
    for each, got in zip(given, results, strict=True):
        assert np.abs(got - embedder.run(*each)[0]).max() < 1e-5
    assert api.cuda.calls["cudaSetDevice"] >= 18


def test_images_that_are_not_bytes_are_refused(built: Embedder, embedder: Embedder) -> None:
    images, camera, present = draw_probe_inputs(embedder.card, 2)
    with pytest.raises(TypeError):
        built.run(images.astype(np.float32), camera, present)


def test_everything_is_given_back(path: Path, api: FakeTensorRt, embedder: Embedder) -> None:
    built = load_artifact(path)
    built.run(*draw_probe_inputs(embedder.card, 7))
    assert api.cuda.held > 12
    del built
    gc.collect()
    assert api.cuda.held == 0


@pytest.mark.parametrize(
    "name", ["cudaMalloc", "cudaHostAlloc", "cudaStreamCreateWithFlags", "cudaGetDeviceProperties"]
)
def test_a_gpu_that_fails_at_the_start_is_one_line(
    path: Path, api: FakeTensorRt, name: str
) -> None:
    api.cuda.failing[name] = Error.cudaErrorMemoryAllocation
    with pytest.raises(
        ArtifactError, match=f"^CUDA: {name} failed: cudaErrorMemoryAllocation$"
    ) as caught:
        load_artifact(path)
    assert caught.value.code == "device"
    api.cuda.failing.clear()
    gc.collect()
    assert api.cuda.held == 0


@pytest.mark.parametrize("name", ["cudaGraphLaunch", "cudaStreamSynchronize", "cudaSetDevice"])
def test_a_gpu_that_fails_on_the_way_is_one_line_and_may_recover(
    built: Embedder, api: FakeTensorRt, embedder: Embedder, name: str
) -> None:
    given = draw_probe_inputs(embedder.card, 3)
    built.run(*given)
    api.cuda.failing[name] = Error.cudaErrorInvalidValue
    with pytest.raises(ArtifactError, match=f"^CUDA: {name} failed") as caught:
        built.run(*given)
    assert caught.value.code == "device"
    api.cuda.failing.clear()
    api.cuda.queue.clear()
    assert np.abs(built.run(*given)[0] - embedder.run(*given)[0]).max() < 1e-5


def test_a_pass_that_cannot_be_enqueued_is_one_line(
    built: Embedder, api: FakeTensorRt, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeContext, "execute_async_v3", lambda self, stream: False)
    with pytest.raises(ArtifactError, match=r"execute_async_v3 failed") as caught:
        built.run(*draw_probe_inputs(embedder.card, 3))
    assert caught.value.code == "device"


@pytest.mark.parametrize(
    "how", ["TensorRT refuses", "CUDA refuses at the end", "CUDA refuses the graph"]
)
def test_without_a_graph_it_runs_all_the_same(
    built: Embedder,
    api: FakeTensorRt,
    embedder: Embedder,
    how: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    api.capturable = how != "TensorRT refuses"
    if api.capturable:
        name = (
            "cudaStreamEndCapture" if how == "CUDA refuses at the end" else "cudaGraphInstantiate"
        )
        api.cuda.failing[name] = Error.cudaErrorStreamCaptureInvalidated
    with caplog.at_level(logging.WARNING):
        for size in (3, 3, 5, 3):
            given = draw_probe_inputs(embedder.card, size)
            if how == "CUDA refuses at the end":
                api.cuda.captured = None
            assert np.abs(built.run(*given)[0] - embedder.run(*given)[0]).max() < 1e-5
    # once for each size
    assert [record.message.split(",")[0] for record in caplog.records] == ["no CUDA graph"] * 2
    assert not api.cuda.executables
    assert not api.cuda.graphs or how == "CUDA refuses the graph"


def rewritten(path: Path, change: Callable[[Plan], Plan]) -> Path:
    """A copy of a plan with another header."""
    plan, engine = read_plan(path)
    write_plan(path.with_name("other.plan"), change(plan), engine)
    return path.with_name("other.plan")


def test_a_plan_of_another_version_is_refused_before_its_engine_is_touched(
    path: Path, api: FakeTensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeRuntime, "deserialize_cuda_engine", lambda *_: pytest.fail("touched"))
    other = rewritten(path, lambda plan: replace(plan, version="10.14.1.48"))
    with pytest.raises(
        ArtifactError,
        match=r"was built by TensorRT.* 10\.14\.1\.48, here is TensorRT.*: plans fit one version",
    ):
        load_artifact(other)
    assert api.cuda.held == 0


def test_a_plan_of_another_library_says_what_to_install(path: Path, api: FakeTensorRt) -> None:
    name, extra = ("tensorrt", "gpu") if api.rtx else ("tensorrt_rtx", "rtx")
    with pytest.raises(
        ArtifactError, match=rf"but here TensorRT.* \(trireid's extra {extra}\) is not installed"
    ):
        load_artifact(rewritten(path, lambda plan: replace(plan, library=name)))
    with pytest.raises(ArtifactError, match="library: 'cudnn' is not one of"):
        load_artifact(rewritten(path, lambda plan: replace(plan, library="cudnn")))


def test_a_plan_for_another_gpu_is_refused_before_its_engine_is_touched(
    path: Path, api: FakeTensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeRuntime, "deserialize_cuda_engine", lambda *_: pytest.fail("touched"))
    api.cuda.gpu = ("NVIDIA T4", 7, 5)
    api.validity = api.EngineValidity.INVALID
    here = r"NVIDIA T4 \(compute capability 7\.5\)"
    why = rf"was built for NVIDIA H200 \(compute capability 9\.0\), here is {here}"
    if api.rtx:
        why = f"does not run on this {here}: compute capability not supported"
    with pytest.raises(ArtifactError, match=why):
        load_artifact(path)
    assert api.cuda.held == 0


def test_an_engine_that_the_library_refuses_is_one_line(
    path: Path, api: FakeTensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.inference.tensorrt_fake.MARK", b"another mark")
    with pytest.raises(ArtifactError, match=r"cannot load its engine: magic tag does not match$"):
        load_artifact(path)
    assert api.cuda.held == 0


def test_an_engine_of_another_network_is_refused(path: Path, api: FakeTensorRt) -> None:
    other = rewritten(path, lambda plan: replace(plan, card=replace(plan.card, dimension=191)))
    with pytest.raises(ArtifactError, match="its card asks for"):
        load_artifact(other)
    assert api.cuda.held == 0


def test_without_a_gpu_it_says_so(
    path: Path, api: FakeTensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.cuda.gpu = None
    with pytest.raises(
        ArtifactError, match=r"no GPU can be used here \(CUDA: cudaGetDeviceCount failed"
    ):
        load_artifact(path)
    monkeypatch.setattr(api.cuda, "cudaGetDeviceCount", lambda: (Error.cudaSuccess, 0))
    with pytest.raises(ArtifactError, match="none is visible"):
        load_artifact(path)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    with pytest.raises(ArtifactError, match="comes with trireid's extras gpu and rtx"):
        load_artifact(path)


def test_a_library_that_does_not_start_is_one_line(path: Path, api: FakeTensorRt) -> None:
    api.starts = False
    with pytest.raises(ArtifactError, match="does not start here: this GPU is too old"):
        load_artifact(path)
    assert api.cuda.held == 0


def test_an_unverified_plan_is_loaded_with_a_warning(
    path: Path, api: FakeTensorRt, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        load_artifact(path)
        assert not caplog.records
        load_artifact(rewritten(path, lambda plan: replace(plan, verified=False)))
    assert "was never compared with its ONNX" in caplog.text


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ONNX artifact of a network without cameras, for batches of 2 alone."""
    network = ReIdNetwork(
        NetworkConfig(image_size=(64, 32), width=64, depth=1, channels=32, aggregation_ratio=0.5)
    )
    path = tmp_path_factory.mktemp("fixed") / "two.onnx"
    export_onnx(network, path, batch=2)
    return path


def test_a_fixed_batch_runs_any_number(api: FakeTensorRt, fixed: Path, tmp_path: Path) -> None:
    plan = export_tensorrt(fixed, tmp_path / "two.plan", timing_cache=tmp_path / "t.timing")
    assert plan.profile == Profile(2, 2, 2)
    assert plan.card.cameras == 0
    given = draw_probe_inputs(plan.card, 5)
    got, _ = load_artifact(tmp_path / "two.plan").run(*given)
    assert np.abs(got - load_artifact(fixed).run(*given)[0]).max() < 1e-5
    with pytest.raises(
        ArtifactError, match="has a fixed batch of 2, so --batch can only be 2,2,2, not 1,8,32"
    ):
        export_tensorrt(fixed, tmp_path / "no.plan", batch=Profile(1, 8, 32))


def test_the_runner_is_the_class_that_says_so(built: Embedder) -> None:
    assert isinstance(built, TensorRtEmbedder)
    assert built.plan.verified
    assert built.plan.gpu in (None, Gpu("NVIDIA H200", "9.0"))


def test_the_cuda_stood_in_for_has_these_functions() -> None:
    real = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    for name, ours in inspect.getmembers(FakeCuda, inspect.isfunction):
        if name.startswith("cuda"):
            written = getattr(real, name).__doc__.strip().split("\n")[0]
            asked = [
                part
                for part in written[written.index("(") + 1 : written.rindex(")")].split(",")
                if part
            ]
            assert len(asked) == len(inspect.signature(ours).parameters) - 1, written
    for holder in ("cudaError_t", "cudaMemcpyKind"):
        assert {each.name: each.value for each in getattr(FakeCuda, holder)}.items() <= {
            each.name: each.value for each in getattr(real, holder)
        }.items()
    assert real.cudaStreamNonBlocking == FakeCuda.cudaStreamNonBlocking
    assert real.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal == 1
    assert (
        real.cudaGetDeviceCount()[0] != real.cudaError_t.cudaSuccess
        or real.cudaGetDeviceCount()[1] >= 0
    )


def test_the_library_stood_in_for_has_these_methods() -> None:
    real = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx-cu13 is not installed")
    pairs = {
        FakeNetwork: real.INetworkDefinition,
        FakeParser: real.OnnxParser,
        FakeConfig: real.IBuilderConfig,
        FakeRuntime: real.Runtime,
        FakeEngine: real.ICudaEngine,
        FakeContext: real.IExecutionContext,
    }
    for ours, theirs in pairs.items():
        names = {
            name
            for name, _ in inspect.getmembers(
                ours, lambda x: inspect.isfunction(x) or isinstance(x, property)
            )
        }
        assert {name for name in names if not name.startswith("_")} - {"read"} <= set(
            dir(theirs)
        ), ours
    for name in (
        "set_execution_context_allocation_strategy",
        "dynamic_shapes_kernel_specialization_strategy",
    ):
        assert hasattr(real.IRuntimeConfig, name)
    members = {
        "BuilderFlag": ("TF32", "REQUIRE_USER_ALLOCATION"),
        "DataType": ("FLOAT", "INT64", "UINT8", "BOOL"),
        "ExecutionContextAllocationStrategy": ("USER_MANAGED",),
        "DynamicShapesKernelSpecializationStrategy": ("EAGER",),
        "EngineValidity": ("INVALID",),
        "LayerType": ("ATTENTION_INPUT",),
    }
    for holder, wanted in members.items():
        assert set(wanted) <= set(dir(getattr(real, holder)))
    assert hasattr(real.IExecutionContext, "is_stream_capturable")
    assert hasattr(real.ICudaEngine, "device_memory_size_v2")
