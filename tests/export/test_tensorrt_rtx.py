"""The real parser and builder of TensorRT-RTX, which need no GPU: what they build, and what says so
where a GPU is needed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import trireid.cli
from tests.conftest import find_shared
from trireid.export import export_onnx
from trireid.export.tensorrt import export_tensorrt
from trireid.inference import Embedder, load_artifact
from trireid.inference.tensorrt.cuda import probe_gpu
from trireid.inference.tensorrt.plan import Profile, is_plan, read_plan
from trireid.models import load_checkpoint
from trireid.samples import KINDS, ArtifactError

rtx = pytest.importorskip(
    "tensorrt_rtx", reason="tensorrt-rtx-cu13 is not installed (Linux on x86-64 alone has it)"
)


def what_is_there() -> str:
    try:
        return str(probe_gpu())
    except ArtifactError as error:
        return error.message


without_gpu = pytest.mark.skipif(
    not what_is_there().startswith("no GPU"),
    reason=f"is about machines with cuda-bindings and no GPU; here: {what_is_there()}",
)


def build(onnx: Path, path: Path, batch: Profile | None = None) -> Path:
    export_tensorrt(onnx, path, library="tensorrt_rtx", unverified=True, batch=batch)
    return path


@pytest.fixture(scope="module")
def plan_path(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan of the golden network."""
    return build(golden, tmp_path_factory.mktemp("rtx") / "golden.plan")


def test_it_builds_a_plan_that_says_what_it_is(plan_path: Path, golden: Path) -> None:
    plan, engine = read_plan(plan_path)
    assert is_plan(plan_path)
    assert (plan.library, plan.version, plan.gpu) == ("tensorrt_rtx", rtx.__version__, None)
    assert plan.profile == Profile(1, 8, 32)
    assert plan.card == load_artifact(golden).card
    assert len(engine) > 100_000
    assert os.listdir(plan_path.parent) == [plan_path.name]


@pytest.mark.parametrize("name", ["sdtps_default", "demo_hdm_atm"])
def test_it_builds_the_research_codes_goldens(tmp_path: Path, name: str) -> None:
    folder = find_shared("goldens")
    export_onnx(
        load_checkpoint(folder / f"{name}.pth", folder / f"{name}.yml"), tmp_path / "g.onnx"
    )
    assert is_plan(build(tmp_path / "g.onnx", tmp_path / "g.plan"))


def test_the_parser_sees_one_shape_but_for_the_batch(artifact: Path, embedder: Embedder) -> None:
    logger = rtx.Logger(rtx.Logger.ERROR)
    builder = rtx.Builder(logger)
    network = builder.create_network(1 << int(rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = rtx.OnnxParser(network, logger)
    assert parser.parse(artifact.read_bytes())
    outputs = {
        network.get_output(i).name: network.get_output(i) for i in range(network.num_outputs)
    }
    assert {name: tuple(tensor.shape) for name, tensor in outputs.items()} == {
        "embedding": (-1, 192),
        "tokens": (-1, 3, 4),
    }
    assert (outputs["embedding"].dtype, outputs["tokens"].dtype) == (
        rtx.DataType.FLOAT,
        rtx.DataType.INT64,
    )
    assert [network.get_input(i).name for i in range(network.num_inputs)] == [
        "images",
        "camera",
        "present",
    ]


@without_gpu
def test_without_a_gpu_nothing_unverified_is_written_unasked(
    artifact: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        ArtifactError, match=r"nothing can verify the engine: no GPU can be used here.*--unverified"
    ):
        export_tensorrt(artifact, tmp_path / "p.plan", library="tensorrt_rtx")
    assert not list(tmp_path.iterdir())


@without_gpu
def test_without_a_gpu_a_plan_does_not_load(plan_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no GPU can be used here") as caught:
        load_artifact(plan_path)
    assert "\n" not in caught.value.message


@without_gpu
@pytest.mark.parametrize("kind", KINDS)
def test_the_command_line_builds_a_default_by_its_name_and_says_that_it_is_not_verified(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "export",
        "tensorrt",
        f"{kind}-tiny",
        "-o",
        str(tmp_path / "p.plan"),
        "--library",
        "tensorrt_rtx",
    ]
    assert trireid.cli.main([*arguments, "--unverified", "--batch", "1,2,4"]) == 0
    said = capfd.readouterr()
    assert f"TensorRT-RTX {rtx.__version__}, batch 1,2,4, for any GPU that it supports" in said.out
    assert said.err.startswith("NOT verified: ")
    plan, _ = read_plan(tmp_path / "p.plan")
    assert (plan.verified, plan.card.name) == (False, f"trireid-default-{kind}")
    assert (
        trireid.cli.main(["evaluate", "synthetic:person:2", "--model", str(tmp_path / "p.plan")])
        == 2
    )
    assert "no GPU can be used here" in capfd.readouterr().err
