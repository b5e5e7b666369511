"""The calls of the CUDA runtime that an engine needs, by way of `cuda-bindings`: no torch, a few MB
instead of its GBs.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from trireid.inference.tensorrt.plan import Gpu
from trireid.samples.errors import ArtifactError, DeviceError

#: The code of an error that is the GPU's or the driver's, and not the caller's.
DEVICE: Final = "device"

log = logging.getLogger(__name__)


class Device:
    """The process's GPU with a stream of its own, and what was allocated on it.

    Raises ArtifactError if there is none.
    """

    def __init__(self) -> None:
        self._cuda = _runtime()
        self._held = ExitStack()
        self._check_present()
        self._index = self._call("cudaGetDevice")
        about = self._call("cudaGetDeviceProperties", self._index)
        self.gpu = Gpu(_text(about.name), f"{about.major}.{about.minor}")
        self._stream = self._call("cudaStreamCreateWithFlags", self._cuda.cudaStreamNonBlocking)
        self._held.callback(self._call, "cudaStreamDestroy", self._stream)

    @property
    def stream(self) -> int:
        """The stream, as TensorRT takes it."""
        return int(self._stream)

    def enter(self) -> None:
        """Make it the calling thread's GPU: CUDA keeps that per thread."""
        self._call("cudaSetDevice", self._index)

    def allocate(self, size: int) -> int:
        """The address of `size` bytes on the GPU, held until `release`."""
        address = int(self._call("cudaMalloc", max(1, size)))
        self._held.callback(self._call, "cudaFree", address)
        return address

    def allocate_pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array in page-locked memory of the host, from and to which copies are asynchronous,
        held until `release`.
        """
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        address = int(self._call("cudaHostAlloc", max(1, size), 0))
        self._held.callback(self._call, "cudaFreeHost", address)
        held = (ctypes.c_byte * size).from_address(address)
        return np.ndarray(shape, dtype, buffer=memoryview(held))

    def copy_in(self, address: int, rows: NDArray[Any]) -> None:
        """Enqueue a copy of contiguous pinned rows to the GPU."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", address, rows.ctypes.data, rows.nbytes, kind, self._stream)

    def copy_out(self, rows: NDArray[Any], address: int) -> None:
        """Enqueue a copy from the GPU to contiguous pinned rows."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", rows.ctypes.data, address, rows.nbytes, kind, self._stream)

    def synchronize(self) -> None:
        """Wait for all that was enqueued."""
        self._call("cudaStreamSynchronize", self._stream)

    def capture(self, work: Callable[[], None]) -> Graph | None:
        """Capture the work that `work` enqueues, as a graph that one call launches; None, with a
        warning, if CUDA cannot capture it.

        Captured for this thread alone, so that other threads may allocate at the same time.
        """
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", self._stream, mode)
        try:
            work()
            captured = self._call("cudaStreamEndCapture", self._stream)
            executable = self._call("cudaGraphInstantiate", captured, 0)
        except ArtifactError as error:
            self._abandon()
            log.warning("no CUDA graph, each pass is enqueued by itself: %s", error.message)
            return None
        self._call("cudaGraphDestroy", captured)
        return Graph(
            lambda: self._call("cudaGraphLaunch", executable, self._stream),
            lambda: self._call("cudaGraphExecDestroy", executable),
        )

    def release(self) -> None:
        """Free all that was allocated, and the stream."""
        self._held.close()

    def _check_present(self) -> None:
        try:
            count = self._call("cudaGetDeviceCount")
        except ArtifactError as error:
            raise DeviceError(f"no GPU can be used here ({error.message})", DEVICE) from error
        if not count:
            raise DeviceError("no GPU can be used here (none is visible)", DEVICE)

    def _abandon(self) -> None:
        """End a capture that failed, whatever state it is in: the stream is usable again."""
        error, captured = self._cuda.cudaStreamEndCapture(self._stream)
        if error == self._cuda.cudaError_t.cudaSuccess and captured is not None:
            self._cuda.cudaGraphDestroy(captured)
        self._cuda.cudaGetLastError()

    def _call(self, name: str, *arguments: Any) -> Any:
        error, *values = getattr(self._cuda, name)(*arguments)
        if error != self._cuda.cudaError_t.cudaSuccess:
            _, text = self._cuda.cudaGetErrorString(error)
            raise DeviceError(f"CUDA: {name} failed: {_text(text)}", DEVICE)
        return values[0] if values else None


class Graph:
    """A captured pass: `launch` enqueues it, `destroy` gives it back."""

    def __init__(self, launch: Callable[[], Any], destroy: Callable[[], Any]) -> None:
        self.launch, self.destroy = launch, destroy


def probe_gpu() -> Gpu:
    """This process's GPU. Raises ArtifactError if there is none, or no cuda-bindings to ask."""
    device = Device()
    device.release()
    return device.gpu


def _runtime() -> Any:
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except ImportError as error:
        raise ArtifactError(
            f"cuda-bindings cannot be loaded ({error}); it comes with trireid's extras gpu and rtx",
            DEVICE,
        ) from error


def _text(given: bytes | str) -> str:
    return given.decode().rstrip("\0") if isinstance(given, bytes) else given
