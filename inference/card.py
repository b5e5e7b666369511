"""The card: what a network is. It travels in the artifact's metadata, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import numpy as np

from trireid.samples import MODALITIES, ArtifactError, Kind
from trireid.samples.fitting import FITS, RESIZES, Fit

#: The metadata key of an ONNX file under which the card stands.
METADATA_KEY: Final = "trireid.card"
VERSION: Final = 1
#: The interface of every artifact's graph.
INPUTS: Final = ("images", "camera", "present")
OUTPUTS: Final = ("embedding", "tokens")
_COLOURS: Final = 3
#: The stages of the way from pixels to embedding: normalised pixels [B, 3, 3, H, W], the backbone's
#: tokens [B, 3, 1 + N, C], SDTPS scores [B, 3, N], kept patches int64 [B, 3, K], the embedding [B,
#: D].
STAGES: Final = ("input", "tokens", "scores", "kept", "embedding")
#: What a stage that is no output is called inside an artifact's graph.
INNER_STAGES: Final = {"input": "stage.input", "tokens": "stage.tokens", "scores": "stage.scores"}


@dataclass(frozen=True)
class Segment:
    """The part `[start, stop)` of an embedding that one modality (or several, `rgb+nir`) and branch
    (`global`, `head`) made.
    """

    modality: str
    branch: str
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a network is.

    `image_size` in pixels (height, width); `grid`: rows and columns of patches; `kept`: K, patches
    kept per modality; `cameras`: number of camera embeddings, 0 for none; `mean`, `std` of pixels
    in [0, 1], already in the graph; `fingerprint`: SHA-256 over weights and card; `measured`:
    figures from export and training, which the fingerprint does not cover; `content`: SHA-256 over
    the artifact's own file (`trireid.inference.content`), empty if there is none; `resize`, `fit`:
    how an image is brought to the size (`trireid.samples.fitting`), of an external model in its
    fingerprint by its own card.
    """

    name: str
    kind: Kind | None
    image_size: tuple[int, int]
    grid: tuple[int, int]
    kept: int
    cameras: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    dimension: int
    segments: tuple[Segment, ...]
    precision: str = "fp32"
    modalities: tuple[str, ...] = MODALITIES
    fingerprint: str = ""
    content: str = ""
    measured: Mapping[str, Any] = field(default_factory=dict)
    version: int = VERSION
    resize: str = "bicubic"
    fit: str = "stretch"

    @property
    def fitting(self) -> Fit:
        """How an image is brought to the network's size."""
        return Fit(self.image_size, self.resize, self.fit)

    @property
    def patches(self) -> int:
        """N, how many patches there are to choose from."""
        return self.grid[0] * self.grid[1]

    def to_json(self) -> str:
        """The card as JSON, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)

    def identity(self) -> str:
        """What of the card the fingerprint covers, as JSON: all but the digests, the name and the
        measurements.
        """
        values = asdict(replace(self, name="", fingerprint="", measured={}))
        # a fingerprint must stay what it was before they were added
        for later in ("content", "resize", "fit"):
            del values[later]
        return json.dumps(values, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, source: str) -> Card:
        """Read a card back.

        Raises ArtifactError, naming `source`, for a card of another version or shape.
        """
        try:
            values = json.loads(text)
            if values.get("version") != VERSION:
                raise ArtifactError(
                    f"{source}: its card has version {values.get('version')}, this trireid reads {VERSION}; export it anew",
                    source,
                )
            for name in ("image_size", "grid", "mean", "std", "modalities"):
                values[name] = tuple(values[name])
            values["segments"] = tuple(Segment(**segment) for segment in values["segments"])
            card = cls(**values)
            if card.resize not in RESIZES or card.fit not in FITS:
                raise TypeError(f"resize {card.resize!r} or fit {card.fit!r} is not known")
            return card
        except (json.JSONDecodeError, AttributeError, KeyError, TypeError, RecursionError) as error:
            raise ArtifactError(f"{source}: its card cannot be read: {error}", source) from error


def interface(card: Card) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
    """The shape of one sample and the type of each input and output, in the order of the graph."""
    height, width = card.image_size
    many = len(MODALITIES)
    return {
        "images": ((many, height, width, _COLOURS), np.uint8),
        "camera": ((), np.int64),
        "present": ((many,), np.bool_),
        "embedding": ((card.dimension,), np.float32),
        "tokens": ((many, card.kept), np.int64),
    }
