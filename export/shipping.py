"""Shipping: a file appears under its name only if the very bytes that lie on the disk have proved
to be the network.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trireid.export.report import Report
from trireid.inference.content import report_path
from trireid.samples import ArtifactError, VerificationError
from trireid.samples.atomic_write import replace_file, write_atomic


def check_target(target: Path, suffix: str, others: Sequence[str]) -> None:
    """Check, before the work rather than after it, that an export can be written there and will be
    opened as that kind of file.

    Args:
        target: The file.
        suffix: The suffix of such files.
        others: Suffixes of files that are opened as something else.

    Raises:
        ArtifactError: It cannot.
    """
    name = os.fspath(target)
    if not target.parent.is_dir():
        raise ArtifactError(f"{name}: the folder {target.parent} does not exist", name)
    if target.is_dir():
        example = target / f"network{suffix}"
        raise ArtifactError(
            f"{name}: is a directory; name the file to write, as in {example}", name
        )
    if target.suffix in others:
        raise ArtifactError(
            f"{name}: a file called {target.suffix} is taken for something else; call it {suffix}",
            name,
        )


def ship(
    target: Path,
    write: Callable[[Path], None],
    verify: Callable[[Path], Report],
    about: Mapping[str, Any],
) -> Report:
    """Write a file under a temporary name, verify it as it lies on the disk, then give it its name.

    The file is hashed before it is verified and again before it is renamed: the bytes that are
    shipped are those that were verified. Next to it, FILE.report.json holds the report.

    Args:
        target: The file.
        write: Writes it to a path.
        verify: Opens a path and compares it with the reference.
        about: Further facts of the file for the report, in addition to its hash.

    Returns:
        The report, which holds.

    Raises:
        VerificationError: It is not the same network, or was changed while it was verified;
            the file that was there stays, and the report says why.
        OSError: It cannot be written.
    """
    # both files are the new ones, or neither is
    with replace_file(report_path(target)) as temporary_report, replace_file(target) as temporary:
        write(temporary)
        digest = _hash_file(temporary)
        report = verify(temporary)
        if _hash_file(temporary) != digest:
            raise VerificationError(
                f"{target}: not written: its bytes changed while they were verified; something else"
                f" writes to {target.parent}, or the disk is failing",
                os.fspath(target),
            )
        artifact = {"sha256": digest, "bytes": temporary.stat().st_size, **about}
        values = {**report.to_json(), "figures": report.figures(), "artifact": artifact}
        text = json.dumps(values, indent=2).encode()
        if not report.holds:
            write_atomic(report_path(target), text)
            raise _describe_failure(target, report)
        temporary_report.write_bytes(text)
    return report


def _describe_failure(target: Path, report: Report) -> VerificationError:
    stage = f"; they part at the {report.parts_at}" if report.parts_at else ""
    return VerificationError(
        f"{target}: not written: it is not the same network: {'; '.join(report.errors)}{stage};"
        f" {report_path(target)} says more",
        os.fspath(target),
    )


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
