"""The sample: up to three pictures of one person or vehicle, and what is known of them."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from os import PathLike
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samples.errors import TrireidError

Modality = Literal["rgb", "nir", "tir"]
Kind = Literal["person", "vehicle"]
MODALITIES: Final[tuple[Modality, ...]] = get_args(Modality)
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

#: A path, the bytes of an image file, a PIL image, or uint8 [H, W, 3].
Picture: TypeAlias = "str | PathLike[str] | bytes | Image.Image | NDArray[np.uint8]"


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Up to three pictures of one person or vehicle, and what is known of them.

    `rgb`, `nir`, `tir`: a path, the bytes of an image file, a PIL image or a uint8 array [H, W, 3]; None where the modality is
    missing. `camera` is any integer (0-based where a reader knows its data set's convention). `time` is ISO 8601 text.
    `attributes` holds whatever else is known, by name. `purpose` says what the sample is kept for; `expires`, ISO 8601, until
    when: a gallery does not find it any more from then on. Raises TrireidError for a `kind` that does not exist.
    """

    id: str | None = None
    rgb: Picture | None = None
    nir: Picture | None = None
    tir: Picture | None = None
    identity: str | None = None
    camera: int | None = None
    scene: str | None = None
    time: str | None = None
    kind: Kind | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    purpose: str | None = None
    expires: str | None = None

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            raise TrireidError(f"kind must be one of {', '.join(KINDS)}, not {self.kind!r}", "kind")

    def picture(self, modality: Modality) -> Picture | None:
        """The picture of one modality, or None."""
        picture: Picture | None = getattr(self, modality)
        return picture

    @property
    def present(self) -> tuple[Modality, ...]:
        """The modalities that this sample has, in the order rgb, nir, tir."""
        return tuple(modality for modality in MODALITIES if self.picture(modality) is not None)


#: What a sample's fields are called: no attribute is, for where both become columns one would pass for the other.
FIELDS: Final = tuple(each.name for each in fields(Sample))
_AROUND: Final = " \t\r\n\"'`"


def is_field_name(name: str) -> bool:
    """Whether an attribute of this name could be taken for a field of a sample, by whoever passes over case and quotes."""
    return unicodedata.normalize("NFKC", name).strip(_AROUND).casefold() in FIELDS
