"""`trireid gallery`: what a gallery holds, and its maintenance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from trireid.cli.command import command, make_app
from trireid.cli.options import NETWORK, Checkpoint, GalleryFolder, Runtime
from trireid.cli.output import Output

app = make_app("Inspect and maintain a gallery.")

NewFolder = Annotated[Path, Option("--output", "-o", metavar="DIR", help="a new or empty folder")]


@command(app)
def stats(folder: GalleryFolder, out: Output) -> None:
    """Print what a gallery holds, in numbers."""
    from trireid.gallery.stats import stats

    found = stats(_check_gallery(folder))
    out.result(found, *(f"{name.replace('_', ' '):<14} {_count(found[name])}" for name in found))


def _count(value: Any) -> str:
    if isinstance(value, dict):
        value = ", ".join(f"{key}: {count}" for key, count in value.items())
    return "none" if value == "" else str(value)


@command(app)
def remove(
    folder: GalleryFolder,
    out: Output,
    ids: Annotated[
        list[str] | None, Option("--id", metavar="ID ...", help="the items with these ids")
    ] = None,
    identity: Annotated[
        str | None, Option("--identity", metavar="NAME", help="all items of an identity")
    ] = None,
    older_than: Annotated[
        float | None,
        Option(
            "--older-than",
            metavar="DAYS",
            help="by the earlier of an item's time and when it was added",
        ),
    ] = None,
    expired: Annotated[
        bool,
        Option("--expired", help="past their expires, or older than --keep-days of `gallery set`"),
    ] = False,
    dry_run: Annotated[
        bool, Option("--dry-run", help="remove nothing: print how many, and which")
    ] = False,
    force: Annotated[
        bool, Option("--force", help="by age, also if it is more than half of the gallery")
    ] = False,
) -> int:
    """Remove items for good: by --id, --identity, --older-than or --expired."""
    from trireid.gallery.removal import remove_stored, select_ids
    from trireid.gallery.store import Store

    if sum(each is not None for each in (ids, identity, older_than, expired or None)) != 1:
        raise typer.BadParameter("give one of --id, --identity, --older-than, --expired")
    which: dict[str, Any] = {"ids": ids, "identity": identity, "older_than_days": older_than}
    with closing(Store(_check_gallery(folder))) as store:
        if dry_run:
            chosen, count = select_ids(store, **which), len(store)
            line = f"{folder}: {len(chosen)} of {count} would be removed"
            out.result({"gallery": str(folder), "ids": chosen, "items": count}, line, *chosen)
            return 0
        removed = remove_stored(folder, force=force, **which)
        items = len(store)
    out.result(
        {"gallery": str(folder), "removed": removed, "items": items},
        f"{folder}: {removed} removed; holds {items}",
    )
    return check_erased(folder, out)


def check_erased(folder: Path, out: Output) -> int:
    """Say if removed items are not erased yet; returns the exit code."""
    from trireid.gallery.stats import stats

    if not stats(folder)["erasure_pending"]:
        return 0
    return out.fail(
        f"{folder}: a reader is in the way: the removed items stay in gallery.db-wal until it ends;"
        " the processes that have the gallery open retry, and so does the next command",
        1,
    )


@command(app, "set")
def set_retention(
    folder: GalleryFolder,
    keep_days: Annotated[
        str, Option("--keep-days", metavar="DAYS|none", help="a server removes older items")
    ],
    out: Output,
) -> None:
    """Set for how long a gallery keeps items."""
    from trireid.gallery.retention import set_keep_days

    try:
        days = None if keep_days == "none" else float(keep_days)
    except ValueError as error:
        raise typer.BadParameter(
            f"argument --keep-days: must be days or none, not {keep_days!r}"
        ) from error
    set_keep_days(_check_gallery(folder), days)
    duration = "until they are removed" if days is None else f"for {days:g} days"
    out.result({"gallery": str(folder), "keep_days": days}, f"{folder}: items are kept {duration}")


@command(app)
def compact(folder: GalleryFolder, out: Output) -> int:
    """Give back the space of removed items."""
    from trireid.gallery import Gallery

    with Gallery.open(_check_gallery(folder), create=False) as gallery:
        gallery.compact()
        items = len(gallery)
    out.result({"gallery": str(folder), "items": items}, f"{folder}: compacted")
    return check_erased(folder, out)


@command(app)
def check(folder: GalleryFolder, out: Output) -> int:
    """Check whether a gallery is whole, and which items can be read if it is not.

    Exits with 1 if it is not whole.
    """
    from trireid.gallery.checking import check

    report = check(folder)
    errors = report.errors
    out.result(
        {
            "gallery": str(folder),
            "items": report.items,
            "readable": report.readable,
            "errors": errors,
        },
        f"{folder}: {report.items} items, {report.readable} of them whole;"
        f" {len(errors) or 'no'} errors",
    )
    for error in errors:
        out.note(error)
    return 1 if errors else 0


@command(app)
def export(
    folder: GalleryFolder,
    output: NewFolder,
    out: Output,
    identity: Annotated[
        str | None,
        Option(
            "--identity",
            metavar="NAME",
            help="this identity's items alone, with copies of all images",
        ),
    ] = None,
) -> int:
    """Write a manifest that can be indexed again, with embeddings and images."""
    from trireid.gallery.exporting import MANIFEST, export
    from trireid.gallery.person import export_identity

    missing: list[str] = []
    _check_gallery(folder)
    if identity is not None:
        count, missing = export_identity(folder, identity, output)
    else:
        count = export(folder, output)
    # images kept by reference have absolute paths
    outside = "" if identity else " --allow-outside"
    out.result(
        {"manifest": str(output / MANIFEST), "items": count, "not_copied": missing},
        f"{output}: {count} items in {MANIFEST}",
        f"to index it: trireid index {output / MANIFEST}{outside} --gallery DIR",
    )
    for line in missing:
        out.note(f"not copied: {line}")
    return 1 if missing else 0


@command(app)
def find(
    folder: GalleryFolder,
    identity: Annotated[str, Option("--identity", metavar="NAME", help="the identity")],
    out: Output,
) -> int:
    """Print all that a gallery holds of one identity."""
    from trireid.gallery.person import find_identity

    found = find_identity(_check_gallery(folder), identity)
    items = [line for item in found["items"] for line in _describe_item(item)]
    out.result(found, *items, *(_describe_entry(**entry) for entry in found["audit"]))
    if found["items"]:
        return 0
    return out.fail(f"{folder}: holds no item of identity {identity!r}; its audit names it", 1)


def _describe_item(item: Mapping[str, Any]) -> list[str]:
    lines = [f"item {item['id']}"]
    for name, value in item.items():
        if name == "images":
            lines += [f"  {modality:<11} {_describe_image(value[modality])}" for modality in value]
        elif name != "id" and value not in (None, {}):
            text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value
            lines.append(f"  {name:<11} {text}")
    return lines


def _describe_image(image: Mapping[str, Any]) -> str:
    location = "kept inside" if image["is_kept"] else image["path"] or "not kept"
    return f"{location}, {image['bytes'] or 0} bytes, thumbnail {image['thumbnail_bytes']} bytes"


@command(app)
def audit(folder: GalleryFolder, out: Output) -> None:
    """Print which items were removed or moved, and when."""
    from trireid.gallery.store import Store

    with closing(Store(_check_gallery(folder))) as store:
        entries: list[dict[str, Any]] = [
            {"at": at, "action": action, "what": what} for at, action, what in store.read_audit()
        ]
    out.result({"audit": entries}, *(_describe_entry(**entry) for entry in entries))


def _describe_entry(at: str, action: str, what: Any) -> str:
    return f"{at}  {action}  {json.dumps(what, ensure_ascii=False)}"


@command(app)
def backup(folder: GalleryFolder, output: NewFolder, out: Output) -> None:
    """Copy a gallery, while other processes write to it."""
    from trireid.gallery.backup import back_up

    count = back_up(_check_gallery(folder), output)
    out.result(
        {"backup": str(output), "items": count},
        f"{output}: a copy of {count} items; check that it is whole: trireid gallery check"
        f" {output}",
    )


@command(app)
def reembed(
    folder: GalleryFolder,
    model: Annotated[str, Option("--model", metavar="FILE", help=f"to move to: {NETWORK}")],
    checkpoint: Checkpoint,
    runtime: Runtime,
    out: Output,
    drop_lost: Annotated[
        bool, Option("--drop-lost", help="remove items whose images are gone")
    ] = False,
) -> int:
    """Move a gallery to another network: its images are embedded again."""
    from trireid.gallery.reembedding import reembed

    runtime.apply()
    report = reembed(_check_gallery(folder), checkpoint.load(model), drop_lost=drop_lost)
    lost = len(report.lost)
    out.result(
        {"gallery": str(folder), "model": model, "moved": report.moved, "removed": lost},
        f"{folder}: {report.moved} items moved to {model}; {lost} without images removed",
    )
    return check_erased(folder, out)


def _check_gallery(folder: Path) -> Path:
    """Return the folder; raises TrireidError if it is not a gallery."""
    from trireid.gallery.metadata import read_meta

    read_meta(folder)
    return folder
