"""Stand-ins for CUDA and TensorRT that need no GPU: memory is the host's, engines are run by ONNX
Runtime.

They are as strict as what they stand for: work is done only when the stream is waited for,
addresses must have been allocated, what is captured is not run, and a context from which a graph
was captured must not be changed.
"""

# The names are those of what it stands for:
# ruff: noqa: N802, N815

from __future__ import annotations

import ctypes
import enum
import json
import sys
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from trireid.inference.tensorrt import library as tensorrt_library

Work = Callable[[], None]
H200 = ("NVIDIA H200", 9, 0)
MARK = b"FAKE ENGINE\n"


class Error(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorStreamCaptureInvalidated = 901


class Kind(enum.IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class FakeCuda:
    """A stand-in for `cuda.bindings.runtime`: functions that return (error, value)."""

    cudaError_t = Error
    cudaMemcpyKind = Kind
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
    cudaStreamNonBlocking = 1

    def __init__(self, gpu: tuple[str, int, int] | None = H200) -> None:
        self.gpu = gpu
        self.calls: Counter[str] = Counter()
        self.failing: dict[str, Error] = {}
        self.on_device: dict[int, Any] = {}
        self.on_host: dict[int, Any] = {}
        self.streams: set[int] = set()
        self.graphs: dict[int, list[Work]] = {}
        self.executables: dict[int, list[Work]] = {}
        self.queue: list[Work] = []
        self.captured: list[Work] | None = None
        self.capture_is_broken = False
        self._handles = iter(range(1000, 10**6))

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        if not (name.startswith("cuda") and callable(found) and not isinstance(found, type)):
            return found
        self.calls[name] += 1
        error = self.failing.get(name)
        return found if error is None else lambda *_: (error, None)

    @property
    def held(self) -> int:
        """How much is held: memory, streams, graphs."""
        return sum(
            map(len, (self.on_device, self.on_host, self.streams, self.graphs, self.executables))
        )

    def cudaGetDeviceCount(self) -> tuple[Error, int | None]:
        return (Error.cudaSuccess, 1) if self.gpu else (Error.cudaErrorInsufficientDriver, None)

    def cudaGetDevice(self) -> tuple[Error, int]:
        return Error.cudaSuccess, 0

    def cudaSetDevice(self, device: int) -> tuple[Error]:
        assert device == 0
        return (Error.cudaSuccess,)

    def cudaGetDeviceProperties(self, device: int) -> tuple[Error, Any]:
        assert self.gpu
        name, major, minor = self.gpu
        return Error.cudaSuccess, SimpleNamespace(
            name=name.encode() + b"\0", major=major, minor=minor
        )

    def cudaGetErrorString(self, error: Error) -> tuple[Error, bytes]:
        return Error.cudaSuccess, error.name.encode()

    def cudaGetLastError(self) -> tuple[Error]:
        return (Error.cudaSuccess,)

    def cudaMalloc(self, size: int) -> tuple[Error, int | None]:
        return self._allocate(self.on_device, size)

    def cudaHostAlloc(self, size: int, flags: int) -> tuple[Error, int | None]:
        return self._allocate(self.on_host, size)

    def cudaFree(self, address: int) -> tuple[Error]:
        return self._free(self.on_device, address)

    def cudaFreeHost(self, address: int) -> tuple[Error]:
        return self._free(self.on_host, address)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Error, int]:
        self.streams.add(handle := next(self._handles))
        return Error.cudaSuccess, handle

    def cudaStreamDestroy(self, stream: int) -> tuple[Error]:
        self.streams.remove(stream)
        return (Error.cudaSuccess,)

    def cudaMemcpyAsync(
        self, to: int, source: int, count: int, kind: Kind, stream: int
    ) -> tuple[Error]:
        sides = (
            (self.on_device, self.on_host)
            if kind is Kind.cudaMemcpyHostToDevice
            else (self.on_host, self.on_device)
        )
        for side, address in zip(sides, (to, source), strict=True):
            self.check(side, address, count)

        def copy() -> None:
            ctypes.memmove(to, source, count)

        self.enqueue(copy, stream)
        return (Error.cudaSuccess,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[Error]:
        assert stream in self.streams
        if self.captured is not None:
            self.capture_is_broken = True
            return (Error.cudaErrorStreamCaptureInvalidated,)
        while self.queue:
            self.queue.pop(0)()
        return (Error.cudaSuccess,)

    def cudaStreamBeginCapture(self, stream: int, mode: int) -> tuple[Error]:
        assert stream in self.streams
        assert mode == 1
        assert self.captured is None
        self.captured, self.capture_is_broken = [], False
        return (Error.cudaSuccess,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[Error, int | None]:
        captured, self.captured = self.captured, None
        if captured is None or self.capture_is_broken:
            return Error.cudaErrorStreamCaptureInvalidated, None
        self.graphs[handle := next(self._handles)] = captured
        return Error.cudaSuccess, handle

    def cudaGraphInstantiate(self, graph: int, flags: int) -> tuple[Error, int]:
        self.executables[handle := next(self._handles)] = self.graphs[graph]
        return Error.cudaSuccess, handle

    def cudaGraphDestroy(self, graph: int) -> tuple[Error]:
        del self.graphs[graph]
        return (Error.cudaSuccess,)

    def cudaGraphExecDestroy(self, executable: int) -> tuple[Error]:
        del self.executables[executable]
        return (Error.cudaSuccess,)

    def cudaGraphLaunch(self, executable: int, stream: int) -> tuple[Error]:
        assert self.captured is None
        self.queue += self.executables[executable]
        return (Error.cudaSuccess,)

    def enqueue(self, work: Work, stream: int) -> None:
        """Put work on the stream, or into the graph that is being captured."""
        assert stream in self.streams
        (self.queue if self.captured is None else self.captured).append(work)

    def check(self, side: dict[int, Any], address: int, count: int) -> None:
        """That these bytes lie in one allocation of that side."""
        assert any(
            start <= address and address + count <= start + len(held)
            for start, held in side.items()
        ), "stray address"

    def _allocate(self, side: dict[int, Any], size: int) -> tuple[Error, int | None]:
        if self.captured is not None:
            self.capture_is_broken = True
            return Error.cudaErrorStreamCaptureInvalidated, None
        held = (ctypes.c_byte * size)(*b"\x55" * min(size, 64))
        side[ctypes.addressof(held)] = held
        return Error.cudaSuccess, ctypes.addressof(held)

    def _free(self, side: dict[int, Any], address: int) -> tuple[Error]:
        del side[address]
        return (Error.cudaSuccess,)


class Flags(enum.IntEnum):
    TF32 = 0
    REQUIRE_USER_ALLOCATION = 1
    FP16 = 2


DataType = enum.Enum("DataType", ["FLOAT", "HALF", "INT64", "UINT8", "BOOL"])
TYPES = {
    "tensor(float)": DataType.FLOAT,
    "tensor(int64)": DataType.INT64,
    "tensor(uint8)": DataType.UINT8,
    "tensor(bool)": DataType.BOOL,
}
Severity = enum.Enum("Severity", ["INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"])


class FakeLogger:
    """`ILogger`, which a library's own logger derives from."""

    Severity = Severity

    def log(self, severity: Any, message: str) -> None:
        raise NotImplementedError


class FakeTensorRt:
    """A stand-in for `tensorrt` (10 or 11) or `tensorrt_rtx`, over a fake CUDA.

    `break_output`: what is done to an embedding.
    """

    ILogger = FakeLogger
    DataType = DataType
    EngineValidity = enum.Enum("EngineValidity", ["VALID", "SUBOPTIMAL", "INVALID"])
    ExecutionContextAllocationStrategy = enum.Enum(
        "ExecutionContextAllocationStrategy", ["STATIC", "USER_MANAGED"]
    )
    DynamicShapesKernelSpecializationStrategy = enum.Enum(
        "DynamicShapesKernelSpecializationStrategy", ["LAZY", "EAGER", "NONE"]
    )
    LayerType = enum.Enum("LayerType", ["ATTENTION_INPUT", "ATTENTION_OUTPUT", "SOFTMAX"])
    BuilderFlag = Flags

    def __init__(self, cuda: FakeCuda, version: str = "11.4.0.106", *, rtx: bool = False) -> None:
        self.cuda, self.rtx, self.__version__ = cuda, rtx, version
        strongly = {} if version.startswith("11") else {"STRONGLY_TYPED": 1}
        self.NetworkDefinitionCreationFlag = SimpleNamespace(**strongly)
        self.validity = self.EngineValidity.VALID
        self.capturable = True
        self.starts = self.readable = True
        self.break_output: Callable[[Any], Any] = lambda embedding: embedding
        self.break_tokens: Callable[[Any], Any] = lambda tokens: tokens
        self.contexts: list[FakeContext] = []
        self.builds: list[FakeConfig] = []
        self.networks: list[FakeNetwork] = []

        class IAttentionInputLayer(FakeLayer):
            @property
            def attention(self) -> Any:
                return self.hidden

        self.IAttentionInputLayer = IAttentionInputLayer

    def Builder(self, logger: Any) -> Any:
        return FakeBuilder(self, self._start(logger))

    def Runtime(self, logger: Any) -> Any:
        return FakeRuntime(self, self._start(logger))

    def OnnxParser(self, network: Any, logger: Any) -> Any:
        return FakeParser(network)

    def _start(self, logger: Any) -> Any:
        if not self.starts:
            logger.log(Severity.ERROR, "this GPU is too old")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        return logger


class FakeLayer:
    """A layer as `get_layer` gives it: the base class, which has no attention."""

    def __init__(self, kind: Any) -> None:
        self.type, self.hidden = kind, SimpleNamespace(decomposable=False)


class FakeNetwork:
    """A parsed network: its ONNX, its inputs, and a layer for each attention."""

    def __init__(self, api: FakeTensorRt, flags: int) -> None:
        self.api, self.flags, self.onnx = api, flags, b""
        self.inputs: list[Any] = []
        self.layers: list[FakeLayer] = []

    def read(self, content: bytes) -> None:
        model = onnx.load_from_string(content)
        self.onnx = content
        for each in model.graph.input:
            dims = each.type.tensor_type.shape.dim
            self.inputs.append(
                SimpleNamespace(
                    name=each.name, shape=tuple(-1 if d.dim_param else d.dim_value for d in dims)
                )
            )
        kinds = self.api.LayerType
        self.layers = [
            FakeLayer(kinds.ATTENTION_INPUT if n.op_type == "Attention" else kinds.SOFTMAX)
            for n in model.graph.node
        ]

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def get_input(self, index: int) -> Any:
        return self.inputs[index]

    def get_layer(self, index: int) -> Any:
        return self.layers[index]


class FakeParser:
    def __init__(self, network: FakeNetwork) -> None:
        self.network, self.num_errors = network, 0

    def parse(self, content: bytes) -> bool:
        if not self.network.api.readable:
            self.num_errors = 1
            return False
        self.network.read(content)
        return True

    def get_error(self, index: int) -> Any:
        return SimpleNamespace(desc=lambda: "In node 7\n(Attention): UNSUPPORTED")


class FakeConfig:
    """A builder's configuration."""

    def __init__(self) -> None:
        self.flags = {Flags.TF32}
        self.profiles: list[dict[str, Any]] = []
        self.cache: Any = None

    def set_flag(self, flag: Flags) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: Flags) -> None:
        self.flags.discard(flag)

    def add_optimization_profile(self, profile: Any) -> int:
        self.profiles.append(profile.shapes)
        return len(self.profiles) - 1

    def create_timing_cache(self, content: bytes) -> Any:
        return SimpleNamespace(start=content, serialize=lambda: content + b"timed;")

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        if cache.start.replace(b"timed;", b"") and not ignore_mismatch:
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return self.cache


class FakeProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}

    def set_shape(self, name: str, *sizes: tuple[int, ...]) -> None:
        self.shapes[name] = sizes


class FakeBuilder:
    def __init__(self, api: FakeTensorRt, logger: Any) -> None:
        self.api, self.logger = api, logger

    def create_network(self, flags: int) -> FakeNetwork:
        self.api.networks.append(made := FakeNetwork(self.api, flags))
        return made

    def create_builder_config(self) -> FakeConfig:
        self.api.builds.append(made := FakeConfig())
        return made

    def create_optimization_profile(self) -> FakeProfile:
        return FakeProfile()

    def build_serialized_network(self, network: FakeNetwork, config: FakeConfig) -> bytes | None:
        attention = [
            layer for layer in network.layers if layer.type is self.api.LayerType.ATTENTION_INPUT
        ]
        if not all(layer.hidden.decomposable for layer in attention):
            self.logger.log(
                Severity.ERROR, "Attention operation was not supported\nby a dedicated kernel"
            )
            self.logger.log(Severity.ERROR, "a later error")
            return None
        profile = [size[0] for size in config.profiles[0]["images"]]
        return MARK + json.dumps({"profile": profile}).encode() + b"\n" + network.onnx


class FakeRuntime:
    def __init__(self, api: FakeTensorRt, logger: Any) -> None:
        self.api, self.logger = api, logger

    def get_engine_validity(self, content: bytes) -> tuple[Any, int]:
        if self.api.validity is self.api.EngineValidity.INVALID:
            self.logger.log(Severity.ERROR, "compute capability not supported")
        return self.api.validity, 0

    def deserialize_cuda_engine(self, content: bytes) -> Any:
        if not content.startswith(MARK):
            self.logger.log(Severity.ERROR, "magic tag does not match")
            return None
        head, body = content[len(MARK) :].split(b"\n", 1)
        return FakeEngine(self.api, json.loads(head)["profile"], body)


class FakeEngine:
    """An engine: an ONNX graph with a profile."""

    device_memory_size_v2 = 4096

    def __init__(self, api: FakeTensorRt, profile: list[int], content: bytes) -> None:
        self.api, self.profile = api, profile
        options = onnxruntime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 3, 1
        self.session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
        self.tensors = {
            each.name: each for each in (*self.session.get_inputs(), *self.session.get_outputs())
        }
        self.inputs = [each.name for each in self.session.get_inputs()]

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return str(list(self.tensors)[index])

    def get_tensor_dtype(self, name: str) -> Any:
        return TYPES[self.tensors[name].type]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(-1 if isinstance(size, str) else size for size in self.tensors[name].shape)

    def create_runtime_config(self) -> Any:
        assert self.api.rtx
        config = SimpleNamespace(strategy=None, dynamic_shapes_kernel_specialization_strategy=None)
        config.set_execution_context_allocation_strategy = lambda strategy: setattr(
            config, "strategy", strategy
        )
        return config

    def create_execution_context(self, how: Any) -> Any:
        if self.api.rtx:
            eager = self.api.DynamicShapesKernelSpecializationStrategy.EAGER
            assert how.dynamic_shapes_kernel_specialization_strategy is eager, (
                "a graph would keep the stand-in kernels"
            )
            how = how.strategy
        assert how is self.api.ExecutionContextAllocationStrategy.USER_MANAGED
        self.api.contexts.append(made := FakeContext(self))
        return made


class FakeContext:
    """A context. It must be run once before it is captured, and not changed after it."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine, self.api, self.cuda = engine, engine.api, engine.api.cuda
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.memory: tuple[int, int] | None = None
        self.profile: int | None = None
        self.has_run = self.is_captured = False
        if self.api.rtx:
            self.is_stream_capturable = lambda stream: self.api.capturable

    def set_device_memory(self, address: int, size: int) -> None:
        self.cuda.check(self.cuda.on_device, address, size)
        self.memory = (address, size)

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        assert stream in self.cuda.streams
        self.profile = index
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert not self.is_captured, "changed after a graph was captured from it"
        assert self.profile == 0
        low, _, high = self.engine.profile
        self.shapes[name] = shape
        return low <= shape[0] <= high

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert not self.is_captured, "changed after a graph was captured from it"
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        assert not self.api.rtx or self.api.capturable or self.cuda.captured is None, (
            "captured against what it was told"
        )
        ready = (
            self.memory
            and self.shapes.keys() == set(self.engine.inputs)
            and self.addresses.keys() == self.engine.tensors.keys()
        )
        if not ready or (
            self.cuda.captured is not None and not (self.has_run and self.api.capturable)
        ):
            return False
        self.has_run, self.is_captured = True, self.cuda.captured is not None
        self.cuda.enqueue(self._compute, stream)
        return True

    def _compute(self) -> None:
        kinds = {"images": np.uint8, "camera": np.int64, "present": np.bool_}
        feeds = {
            name: self._array(name, self.shapes[name], kinds[name]) for name in self.engine.inputs
        }
        embedding, tokens = self.engine.session.run(["embedding", "tokens"], feeds)
        for name, value in (
            ("embedding", self.api.break_output(embedding)),
            ("tokens", self.api.break_tokens(tokens)),
        ):
            self._array(name, value.shape, value.dtype)[...] = value

    def _array(self, name: str, shape: tuple[int, ...], dtype: Any) -> Any:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self.cuda.check(self.cuda.on_device, self.addresses[name], size)
        held = (ctypes.c_byte * size).from_address(self.addresses[name])
        return np.ndarray(shape, dtype, buffer=memoryview(held))


def install(patch: pytest.MonkeyPatch, api: FakeTensorRt) -> FakeTensorRt:
    """Let the stand-ins be what is imported, in place of whatever is installed."""
    patch.setitem(sys.modules, "cuda.bindings.runtime", api.cuda)
    patch.setitem(sys.modules, "tensorrt", None if api.rtx else api)
    patch.setitem(sys.modules, "tensorrt_rtx", api if api.rtx else None)
    # a fresh one each time
    patch.setattr(tensorrt_library, "_import", tensorrt_library._import.__wrapped__)
    return api
