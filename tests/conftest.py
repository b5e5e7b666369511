"""Shared by many tests: paths, images, a small network and its artifact."""

from __future__ import annotations

import fcntl
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from trireid.gallery import Gallery
from trireid.inference import Embedder, load_artifact
from trireid.samples import Sample

if TYPE_CHECKING:
    from trireid.models import ReIdNetwork

ROOT = Path(__file__).resolve().parent.parent
GOLDENS = Path(__file__).parent / "goldens"
#: The folders of the root that are subpackages of `trireid`.
SUBPACKAGES = (
    "demo",
    "evaluation",
    "export",
    "gallery",
    "inference",
    "models",
    "samples",
    "serving",
    "training",
)


def build_wheel(folder: Path) -> Path:
    """Build the wheel into a folder, from a copy of the sources: a build writes into its folder."""
    with TemporaryDirectory() as copy:
        for name in ("trireid", *SUBPACKAGES):
            shutil.copytree(
                ROOT / name, Path(copy) / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
            shutil.copy(ROOT / name, copy)
        command = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--wheel-dir",
            str(folder),
            ".",
        ]
        subprocess.run(command, cwd=copy, check=True, capture_output=True, timeout=240)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (wheel,) = folder.glob(f"trireid-{project['version']}-*.whl")
    return wheel


def find_shared(part: str) -> Path:
    """Find a folder of the developers' shared material; skip the test if it is absent."""
    folder = ROOT.parent / "shared" / part
    if not folder.exists():
        pytest.skip(f"needs the developers' shared/{part}, which is not next to this checkout")
    return folder


def make_pixels(
    seed: int = 0, size: tuple[int, int] = (64, 32)
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Make a random image of smooth patches, uint8 [H, W, 3]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def encode_image(seed: int = 0, form: str = "PNG", size: tuple[int, int] = (64, 32)) -> bytes:
    """Encode a random image as the bytes of a file."""
    out = io.BytesIO()
    Image.fromarray(make_pixels(seed, size)).save(out, form)
    return out.getvalue()


def make_sample(seed: int, **fields: Any) -> Sample:
    """Make a sample of three random images."""
    rgb, nir, tir = (encode_image(3 * seed + i) for i in range(3))
    return Sample(rgb=rgb, nir=nir, tir=tir, **fields)


def find_free_port() -> int:
    """Find a port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ONNX artifact of a small untrained network with 4 cameras, for 64 x 32 images."""
    return make_once(tmp_path_factory, "tiny.onnx", partial(export_tiny, seed=0))


@pytest.fixture(scope="session")
def embedder(artifact: Path) -> Embedder:
    """That artifact, loaded; a second thread of a tiny network only waits for a core."""
    return load_artifact(artifact, threads=1)


@pytest.fixture(scope="session")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ONNX artifact of the small golden SDTPS network."""
    return make_once(tmp_path_factory, "golden.onnx", _export_golden)


@pytest.fixture
def gallery(tmp_path: Path, embedder: Embedder) -> Iterator[Gallery]:
    """An empty gallery."""
    with Gallery.open(tmp_path / "people.gallery", embedder) as opened:
        yield opened


def drop_content(model: Any) -> None:
    """Take the content digest out of an ONNX model's card: it then opens with any change, as of
    earlier versions.
    """
    (card,) = model.metadata_props
    values = json.loads(card.value)
    values.pop("content", None)
    card.value = json.dumps(values, sort_keys=True)


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Make a file for the whole run: processes that share the tests share it, too."""
    folder = factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        folder = folder.parent
    path = folder / name
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            make(path)
    return path


def _export_golden(path: Path) -> None:
    from trireid.export import export_onnx
    from trireid.models import load_checkpoint

    export_onnx(load_checkpoint(GOLDENS / "tiny_sdtps.pth", GOLDENS / "tiny_sdtps.yml"), path)


def make_tiny_network(seed: int, **changes: Any) -> ReIdNetwork:
    """Make a small untrained network."""
    import torch

    from trireid.models import NetworkConfig, ReIdNetwork

    torch.manual_seed(seed)
    sizes: dict[str, Any] = {
        "image_size": (64, 32),
        "width": 64,
        "depth": 1,
        "channels": 32,
        "cameras": 4,
    }
    return ReIdNetwork(NetworkConfig(**{**sizes, "aggregation_ratio": 0.5, **changes}))


def export_tiny(path: Path, seed: int, **changes: Any) -> Path:
    """Export a small untrained network."""
    from trireid.export import export_onnx

    export_onnx(make_tiny_network(seed, **changes), path)
    return path
