"""The command line as a user types it: subprocesses, exit codes, one line for what is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import GOLDENS, ROOT, encode_image, find_free_port, find_shared
from trireid.gallery import Gallery
from trireid.inference import load_artifact

Done = subprocess.CompletedProcess[str]


def trireid(*arguments: object, cwd: Path = ROOT) -> Done:
    command = [sys.executable, "-m", "trireid", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, timeout=240, check=False
    )


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    for i in range(6):
        (tmp_path / f"{i}.png").write_bytes(encode_image(i))
    rows = [f"{i}.png,person {i % 2},{i}" for i in range(6)]
    (tmp_path / "m.csv").write_text("tir,identity,camera\n" + "\n".join(rows) + "\n")
    return tmp_path / "m.csv"


@pytest.fixture
def filled(tmp_path: Path, manifest: Path, artifact: Path) -> Path:
    done = trireid("index", manifest, "--gallery", tmp_path / "a.gallery", "--model", artifact)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'a.gallery'}: 6 added, 0 known, 0 rejected; holds 6\n"
    return tmp_path / "a.gallery"


def test_index_then_search(filled: Path, tmp_path: Path) -> None:
    done = trireid("search", "--gallery", filled, "--tir", tmp_path / "3.png", "-k", 2)
    assert done.returncode == 0
    assert done.stdout.splitlines()[1].split() == ["1", "0.999", "-", "person", "1", "3", "3.png"]
    assert len(done.stdout.splitlines()) == 3


def test_json_is_all_that_stdout_holds(filled: Path, tmp_path: Path) -> None:
    where = '{"identity": "person 0"}'
    done = trireid(
        "search", "--gallery", filled, "--tir", tmp_path / "3.png", "--json", "--where", where
    )
    hits = json.loads(done.stdout)["hits"]
    assert {hit["id"] for hit in hits} == {"0.png", "2.png", "4.png"}
    known = {
        "rank",
        "id",
        "identity",
        "score",
        "probability",
        "camera",
        "time",
        "kind",
        "attributes",
        "images",
    }
    assert set(hits[0]) == {*known, "attributes_omitted"}
    done = trireid(
        "search",
        "--gallery",
        filled,
        "--tir",
        tmp_path / "3.png",
        "--json",
        "--camera",
        3,
        "--other-cameras",
    )
    assert sorted(hit["camera"] for hit in json.loads(done.stdout)["hits"]) == [0, 1, 2, 4, 5]


def test_indexing_again_adds_nothing(filled: Path, manifest: Path) -> None:
    done = trireid("index", manifest, "--gallery", filled)
    assert (done.returncode, done.stdout) == (
        0,
        f"{filled}: 0 added, 6 known, 0 rejected; holds 6\n",
    )


def test_bad_rows_are_reported_by_row(filled: Path, manifest: Path) -> None:
    with manifest.open("a") as file:
        file.write("gone.png,x,1\n")
    done = trireid("index", manifest, "--gallery", filled)
    assert done.returncode == 1
    assert "rejected: row 8: tir: " in done.stderr
    assert "gone.png does not exist" in done.stderr


def test_an_interrupted_index_goes_on_where_it_was(tmp_path: Path, artifact: Path) -> None:
    for i in range(400):
        (tmp_path / f"{i}.png").write_bytes(encode_image(i))
    (tmp_path / "m.csv").write_text("rgb\n" + "\n".join(f"{i}.png" for i in range(400)) + "\n")
    command = [
        sys.executable,
        "-m",
        "trireid",
        "index",
        str(tmp_path / "m.csv"),
        "--gallery",
        str(tmp_path / "a.gallery"),
    ]
    process = subprocess.Popen(
        [*command, "--model", str(artifact)], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    store = tmp_path / "a.gallery" / "gallery.db"
    deadline = time.monotonic() + 60
    while not store.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with Gallery.open(tmp_path / "a.gallery", load_artifact(artifact)) as gallery:
        held = len(gallery)
    assert held % 32 == 0 or held == 400
    done = trireid("index", tmp_path / "m.csv", "--gallery", tmp_path / "a.gallery", "--resume")
    assert done.stdout.endswith(f"{400 - held} added, {held} known, 0 rejected; holds 400\n")


def test_export_makes_an_artifact_that_loads(tmp_path: Path) -> None:
    target = tmp_path / "tiny.onnx"
    done = trireid(
        "export",
        "onnx",
        GOLDENS / "tiny_sdtps.pth",
        "--config",
        GOLDENS / "tiny_sdtps.yml",
        "-o",
        target,
    )
    assert done.returncode == 0, done.stderr
    assert "192 numbers per sample, 64 x 32 pixels" in done.stdout
    assert load_artifact(target).card.cameras == 4


def bad_commands(tmp: Path) -> dict[str, tuple[list[object], str]]:
    """Name -> (arguments, what the line must say)."""
    image, gallery = tmp / "3.png", tmp / "a.gallery"
    (tmp / "text.png").write_text("hello")
    search: list[object] = ["search", "--gallery", gallery]
    return {
        "no command": ([], "required: COMMAND"),
        "unknown command": (["frobnicate"], "invalid choice: 'frobnicate'"),
        "no gallery there": (
            ["search", "--gallery", tmp / "none", "--rgb", image],
            "no gallery there",
        ),
        "no image": (search, "at least one of rgb, nir, tir"),
        "image that is text": ([*search, "--rgb", tmp / "text.png"], "that is read; send"),
        "image that is absent": ([*search, "--rgb", tmp / "gone.png"], "cannot be read"),
        "k of 0": ([*search, "--rgb", image, "-k", 0], "1 to 1000"),
        "k in words": (
            [*search, "--rgb", image, "-k", "ten"],
            "-k: must be a whole number from 1 to 1000, not ten",
        ),
        "broken filter": (
            [*search, "--rgb", image, "--where", "{x"],
            "--where: not JSON that can be read",
        ),
        "other cameras than which": ([*search, "--rgb", image, "--other-cameras"], "camera"),
        "unknown source": (["index", "somewhere", "--gallery", gallery], "known forms"),
        "absent manifest": (["index", tmp / "no.csv", "--gallery", gallery], "cannot be read"),
        "a model that is an image": (
            ["index", tmp / "m.csv", "--gallery", gallery, "--model", image],
            "not an ONNX file",
        ),
        "gallery of another network": (
            ["index", tmp / "m.csv", "--gallery", gallery, "--kind", "vehicle"],
            "filled by network",
        ),
        "a checkpoint that is an image": (
            ["export", "onnx", image, "--config", GOLDENS / "tiny_sdtps.yml", "-o", tmp / "x.onnx"],
            "not a checkpoint",
        ),
        "folder that is absent": (
            [
                "export",
                "onnx",
                GOLDENS / "tiny_sdtps.pth",
                "--config",
                GOLDENS / "tiny_sdtps.yml",
                "-o",
                tmp / "no" / "x.onnx",
            ],
            "does not exist",
        ),
        "serve a folder without a gallery": (
            ["serve", tmp / "none", "--port", find_free_port()],
            "no gallery there",
        ),
        "serve on no port": (["serve", gallery, "--port", 99999], "at most 65535"),
    }


def test_what_cannot_be_used_gets_one_line_and_exit_code_2(filled: Path, tmp_path: Path) -> None:
    for name, (arguments, line) in bad_commands(tmp_path).items():
        done = trireid(*arguments)
        assert done.returncode == 2, (name, done.stderr)
        assert done.stdout == "", name
        assert done.stderr.count("\n") == 1, (name, done.stderr)
        assert line in done.stderr, name
    assert not (tmp_path / "x.onnx").exists()
    assert not (tmp_path / "none").exists()


def test_a_gallery_that_cannot_be_opened_is_not_served(
    filled: Path, tmp_path: Path, artifact: Path
) -> None:
    moved = tmp_path / "elsewhere" / "a.gallery"
    moved.parent.mkdir()
    moved.mkdir()
    (moved / "gallery.db").write_bytes(b"")
    for folders, line in {
        (moved,): "not a gallery's store",
        (filled, moved): "a gallery called a is served already",
    }.items():
        done = trireid("serve", *folders, "--port", find_free_port())
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert line in done.stderr


def test_a_port_that_is_taken_is_said_in_one_line(filled: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = trireid("serve", filled, "--port", taken.getsockname()[1])
    assert done.returncode == 2
    assert "choose another" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_gallery_records_its_artifact_so_search_needs_no_model(
    filled: Path, artifact: Path, tmp_path: Path
) -> None:
    from trireid.gallery import read_artifact_path

    assert read_artifact_path(filled) == artifact
    moved = tmp_path / "moved.onnx"
    moved.write_bytes(artifact.read_bytes())
    done = trireid(
        "search", "--gallery", filled, "--tir", tmp_path / "3.png", "--model", moved, "-k", 1
    )
    assert done.returncode == 0
    assert "3.png" in done.stdout


def test_real_manifest(tmp_path: Path, artifact: Path) -> None:
    folder = find_shared("real") / "person"
    done = trireid(
        "index", folder / "ideaP.csv", "--gallery", tmp_path / "p.gallery", "--model", artifact
    )
    assert done.stdout.endswith("48 added, 0 known, 0 rejected; holds 48\n")
    where = '{"role": "pos", "query": 1}'
    query = [f"--{m}={folder}/ideaP_1_query_01_{m}.png" for m in ("rgb", "nir", "tir")]
    done = trireid(
        "search", "--gallery", tmp_path / "p.gallery", *query, "--where", where, "--json", "-k", 50
    )
    hits = json.loads(done.stdout)["hits"]
    assert hits
    assert all(hit["attributes"] == {"role": "pos", "query": 1} for hit in hits)


def test_rgb_only_images_through_a_manifest(tmp_path: Path, artifact: Path) -> None:
    folder = find_shared("real") / "pets09"
    names = sorted(path.name for path in folder.glob("*.jpg"))
    rows = [f"{folder / name},{name.split('_')[0]}" for name in names]
    (tmp_path / "pets.csv").write_text("rgb,identity\n" + "\n".join(rows) + "\n")
    done = trireid(
        "index",
        tmp_path / "pets.csv",
        "--allow-outside",
        "--gallery",
        tmp_path / "pets.gallery",
        "--model",
        artifact,
    )
    assert done.stdout.endswith(f"{len(names)} added, 0 known, 0 rejected; holds {len(names)}\n")
    done = trireid(
        "search",
        "--gallery",
        tmp_path / "pets.gallery",
        "--rgb",
        folder / names[0],
        "--json",
        "-k",
        1,
    )
    (hit,) = json.loads(done.stdout)["hits"]
    assert hit["identity"] == names[0].split("_")[0]
    assert list(hit["images"]) == ["rgb"]
