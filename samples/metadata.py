"""Metadata of a sample and of an item: one type from HTTP, the command line and tables down to the
store.

A new field is an attribute here, and a column in `trireid.gallery.schema`: forms, OpenAPI, the
client, manifests, filters, export and `gallery find` follow from the attribute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, get_args

from trireid.samples.errors import TrireidError

Kind = Literal["person", "vehicle"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


def _about(description: str, example: Any) -> dict[str, Any]:
    """The description of a field, as forms give it."""
    return {"description": description, "examples": [example]}


@dataclass(frozen=True, kw_only=True, eq=False)
class ItemMetadata:
    """The identity, the place and the time of a sample, and its attributes.

    `camera` is any integer, 0-based if a reader knows its data set's convention; `time` is ISO 8601
    text; from `expires`, ISO 8601, on a gallery does not find the item; `attributes` holds any
    other values by name.

    Raises:
        TrireidError: `kind` does not exist.
    """

    identity: str | None = field(
        default=None, metadata=_about("Whom or what the images show.", "Ann")
    )
    camera: int | None = field(
        default=None, metadata=_about("The camera that took the images, 0-based.", 2)
    )
    scene: str | None = field(
        default=None, metadata=_about("The place that the camera saw.", "gate")
    )
    time: str | None = field(
        default=None,
        metadata=_about(
            "When the images were taken: ISO 8601; UTC where it has no offset.",
            "2026-01-31T12:00:00Z",
        ),
    )
    kind: Kind | None = field(default=None, metadata=_about("The kind of the subject.", "person"))
    purpose: str | None = field(
        default=None, metadata=_about("The purpose for which the item is kept.", "access control")
    )
    expires: str | None = field(
        default=None,
        metadata=_about(
            "Until when it is kept: ISO 8601; searches do not find it from then on.",
            "2027-01-31T12:00:00Z",
        ),
    )
    attributes: Mapping[str, Any] = field(
        default_factory=dict,
        metadata=_about("Any other values by name, in JSON.", '{"coat": "red"}'),
    )

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            raise TrireidError(f"kind must be one of {', '.join(KINDS)}, not {self.kind!r}", "kind")

    def get_metadata(self) -> dict[str, Any]:
        """Return the metadata by name, without other fields."""
        return {name: getattr(self, name) for name in METADATA}


#: The names of the metadata, and of those of them that are free text.
METADATA: Final = tuple(each.name for each in fields(ItemMetadata))
TEXTS: Final = tuple(each.name for each in fields(ItemMetadata) if each.type == "str | None")
