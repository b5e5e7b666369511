"""The card: a network's own description. It travels in the artifact's metadata, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, field, replace
from typing import Any, Final, Literal

import numpy as np
from pydantic import AliasChoices, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from trireid.samples import MODALITIES, ArtifactError, Kind, Modality
from trireid.samples.fitting import Fit

#: The metadata key of an ONNX file under which the card stands.
METADATA_KEY: Final = "trireid.card"
VERSION: Final = 1
#: The interface of every artifact's graph.
INPUTS: Final = ("images", "camera", "present")
OUTPUTS: Final = ("embedding", "tokens")
_CHANNELS: Final = 3
#: The stages of the way from pixels to embedding: normalised pixels [B, 3, 3, H, W], the backbone's
#: tokens [B, 3, 1 + N, C], SDTPS scores [B, 3, N], selected patches int64 [B, 3, K], the embedding
#: [B, D].
STAGES: Final = ("input", "tokens", "scores", "selected_patches", "embedding")
#: The name of an inner stage in an artifact's graph.
INNER_STAGES: Final = {"input": "stage.input", "tokens": "stage.tokens", "scores": "stage.scores"}

Resize = Literal["bicubic", "bilinear", "area"]
FitMode = Literal["stretch", "letterbox"]
#: How cards are validated: no conversions, no unknown keys, no NaN.
STRICT: Final = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
_MAX_SHOWN: Final = 60
_MESSAGES: Final = {"missing": "is missing", "unexpected_keyword_argument": "is not a known key"}
#: Types of validation errors whose message says all.
_COMPLETE: Final = (*_MESSAGES, "json_invalid", "card")


@dataclass(frozen=True, config=STRICT)
class Segment:
    """The part `[start, stop)` of an embedding that one modality (or several, `rgb+nir`) and branch
    (`global`, `head`) made.
    """

    modality: str
    branch: str
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Card:
    """A network's description.

    `image_size` in pixels (height, width); `grid`: rows and columns of patches; `selected_patches`:
    K per modality, `kept` in JSON; `cameras`: number of camera embeddings, 0 for none; `mean`,
    `std` of pixels in [0, 1], already in the graph; `fingerprint`: SHA-256 over weights and card;
    `measured`: figures from export and training, which the fingerprint does not cover; `content`:
    SHA-256 over the artifact's own file (`trireid.inference.content`), empty if there is none;
    `resize`, `fit`: how an image is brought to the size (`trireid.samples.fitting`), of an external
    model in its fingerprint by its own card; `license`: of the weights and of those they began
    with, absent from JSON if it is empty.
    """

    name: str
    kind: Kind | None
    image_size: tuple[int, int]
    grid: tuple[int, int]
    selected_patches: int = Field(validation_alias=AliasChoices("selected_patches", "kept"))
    cameras: int
    mean: tuple[int | float, int | float, int | float]
    std: tuple[int | float, int | float, int | float]
    dimension: int
    segments: tuple[Segment, ...]
    precision: str = "fp32"
    modalities: tuple[Modality, ...] = MODALITIES
    fingerprint: str = ""
    content: str = ""
    measured: Mapping[str, Any] = field(default_factory=dict)
    version: int = VERSION
    resize: Resize = "bicubic"
    fit: FitMode = "stretch"
    license: str = ""

    @property
    def fitting(self) -> Fit:
        """How an image is brought to the network's size."""
        return Fit(self.image_size, self.resize, self.fit)

    @property
    def kept(self) -> int:
        """The old name of `selected_patches`, for one minor version."""
        return self.selected_patches

    @property
    def patches(self) -> int:
        """N, how many patches there are to choose from."""
        return self.grid[0] * self.grid[1]

    def to_json(self) -> str:
        """Return the card as JSON, keys sorted."""
        return json.dumps(_to_mapping(self), sort_keys=True)

    def identity(self) -> str:
        """Return the part of the card that the fingerprint covers, as JSON: all but the digests,
        the name, the measurements and the license.
        """
        values = _to_mapping(replace(self, name="", fingerprint="", measured={}))
        # a fingerprint must stay what it was before they were added
        for later in ("content", "resize", "fit", "license"):
            values.pop(later, None)
        return json.dumps(values, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, source: str) -> Card:
        """Read a card.

        Args:
            text: JSON, as `to_json` gives it; `selected_patches` is also read as `kept`.
            source: The file's name, for errors.

        Raises:
            ArtifactError: the card is of another version or shape, in one line that names the key.
        """
        try:
            card = _ADAPTER.validate_json(text)
            version = card.version
        except ValidationError as error:
            version = _find_version(text)
            if version == VERSION:
                raise ArtifactError(
                    f"{source}: its card cannot be read: {explain(error)}; export it again", source
                ) from error
        if version != VERSION:
            raise ArtifactError(
                f"{source}: its card has version {version}, this trireid reads {VERSION};"
                " export it again",
                source,
            )
        return card


_ADAPTER: Final = TypeAdapter(Card)


def explain(error: ValidationError) -> str:
    """Return the first problem of a validation in one line: the key, the problem, the value."""
    problem = error.errors(include_url=False)[0]
    inner = problem.get("ctx", {}).get("key")
    key = ".".join(map(str, (*problem["loc"], *([inner] if inner else []))))
    message = _MESSAGES.get(problem["type"], problem["msg"])
    message = message.replace("Input should be", "expected").replace("Invalid JSON", "not JSON")
    if problem["type"] not in _COMPLETE:
        value = repr(problem["input"])
        shown = value if len(value) <= _MAX_SHOWN else f"{value[:_MAX_SHOWN]}..."
        message = f"{message}, not {shown}"
    return f"{key}: {message}" if key else message


def _to_mapping(card: Card) -> dict[str, Any]:
    values = asdict(card)
    # the key of every file and fingerprint so far
    values["kept"] = values.pop("selected_patches")
    if not card.license:
        del values["license"]  # versions before it know no such key
    return values


def _find_version(text: str) -> Any:
    """The version that a card which cannot be read says it has; ours if it says none."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return VERSION
    return values.get("version", VERSION) if isinstance(values, dict) else VERSION


def interface(card: Card) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
    """Return the shape of one sample and the type, of each input and output in order."""
    height, width = card.image_size
    count = len(MODALITIES)
    return {
        "images": ((count, height, width, _CHANNELS), np.uint8),
        "camera": ((), np.int64),
        "present": ((count,), np.bool_),
        "embedding": ((card.dimension,), np.float32),
        "tokens": ((count, card.selected_patches), np.int64),
    }
