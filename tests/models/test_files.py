"""Files of weights as trainers and downloads leave them: what is read, and how the others are
named.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import io
import json
import os
import pathlib
import pickle
import struct
import sys
import tarfile
import types
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.conftest import GOLDENS
from trireid.models import load_checkpoint
from trireid.models.files import read_weights
from trireid.samples import CheckpointError

CONFIG = GOLDENS / "tiny_sdtps.yml"
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    return read_weights(GOLDENS / "tiny_sdtps.pth")


def save(folder: Path, content: Any, **options: Any) -> Path:
    torch.save(content, folder / "best.pth", **options)
    return folder / "best.pth"


def check_loads(path: Path, state: State, weights: str | None = None) -> None:
    loaded = read_weights(path, weights)
    assert loaded.keys() >= state.keys()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())
    load_checkpoint(path, CONFIG, weights=weights)


def refusal(path: Path, weights: str | None = None) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path, CONFIG, weights=weights)
    assert "\n" not in caught.value.message
    assert path.name in caught.value.message
    return caught.value.message


def add_prefix(state: State, prefix: str) -> State:
    return {prefix + key: value for key, value in state.items()}


def swap_bytes(array: Any) -> Any:
    """Swap the bytes of an array."""
    return array.astype(array.dtype.newbyteorder(">"))


class CfgNode(dict[str, Any]):
    """As yacs has it: a mapping with attributes of its own."""


CfgNode.__module__ = "yacs.config"

WRAPPERS: dict[str, Callable[[State], Any]] = {
    "numpy scalars": lambda s: {
        "state_dict": s,
        "epoch": np.int64(60),
        "best": np.float32(0.9),
        "flag": np.bool_(True),
    },
    "numpy arrays": lambda s: {key: value.numpy() for key, value in s.items()},
    "numpy in Fortran's order": lambda s: {
        key: np.asfortranarray(value.numpy()) for key, value in s.items()
    },
    "numpy of another machine": lambda s: {
        key: swap_bytes(value.numpy()) for key, value in s.items()
    },
    "numpy that PyTorch lacks": lambda s: {
        **s,
        "when": np.zeros(2, "M8[s]"),
        "long": np.zeros(2, np.longdouble),
    },
    "an array of objects": lambda s: {
        "model": s,
        "log": np.array([{"a": 1}, None], dtype=object),
        "t": np.float32,
    },
    "ordered": lambda s: collections.OrderedDict(s),
    "containers": lambda s: {
        "model": s,
        "history": collections.defaultdict(list, loss=[1.0]),
        "counts": collections.Counter("aab"),
        "last": collections.deque([1, 2], maxlen=2),
        "seen": {1, 2},
        "frozen": frozenset([1]),
    },
    "values": lambda s: {
        "model": s,
        "when": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        "where": pathlib.Path("runs/a"),
        "rest": (
            slice(1, 2),
            1j,
            b"bytes",
            bytearray(b"x"),
            torch.Size([1, 2]),
            torch.device("cpu"),
            torch.float16,
            None,
        ),
    },
    "settings": lambda s: {
        "model": s,
        "args": argparse.Namespace(lr=1),
        "cfg": CfgNode(MODEL=CfgNode(NAME="x")),
    },
    "optimizer": lambda s: {
        "net": s,
        "optimizer": {
            "state": {0: {"step": torch.tensor(1.0), "a.exp_avg": torch.zeros(2)}},
            "param_groups": [],
        },
        "center": {"centers": torch.zeros(3)},
    },
    "parameters": lambda s: {key: nn.Parameter(value) for key, value in s.items()},
    "nested": lambda s: {"checkpoint": {"weights": {"anything": s}}, "epoch": torch.tensor(3)},
    "one ema": lambda s: {"state_dict_ema": s},
    "counters": lambda s: {
        **s,
        "total_ops": torch.zeros(1),
        "BACKBONE.base.position_ids": torch.arange(9),
    },
    "averaged": lambda s: {"n_averaged": torch.tensor(5), **add_prefix(s, "module.")},
    "compiled": lambda s: add_prefix(s, "_orig_mod."),
    "module.module": lambda s: add_prefix(s, "module.module."),
    "a stack": lambda s: {"state_dict": add_prefix(s, "model.module._orig_mod.net.")},
    "within a name": lambda s: {
        key.replace("BACKBONE.", "BACKBONE.module."): value for key, value in s.items()
    },
    "own names": lambda s: {
        key.replace("BACKBONE.", "backbone."): value for key, value in s.items()
    },
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_what_trainers_wrap_weights_in(
    tmp_path: Path, state: State, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("yacs.config")
    module.CfgNode = CfgNode  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "yacs", types.ModuleType("yacs"))
    monkeypatch.setitem(sys.modules, "yacs.config", module)
    path = save(tmp_path, WRAPPERS[name](state))
    monkeypatch.undo()  # nothing is imported to read it
    loaded = load_checkpoint(path, CONFIG)
    reference = load_checkpoint(GOLDENS / "tiny_sdtps.pth", CONFIG)
    assert all(
        torch.equal(value, reference.state_dict()[key])
        for key, value in loaded.state_dict().items()
    )


def test_every_form_of_file_whatever_its_extension(tmp_path: Path, state: State) -> None:
    check_loads(save(tmp_path, {"model": state}, _use_new_zipfile_serialization=False), state)
    check_loads(save(tmp_path, {"model": state}, pickle_protocol=4), state)
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "weights.bin")
    check_loads(tmp_path / "weights.bin", state)
    (tmp_path / "plain.pkl").write_bytes(
        pickle.dumps({key: value.numpy() for key, value in state.items()})
    )
    check_loads(tmp_path / "plain.pkl", state)
    save(tmp_path, state).rename(tmp_path / "model.safetensors")
    check_loads(tmp_path / "model.safetensors", state)


def test_several_sets_of_weights_are_a_question(tmp_path: Path, state: State) -> None:
    other = {key: value * 0 + 1 for key, value in state.items()}
    path = save(
        tmp_path, {"model": other, "ema": {"module": add_prefix(state, "module.")}, "epoch": 3}
    )
    assert (
        "holds several sets of weights: model, ema.module; say which one is meant: --weights NAME"
        in refusal(path)
    )
    check_loads(path, state, "ema")
    check_loads(path, other, "model")
    assert "has no weights 'teacher'; it holds model, ema.module" in refusal(path, "teacher")
    path = save(tmp_path, {**add_prefix(state, "teacher."), **add_prefix(other, "student.")})
    assert "several sets of weights: teacher, student" in refusal(path)
    check_loads(path, state, "teacher")


class Payload:
    """Runs a function when it is unpickled, if anything is."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


