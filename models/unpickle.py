"""The pickle inside a checkpoint, read without running or importing anything that it names.

A pickle names classes and functions to build its objects with. Here each name is looked up in one
closed table: tensors are built by this module, NumPy's arrays become `Array`, nodes of settings
become `Record`, and other harmless values are held as tuples of what they were made from. Any other
name raises ForbiddenGlobalError before an object is made of it.
"""

from __future__ import annotations

import math
import pickle
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, ClassVar, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: NumPy's codes of the numbers that PyTorch has, too.
_NUMERIC: Final = {
    "b1",
    *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)),
    *("f2", "f4", "f8", "c8", "c16"),
}
_COPIED: Final = (str, bytes, bytearray, list, tuple, dict)
_PYTHON_3: Final = 3  # the first protocol whose names need no translation from Python 2


class ForbiddenGlobalError(Exception):
    """The pickle names a class or function that is not in the table.

    `name`: as in `module.Class`.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Storages(Protocol):
    """Finds the flat tensor of a storage."""

    def __call__(self, dtype: torch.dtype, key: str, count: int) -> Tensor:
        """Return `count` numbers, [count].

        Raises ValueError where the file does not hold as many.
        """
        ...


class Record(dict[Any, Any]):
    """A node of settings (yacs, Namespace, ...) as a mapping of its attributes."""

    def __init__(self, *_: Any) -> None:
        super().__init__()


class Array:
    """A NumPy array. `values`: None where its elements are not numbers."""

    def __init__(self, *_: Any) -> None:
        self.values: NDArray[Any] | None = None

    def fill(self, state: Any) -> None:
        """Take the array's state, as NumPy pickles it: version, shape, dtype, order, content."""
        _, shape, dtype, is_fortran, content = state
        if isinstance(dtype, _DType) and dtype.is_numeric:
            # a copy, which may be written to
            flat = np.frombuffer(bytearray(_bytes(content)), dtype.numpy)
            native = flat.astype(dtype.numpy.newbyteorder("="), copy=False)
            self.values = native.reshape(shape, order="F" if is_fortran else "C")


class _DType:
    """NumPy's dtype, by its code, as in `f4`."""

    def __init__(self, code: Any = "O", *_: Any) -> None:
        self._code, self._order = str(code).lstrip("<>|="), "="

    @property
    def is_numeric(self) -> bool:
        return self._code in _NUMERIC

    @property
    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self._code).newbyteorder(self._order)  # type: ignore[arg-type]

    def fill(self, state: Any) -> None:
        self._order = state[1] if state[1] in ("<", ">", "|") else "="


