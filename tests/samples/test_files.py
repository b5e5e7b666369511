"""Files somebody else has named: regular ones are read, and nothing that would block or never end."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.conftest import encode_image
from trireid.inference.external import ExternalCard
from trireid.models.yaml_file import read_yaml
from trireid.samples import decode
from trireid.samples.errors import ArtifactError, ConfigError, ImageError, SourceError
from trireid.samples.files import MAX_TEXT_BYTES, FileTooLargeError, open_regular, read_regular
from trireid.samples.sources import open_source

NOT_REGULAR = r"not a regular file|Is a directory"


def irregular(folder: Path) -> list[Path]:
    """Make paths that are not regular files: a read of them would hang, never end, or act."""
    os.mkfifo(folder / "fifo")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(folder / "socket"))
    listening.close()
    (folder / "folder").mkdir()
    (folder / "link").symlink_to(folder / "fifo")
    made = [folder / name for name in ("fifo", "socket", "folder", "link")]
    return [*made, Path("/dev/zero"), Path("/dev/tty"), Path("/dev/null")]


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    for path in irregular(tmp_path):
        with pytest.raises(OSError, match=NOT_REGULAR):
            read_regular(path, 100)
        with pytest.raises(ImageError, match="rgb: cannot be read"):
            decode(path, "rgb")
        with pytest.raises(OSError, match=NOT_REGULAR):
            open_regular(path)


def test_links_to_regular_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_image(1))
    (tmp_path / "link.png").symlink_to("a.png")
    assert read_regular(tmp_path / "link.png", 1 << 20) == encode_image(1)


def test_what_is_read_is_bounded_also_while_it_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 100)
    assert read_regular(path, 100) == b"x" * 100
    with pytest.raises(FileTooLargeError):
        read_regular(path, 99)
    fstat = os.fstat

    def grow(descriptor: int) -> os.stat_result:
        found = fstat(descriptor)
        path.write_bytes(b"x" * 5000)
        return found

    monkeypatch.setattr("trireid.samples.files.os.fstat", grow)
    with pytest.raises(FileTooLargeError):
        read_regular(path, 1000)


def test_files_of_the_kernel_are_empty() -> None:
    """`/proc/kmsg` is a regular file by its mode, and a read of it waits for the kernel."""
    for path in ("/proc/cpuinfo", "/proc/self/mem"):
        assert read_regular(path, 1 << 20) == b""
        with pytest.raises(ImageError, match="empty"):
            decode(path)


def test_a_name_with_a_nul_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="NUL"):
        decode("a\0.png")


@pytest.mark.parametrize("name", ["m.csv", "m.parquet"])
def test_a_manifest_that_is_a_fifo_is_refused(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(SourceError, match="not a regular file"):
        open_source(str(tmp_path / name))


def test_configurations_and_cards_are_regular_files_of_bounded_size(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yml")
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(ConfigError, match="not a regular file"):
        read_yaml(tmp_path / "a.yml")
    with pytest.raises(ArtifactError, match="not a regular file"):
        ExternalCard.read(tmp_path / "a.json")
    (tmp_path / "b.yml").write_bytes(b"#" * (MAX_TEXT_BYTES + 1))
    with pytest.raises(ConfigError, match="too large"):
        read_yaml(tmp_path / "b.yml")