class Trainer:
    """A class that only the training code has."""


def test_nothing_that_could_run_code_is_taken_and_its_name_is_told(
    tmp_path: Path, state: State
) -> None:
    ran = tmp_path / "ran"
    for protocol in (2, 4):
        for payload, name in (
            (Payload(os.mkdir, ran), "posix.mkdir"),
            (Payload(eval, f"open({str(ran)!r}, 'w')"), "builtins.eval"),
            (Payload(print, "x"), "builtins.print"),
            (Payload(np.load, "x"), "numpy.load"),
            (Trainer(), "Trainer"),
            (nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
        ):
            message = refusal(
                save(tmp_path, {"state_dict": state, "x": payload}, pickle_protocol=protocol)
            )
            assert "safely" in message
            assert name in message
            assert "torch.save(model.state_dict(), FILE)" in message
            assert not ran.exists()


def test_what_a_pickle_names_cannot_be_changed(tmp_path: Path) -> None:
    """State given to a class or a function would set its attributes."""
    for target in (
        b"ccollections\nOrderedDict\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"cbuiltins\nlist\n",
    ):
        path = tmp_path / "state.pkl"
        path.write_bytes(b"\x80\x02" + target + b"N}X\x04\x00\x00\x00evilK\x01s\x86b.")
        refusal(path)
    assert not hasattr(torch._utils._rebuild_tensor_v2, "evil")


def write_zip(path: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def edit_zip(
    path: Path, name: str, change: Callable[[bytes], bytes], compression: int = zipfile.ZIP_STORED
) -> Path:
    with zipfile.ZipFile(path) as archive:
        entries = {each: archive.read(each) for each in archive.namelist()}
    return write_zip(
        path,
        {each: change(data) if each.endswith(name) else data for each, data in entries.items()},
        compression,
    )


def test_sizes_are_known_before_anything_is_allocated(tmp_path: Path) -> None:
    path = save(tmp_path, {"BACKBONE.x": torch.zeros(1 << 24)})
    assert "unpack to" in refusal(edit_zip(path, "/data/0", bytes, zipfile.ZIP_DEFLATED))
    count = (1 << 24).to_bytes(4, "little")
    path = save(
        tmp_path, {"BACKBONE.x": torch.zeros(1 << 24)}, _use_new_zipfile_serialization=False
    )
    path.write_bytes(path.read_bytes()[:600].replace(count, (1 << 30).to_bytes(4, "little")))
    assert "larger than the file" in refusal(path)
    wide = torch.zeros(1).expand(1 << 40)
    assert "larger than its storage" in refusal(save(tmp_path, {"BACKBONE.x": wide}))
    shared = torch.zeros(100_000)
    assert "share storages" in refusal(
        save(tmp_path, {f"BACKBONE.{i}": shared[i:] for i in range(20)})
    )


def test_a_value_that_is_named_many_times_is_not_copied_as_often(tmp_path: Path) -> None:
    """Each of the calls takes a dozen bytes of the file, and would take a megabyte of memory."""
    text, calls = b"X" + (1 << 20).to_bytes(4, "little") + b"x" * (1 << 20) + b"q\x00", 5000
    call = b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R"
    path = tmp_path / "bomb.pkl"
    path.write_bytes(b"\x80\x02]" + text + b"a(" + call * calls + b"e.")
    assert "copies far more than it holds" in refusal(path)


def test_tensors_stay_within_their_storage(tmp_path: Path) -> None:
    path = save(tmp_path, {"BACKBONE.x": torch.zeros(64, 3)})
    assert "cut short or damaged" in refusal(edit_zip(path, "/data/0", lambda data: data[:-4]))


def torch_script(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and files of it are about
        torch.jit.script(nn.Linear(2, 2)).save(path)


def onnx_file(path: Path) -> None:
    import onnx
    from onnx import helper

    graph = helper.make_graph([], "g", [], [])
    path.write_bytes(helper.make_model(graph, producer_name="pytorch").SerializeToString())
    assert onnx.load(path).producer_name == "pytorch"


def write_tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("pickle"), io.BytesIO())


OTHERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "page": (
        lambda p: p.write_text("\n<!DOCTYPE html><html>virus scan warning</html>"),
        "web page (HTML)",
    ),
    "xml": (lambda p: p.write_text('<?xml version="1.0"?><Error/>'), "web page (HTML)"),
    "pointer": (
        lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\n"),
        "git lfs pull",
    ),
    "empty": (lambda p: p.write_bytes(b""), "empty (0 bytes)"),
    "text": (lambda p: p.write_text("see the wiki\n"), "a text, beginning 'see the wiki'"),
    "noise": (lambda p: p.write_bytes(bytes(range(128, 256))), "not of PyTorch or safetensors"),
    "gzip": (lambda p: p.write_bytes(b"\x1f\x8b\x08\x00"), "gzip archive"),
    "script": (torch_script, "TorchScript archive"),
    "onnx": (onnx_file, "an ONNX network"),
    "tar": (write_tar, "tar archive"),
    "npz": (lambda p: write_zip(p, {"a.npy": b"\x93NUMPY"}), "NumPy arrays"),
    "zip": (lambda p: write_zip(p, {"readme.txt": b"x"}), "readme.txt"),
    "torn zip": (lambda p: p.write_bytes(b"PK\x03\x04 torn"), "cut short or damaged"),
    "torn safetensors": (
        lambda p: p.write_bytes(struct.pack("<Q", 900) + json.dumps({}).encode()),
        "cut short or damaged",
    ),
    "torn pickle": (lambda p: p.write_bytes(pickle.dumps({"a": 1})[:-3]), "cut short or damaged"),
    "nothing in it": (lambda p: torch.save({"epoch": 3}, p), "holds no state_dict"),
    "folder": (lambda p: p.mkdir(), "is a directory"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_files_that_hold_no_weights_are_called_by_name(tmp_path: Path, name: str) -> None:
    write, words = OTHERS[name]
    write(tmp_path / "best.pth")
    assert words in refusal(tmp_path / "best.pth")


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_file_cut_anywhere_is_called_that(tmp_path: Path, is_zip: bool) -> None:
    path = save(
        tmp_path, {"model": {"BACKBONE.x": torch.zeros(500)}}, _use_new_zipfile_serialization=is_zip
    )
    whole = path.read_bytes()
    for share in (0.05, 0.3, 0.6, 0.95):
        path.write_bytes(whole[: int(share * len(whole))])
        assert "cut short or damaged" in refusal(path)
