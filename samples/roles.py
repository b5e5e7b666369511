"""The parts of the field's protocols: who is a query, who is in the gallery, who is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final, Literal, cast, get_args

from trireid.samples.source import NotUsed, Role

Split = Literal["train", "query", "gallery"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)
#: A role, or what a table or a folder may say in its place: both query and gallery (test), or
#: neither.
Part = Role | Literal["test", "validation", "junk"]
_WORDS: Final[dict[str, Part]] = {
    **dict.fromkeys(("train", "training", "trainset", "bounding_box_train"), "train"),
    **dict.fromkeys(("query", "queries", "probe", "probes"), "query"),
    **dict.fromkeys(("gallery", "bounding_box_test"), "gallery"),
    **dict.fromkeys(("test", "testing", "testset", "both"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("distractor", "distractors"), "distractor"),
    **dict.fromkeys(("junk", "ignore", "ignored"), "junk"),
}  # fmt: skip
WORDS: Final = "train, val, test, query, gallery, distractor, junk"


def find_part(word: str) -> Part | None:
    """Return the part that a word of a table or the name of a folder stands for, or None."""
    return _WORDS.get(word.strip().lower())


def find_role(part: Part | None) -> Role | None:
    """Return the role of a part that is used; None is both a query and in the gallery."""
    return None if part in (None, "test", "validation", "junk") else cast("Role", part)


def is_in(part: Part | None, split: Split) -> bool:
    """Return whether a part belongs to a split; one that is not told is in query and gallery."""
    if split == "train":
        return part == "train"
    if split == "query":
        return part in (None, "test", "query")
    return part in (None, "test", "gallery", "distractor")


def list_left_out(parts: Iterable[Part | None], split: Split, what: str) -> tuple[NotUsed, ...]:
    """Count the `what` (rows, images) whose part is not of the split."""
    counted = Counter(part for part in parts if part is not None and not is_in(part, split))
    return tuple(
        NotUsed(f"{what} of role {part}", count, _why(part, split))
        for part, count in counted.items()
    )


def _why(part: Part, split: Split) -> str:
    if part == "junk":
        return "junk is left out"
    other = part if part in SPLITS else None
    return f"only the {split} is asked for" + (
        f"; add @{other} to the SOURCE for these" if other else ""
    )
