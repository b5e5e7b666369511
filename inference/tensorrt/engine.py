"""An engine on the GPU: buffers made once, a stream of its own, and one captured CUDA graph per
batch size.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trireid.inference.card import INPUTS, OUTPUTS, Card, interface
from trireid.inference.tensorrt.cuda import DEVICE, Device, Graph
from trireid.inference.tensorrt.library import Library
from trireid.inference.tensorrt.plan import Profile
from trireid.samples.errors import ArtifactError, DeviceError

#: Batch sizes whose graphs are held at a time; the one longest unused is dropped.
GRAPHS: Final = 32

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Buffer:
    """One input or output: pinned rows of the host, [maximum, ...], and the address of as many on
    the GPU.
    """

    host: NDArray[Any]
    address: int


class Engine:
    """A deserialised engine, ready to run. Raises ArtifactError if its interface is not that of
    the card.

    Each batch size has an execution context of its own, as TensorRT asks for captured graphs; they
    share one piece of memory for activations, which is safe because one stream runs one after
    another. Not for several threads at once.
    """

    def __init__(
        self, library: Library, device: Device, engine: Any, card: Card, profile: Profile
    ) -> None:
        self._library, self._device, self._engine = library, device, engine
        _check_interface(library, engine, card, profile)
        self._buffers = {
            name: _buffer(device, (profile.maximum, *shape), dtype)
            for name, (shape, dtype) in interface(card).items()
        }
        self._activations = device.allocate(engine.device_memory_size_v2)
        self._passes: OrderedDict[int, _Pass] = OrderedDict()

    def rows(self, name: str) -> NDArray[Any]:
        """The rows of an input or output in the host's memory, [maximum, ...]: written before
        `run`, read after it.
        """
        return self._buffers[name].host

    def run(self, size: int) -> None:
        """Run the first `size` rows of the inputs; the outputs stand in theirs when it returns.

        Raises ArtifactError with the code `device` where GPU or driver fail.
        """
        self._device.enter()
        self._library.forget()
        if size not in self._passes:
            self._limit_passes()
            self._passes[size] = self._new_pass(size)
        self._passes.move_to_end(size)
        self._passes[size].run()

    def close(self) -> None:
        """Give back graphs, contexts, engine and memory."""
        self._device.enter()
        while self._passes:
            self._drop()
        self._engine = None
        self._device.release()

    def _limit_passes(self) -> None:
        if len(self._passes) >= GRAPHS:
            self._drop()

    def _drop(self) -> None:
        _, oldest = self._passes.popitem(last=False)
        oldest.close()

    def _new_pass(self, size: int) -> _Pass:
        context = self._new_context()
        self._done(context is not None, "create_execution_context")
        if self._engine.device_memory_size_v2:
            context.set_device_memory(self._activations, self._engine.device_memory_size_v2)
        self._done(
            context.set_optimization_profile_async(0, self._device.stream),
            "set_optimization_profile_async",
        )
        for name, buffer in self._buffers.items():
            if name in INPUTS:
                self._done(
                    context.set_input_shape(name, (size, *buffer.host.shape[1:])),
                    f"set_input_shape of {name}",
                )
            self._done(
                context.set_tensor_address(name, buffer.address), f"set_tensor_address of {name}"
            )
        return _Pass(self._library, self._device, context, self._buffers, size)

    def _new_context(self) -> Any:
        """A context without memory of its own.

        TensorRT-RTX compiles kernels for a new shape at once (EAGER): by default it does so in the
        background, and a graph captured at that time would keep the slower stand-ins for good.
        """
        api = self._library.api
        managed = api.ExecutionContextAllocationStrategy.USER_MANAGED
        if not self._library.is_rtx:
            return self._engine.create_execution_context(managed)
        config = self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(managed)
        config.dynamic_shapes_kernel_specialization_strategy = (
            api.DynamicShapesKernelSpecializationStrategy.EAGER
        )
        return self._engine.create_execution_context(config)

    def _done(self, held: bool, what: str) -> None:
        _check(self._library, held, what)


class _Pass:
    """Batches of one size: the first is enqueued and waited for, then captured; later ones launch
    the graph.
    """

    def __init__(
        self,
        library: Library,
        device: Device,
        context: Any,
        buffers: Mapping[str, Buffer],
        size: int,
    ) -> None:
        self._library, self._device, self._context = library, device, context
        self._inputs = [(buffers[name].address, buffers[name].host[:size]) for name in INPUTS]
        self._outputs = [(buffers[name].host[:size], buffers[name].address) for name in OUTPUTS]
        self._started = False
        self._graph: Graph | None = None

    def run(self) -> None:
        if self._graph is None:
            self._enqueue()
        else:
            self._graph.launch()
        self._device.synchronize()
        # what a first pass sets up must not be in the graph, so it is captured only now
        if not self._started:
            self._graph = self._capture()
            self._started = True

    def close(self) -> None:
        if self._graph is not None:
            self._graph.destroy()
        self._graph = self._context = None

    def _capture(self) -> Graph | None:
        # TensorRT-RTX can say beforehand
        able = getattr(self._context, "is_stream_capturable", None)
        if able is not None and not able(self._device.stream):
            log.warning(
                "no CUDA graph, each pass is enqueued by itself: the engine allocates while it runs"
            )
            return None
        return self._device.capture(self._enqueue)

    def _enqueue(self) -> None:
        for address, rows in self._inputs:
            self._device.copy_in(address, rows)
        _check(
            self._library, self._context.execute_async_v3(self._device.stream), "execute_async_v3"
        )
        for rows, address in self._outputs:
            self._device.copy_out(rows, address)


def _check(library: Library, held: bool, what: str) -> None:
    if not held:
        raise DeviceError(f"{library.title}: {what} failed: {library.complaint()}", DEVICE)


def _buffer(device: Device, shape: tuple[int, ...], dtype: type[np.generic]) -> Buffer:
    host = device.allocate_pinned(shape, dtype)
    return Buffer(host, device.allocate(host.nbytes))


def _check_interface(library: Library, engine: Any, card: Card, profile: Profile) -> None:
    types = library.api.DataType
    kinds = {
        np.uint8: types.UINT8,
        np.int64: types.INT64,
        np.bool_: types.BOOL,
        np.float32: types.FLOAT,
    }
    fixed = profile.maximum if profile.minimum == profile.maximum else None
    wanted = {name: (kinds[dtype], shape) for name, (shape, dtype) in interface(card).items()}
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    found = {
        name: (engine.get_tensor_dtype(name), tuple(engine.get_tensor_shape(name)))
        for name in names
    }
    good = found.keys() == wanted.keys() and all(
        found[name][0] == kind and found[name][1] in {(-1, *shape), (fixed, *shape)}
        for name, (kind, shape) in wanted.items()
    )
    if not good:
        raise ArtifactError(f"its engine has {found}, its card asks for {wanted}; build it again")