class _Reference:
    """A class that is named, and of which no object may be made."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Storage:
    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


def _hold(*args: Any) -> tuple[Any, ...]:
    return args


def _bytes(content: Any) -> bytes:
    return content.encode("latin1") if isinstance(content, str) else bytes(memoryview(content))


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1", "ascii", "utf-8"):
        raise ValueError(encoding)
    return text.encode(encoding)


def _scalar(dtype: Any, content: Any = b"") -> Any:
    if not isinstance(dtype, _DType) or not dtype.is_numeric:
        return None
    return np.frombuffer(_bytes(content), dtype.numpy, 1)[0].item()


def _array(content: Any, dtype: Any, shape: Any, order: str = "C") -> Array:
    made = Array()
    made.fill((None, shape, dtype, order == "F", content))
    return made


def _dict(*args: Any) -> dict[Any, Any]:
    return dict(*args)


def _defaultdict(_factory: Any = None, *args: Any) -> dict[Any, Any]:
    return dict(*args)


def _list(items: Sequence[Any] = (), *_: Any) -> list[Any]:
    return list(items) if isinstance(items, list | tuple) else []


def _reconstruct_record(kind: Any, *_: Any) -> Record:
    if kind is not Record:
        raise ForbiddenGlobalError("copyreg._reconstructor")
    return Record()


def _rebuild_tensor(flat: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    sides = (*size, *stride, offset)
    if not isinstance(flat, Tensor) or not all(type(side) is int and side >= 0 for side in sides):
        raise ValueError("a tensor whose storage, size or stride is missing")
    if math.prod(size) > flat.numel():
        raise ValueError("a tensor that is larger than its storage")
    return torch.as_strided(flat, tuple(size), tuple(stride), offset)


def _rebuild_tensor_v3(flat: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor:
    dtype = rest[2]
    if not isinstance(dtype, torch.dtype) or not isinstance(flat, Tensor):
        raise ValueError("a tensor without a type")
    whole = flat.numel() // dtype.itemsize * dtype.itemsize
    return _rebuild_tensor(flat[:whole].view(dtype), offset, size, stride)


def _rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


def _rebuild_from_type(build: Any, _kind: Any, args: Any, *_: Any) -> Any:
    if build not in (_rebuild_tensor, _rebuild_tensor_v3, _rebuild_parameter):
        raise ForbiddenGlobalError("torch._tensor._rebuild_from_type_v2")
    return build(*args)


#: The functions that a pickle may call.
_CALLABLE: Final[dict[str, Callable[..., Any]]] = {
    "collections.OrderedDict": _dict,
    "collections.Counter": _dict,
    "collections.defaultdict": _defaultdict,
    "collections.deque": _list,
    "_codecs.encode": _encode,
    "copyreg._reconstructor": _reconstruct_record,
    "numpy.dtype": _DType,
    "numpy.ndarray": Array,
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor_v3,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": _rebuild_parameter,
    "torch._utils._rebuild_device_tensor_from_numpy": _rebuild_parameter,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _rebuild_parameter,
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray._reconstruct": Array for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _array for core in ("core", "_core")},
}
#: Values that say nothing about weights: held as what they were made from.
_HELD: Final = {
    *(
        f"builtins.{name}"
        for name in ("bytearray", "bytes", "complex", "frozenset", "range", "set", "slice")
    ),
    *(f"datetime.{name}" for name in ("date", "datetime", "time", "timedelta", "timezone")),
    *(
        f"torch.{name}"
        for name in ("Size", "device", "serialization._get_layout", "torch_version.TorchVersion")
    ),
    *(
        f"{module}{name}"
        for module in ("pathlib.", "pathlib._local.")
        for name in ("PosixPath", "WindowsPath")
    ),
    *(
        f"{module}Pure{name}"
        for module in ("pathlib.", "pathlib._local.")
        for name in ("PosixPath", "WindowsPath")
    ),
    "decimal.Decimal",
    "fractions.Fraction",
}
#: Classes that are named only: the factory of a defaultdict, the type of a parameter.
_NAMED: Final = {
    *(
        f"builtins.{name}"
        for name in ("bool", "dict", "float", "int", "list", "object", "str", "tuple")
    ),
    "torch.Tensor",
    "torch.nn.parameter.Parameter",
    "torch.nn.parameter.Buffer",
}
#: Names of classes of settings, in whatever module: their objects become a `Record`.
_SETTINGS: Final = {
    *(
        "AttrDict",
        "AttributeDict",
        "CfgNode",
        "Config",
        "ConfigDict",
        "Dict",
        "DotDict",
        "EasyDict",
        "Munch",
    ),
    *("Namespace", "SimpleNamespace", "UUID"),
}
_SETTINGS_MODULES: Final = ("omegaconf.",)
_NAMED_MODULES: Final = ("numpy.", "typing.")
_STORAGES: Final = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
}
_MAY_BE_CALLED: Final = {id(each) for each in (*_CALLABLE.values(), Record, _hold)}


class WeightsUnpickler(pickle._Unpickler):
    """Reads one pickle. Raises ForbiddenGlobalError, and for a damaged one whatever pickle raises.

    `limit`: how many bytes and elements it may copy. The C unpickler cannot be used: it sets
    attributes on whatever a pickle names.
    """

    proto: int
    stack: list[Any]
    append: Callable[[Any], None]

    def __init__(self, file: IO[bytes], storages: Storages, limit: int) -> None:
        super().__init__(file, encoding="latin1")
        self._storages, self._left = storages, limit

    def find_class(self, module: str, name: str) -> Any:
        """Look a name up in the table."""
        if self.proto < _PYTHON_3:
            module, name = NAME_MAPPING.get(
                (module, name), (IMPORT_MAPPING.get(module, module), name)
            )
        return _find(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Tensor:
        """Return the storage that a persistent id names."""
        kind, storage, key, _location, count = pid[:5]
        if kind not in ("storage", b"storage") or not isinstance(storage, _Storage):
            raise pickle.UnpicklingError("a persistent id that is not a storage")
        if type(count) is not int or count < 0:
            raise pickle.UnpicklingError("a storage whose length is not a number")
        flat = self._storages(storage.dtype, str(key), count)
        view = pid[5] if len(pid) > 5 else None
        return flat if view is None else flat[int(view[1]) : int(view[1]) + int(view[2])]

    def _call(self, made_by: Any, args: Any) -> Any:
        if id(made_by) not in _MAY_BE_CALLED or not isinstance(args, tuple):
            raise ForbiddenGlobalError(
                getattr(made_by, "name", f"a call of {type(made_by).__name__}")
            )
        self._charge(args)
        return made_by(*args)

    def _charge(self, parts: Any) -> None:
        """Count what is copied: a pickle of a few bytes may name one long value many times."""
        self._left -= sum(len(part) for part in parts if isinstance(part, _COPIED))
        if self._left < 0:
            raise pickle.UnpicklingError("it copies far more than it holds")

    def _reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], args)

    def _new_with_keywords(self) -> None:
        if self.stack.pop():
            raise ForbiddenGlobalError("an object made with keywords")
        self._reduce()

    def _instantiate(self, made_by: Any, args: Any) -> None:
        self.append(self._call(made_by, tuple(args)))

    def _build(self) -> None:
        state, made = self.stack.pop(), self.stack[-1]
        self._charge(state if isinstance(state, tuple) else (state,))
        if isinstance(made, Array | _DType):
            made.fill(state)
        elif isinstance(made, Record):
            for part in state if isinstance(state, tuple) else (state,):
                made.update(_attributes(part))
        elif not isinstance(
            made, dict | Tensor | tuple | list
        ):  # attributes of these say nothing of weights
            raise pickle.UnpicklingError("state for an object that has none")

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **pickle._Unpickler.dispatch,
        pickle.REDUCE[0]: _reduce,
        pickle.NEWOBJ[0]: _reduce,
        pickle.NEWOBJ_EX[0]: _new_with_keywords,
        pickle.BUILD[0]: _build,
    }


def _attributes(state: Any) -> Mapping[Any, Any]:
    if not isinstance(state, Mapping):
        return {}
    return {key: value for key, value in state.items() if not str(key).startswith("__")}


def _find(name: str) -> Any:
    last = name.rpartition(".")[2]
    if name in _CALLABLE:
        return _CALLABLE[name]
    if name in _HELD:
        return _hold
    if last in _STORAGES and name.startswith("torch."):
        return _Storage(_STORAGES[last])
    if name == f"torch.{last}" and isinstance(getattr(torch, last, None), torch.dtype):
        return getattr(torch, last)
    if name in _NAMED or (
        name.startswith(_NAMED_MODULES) and last[:1].isalpha() and name.count(".") == 1
    ):
        return _Reference(name)
    if last in _SETTINGS or name.startswith(_SETTINGS_MODULES):
        return Record
    raise ForbiddenGlobalError(name)
