"""The file of a plan: read back as written, refused when damaged, never half-written.

Needs neither TensorRT nor a GPU.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT
from trireid.inference import Embedder, load_artifact
from trireid.inference.tensorrt.plan import Gpu, Plan, Profile, read_plan, write_plan
from trireid.samples import ArtifactError

ENGINE = bytes(range(256)) * 8


@pytest.fixture
def plan(embedder: Embedder) -> Plan:
    return Plan(
        card=embedder.card,
        library="tensorrt",
        version="11.4.0.106",
        gpu=Gpu("NVIDIA H200", "9.0"),
        profile=Profile(1, 8, 32),
        verified=True,
        measured={"tensorrt_min_cosine": 0.99999},
    )


@pytest.fixture
def path(tmp_path: Path, plan: Plan) -> Path:
    write_plan(tmp_path / "p.plan", plan, ENGINE)
    return tmp_path / "p.plan"


def test_it_is_read_as_it_was_written(path: Path, plan: Plan) -> None:
    assert read_plan(path) == (plan, ENGINE)
    assert os.listdir(path.parent) == [path.name]


def test_a_plan_for_every_gpu_has_none(tmp_path: Path, plan: Plan) -> None:
    every = Plan(
        **{
            **{name: getattr(plan, name) for name in plan.__dataclass_fields__},
            "gpu": None,
            "verified": False,
        }
    )
    write_plan(tmp_path / "e.plan", every, b"")
    assert read_plan(tmp_path / "e.plan") == (every, b"")


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(data=st.data())
def test_one_wrong_byte_anywhere_is_noticed(path: Path, data: st.DataObject) -> None:
    good = path.read_bytes()
    place = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[place] ^= data.draw(st.integers(1, 255))
    refuse(path.with_name("bad.plan"), bytes(bad))


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(data=st.data())
def test_a_file_cut_off_anywhere_is_noticed(path: Path, data: st.DataObject) -> None:
    good = path.read_bytes()
    refuse(path.with_name("bad.plan"), good[: data.draw(st.integers(0, len(good) - 1))])


def test_a_file_that_has_grown_is_noticed(path: Path) -> None:
    refuse(path.with_name("bad.plan"), path.read_bytes() + b"\n")


def refuse(bad: Path, content: bytes) -> None:
    bad.write_bytes(content)
    with pytest.raises(
        ArtifactError, match=r"bad\.plan: .*(cut off|damaged|has grown|not a plan|is empty)"
    ) as caught:
        load_artifact(bad)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "content",
    [b"ptrt" + bytes(400), b"\x08\x0a\x12", b"TRIPLAN"],
    ids=["bare engine", "ONNX", "beginning"],
)
@pytest.mark.parametrize("suffix", [".plan", ".engine", ".trt"])
def test_a_external_file_is_told_what_to_do(tmp_path: Path, content: bytes, suffix: str) -> None:
    (tmp_path / f"x{suffix}").write_bytes(content)
    with pytest.raises(ArtifactError, match="not a plan of `trireid export tensorrt`"):
        load_artifact(tmp_path / f"x{suffix}")


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "x.plan").write_bytes(b"")
    with pytest.raises(ArtifactError, match="is empty"):
        load_artifact(tmp_path / "x.plan")


def test_a_plan_is_known_by_its_content(path: Path) -> None:
    path.rename(path.with_suffix(".onnx"))
    with pytest.raises(ArtifactError, match="runs on a GPU only"):
        load_artifact(path.with_suffix(".onnx"), provider="cpu")


def test_a_header_of_another_trireid_is_refused(
    path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = json.dumps
    monkeypatch.setattr(
        "trireid.inference.tensorrt.plan.json.dumps",
        lambda values, **how: write(
            values | ({"colour": "red"} if "library" in values else {}), **how
        ),
    )
    write_plan(path, plan, ENGINE)
    monkeypatch.undo()
    with pytest.raises(ArtifactError, match="that of another trireid"):
        read_plan(path)


@pytest.mark.parametrize("sizes", [(0, 1, 2), (2, 1, 4), (1, 4, 2), (-1, -1, -1)])
def test_a_profile_rises_from_one(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(ArtifactError, match="is not a profile"):
        Profile(*sizes)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_what_was_there(
    path: Path, plan: Plan, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_plan(path, plan, b"the new engine")
    monkeypatch.undo()
    assert caught.value.filename == str(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_a_write_that_stops_in_the_middle_leaves_what_was_there(path: Path) -> None:
    before = path.read_bytes()
    code = f"""
from pathlib import Path
from trireid.inference.tensorrt.plan import read_plan, write_plan
path = Path({str(path)!r})
plan, _ = read_plan(path)
write_plan(path, plan, bytes(1 << 20))
"""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))

    done = subprocess.run(
        [sys.executable, "-B", "-c", code],
        cwd=ROOT,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "File too large" in done.stderr
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]
