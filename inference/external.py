"""Foreign networks: any ReID ONNX becomes an embedder by a card beside it, `NAME.json` for
`NAME.onnx`.

The pixels of an input are `(pixel * scale - mean) / std`, in the layout and channel order that its
card names.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trireid.inference.card import VERSION, Card, FitMode, Resize, Segment
from trireid.inference.digest_cache import remember_digest
from trireid.inference.embedder import (
    Cameras,
    Embedder,
    Embeddings,
    Images,
    Present,
    Tokens,
    find_undirected,
    run_in_batches,
)
from trireid.inference.external_data import external_files
from trireid.inference.onnx_runtime import describe_runtime, first_line
from trireid.inference.protobuf import ProtobufError
from trireid.samples import KINDS, MODALITIES, ArtifactError, Kind, Modality
from trireid.samples.files import MAX_TEXT_BYTES, open_regular, read_regular
from trireid.samples.fitting import FITS, RESIZES

LAYOUTS: Final = ("NCHW", "NHWC")
CHANNELS: Final = ("RGB", "BGR", "GRAY")
_TYPES: Final = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}
_LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
_COLOURS: Final = 3
_CHUNK: Final = 1 << 20
#: By how much a number of an embedding, which is of unit length, may depend on the batch it was
#: made in.
_BATCH_MAY_CHANGE: Final = 1e-2
#: From which cosine on two images that have nothing in common are embedded alike.
_ALIKE: Final = 1 - 1e-5
#: Of what numbers networks take, from the darkest to the brightest pixel: [0, 1] by a std of 10 to
#: caffe's [0, 255].
_LEAST_RANGE: Final = 0.1
_MOST_RANGE: Final = 300.0
#: How near a mean that is not 0 may come to black, and how far beyond white it may lie, as shares
#: of the range.
_MEAN_SLACK: Final = 0.01
Numbers = tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Input:
    """One graph input: `name`, the modality it sees, and how it wants its pixels."""

    name: str
    modality: Modality
    layout: str = "NCHW"
    channels: str = "RGB"
    scale: float = 1 / 255
    mean: Numbers = (0.0,)
    std: Numbers = (1.0,)

    def pixels(
        self, pictures: NDArray[np.uint8], present: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Pictures uint8 [B, H, W, 3] as this input wants them, float32; those that are not present
        are zeros.
        """
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        pixels = (self._colours(pictures) * np.float32(self.scale) - mean) / std
        pixels[~present] = 0
        return np.ascontiguousarray(
            pixels.transpose(0, 3, 1, 2) if self.layout == "NCHW" else pixels, dtype=np.float32
        )

    def shape(self, height: int, width: int) -> tuple[int, ...]:
        """The shape of one picture in this input."""
        depth = 1 if self.channels == "GRAY" else _COLOURS
        return (depth, height, width) if self.layout == "NCHW" else (height, width, depth)

    @property
    def keeps_bytes(self) -> bool:
        """Whether pixels stay what they are."""
        return self.scale == 1 and set(self.mean) == {0} and set(self.std) == {1}

    def _colours(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        values = pictures.astype(np.float32)
        if self.channels == "GRAY":
            return (values @ _LUMA)[..., None]
        return values[..., ::-1] if self.channels == "BGR" else values


@dataclass(frozen=True, kw_only=True)
class ExternalCard:
    """What a foreign network is, as its JSON says it.

    `image_size`: pixels (height, width); `output`: of the embedding; `resize`, `fit`: see
    `trireid.samples.fitting`.
    """

    image_size: tuple[int, int]
    inputs: tuple[Input, ...]
    output: str
    name: str = ""
    kind: Kind | None = None
    version: int = VERSION
    resize: Resize = "bicubic"
    fit: FitMode = "stretch"

    @classmethod
    def read(cls, path: Path) -> ExternalCard:
        """Read and check the JSON. Raises ArtifactError, naming the file and the key."""
        try:
            values = json.loads(read_regular(path, MAX_TEXT_BYTES).decode())
        except (OSError, ValueError, RecursionError) as error:
            raise ArtifactError(
                f"{path}: not JSON that can be read: {error}", os.fspath(path)
            ) from error
        check = _Check(path)
        check.keys(values, cls, "the card")
        check.that(
            values.get("version", VERSION) == VERSION, "version", f"this trireid reads {VERSION}"
        )
        check.that(_sides(values["image_size"]), "image_size", "expected [height, width] in pixels")
        check.that(values.get("kind") in (None, *KINDS), "kind", f"expected {' or '.join(KINDS)}")
        check.that(
            isinstance(values["inputs"], list) and values["inputs"],
            "inputs",
            "expected a list of inputs",
        )
        check.that(
            isinstance(values["output"], str),
            "output",
            "expected the name of the output that is the embedding",
        )
        check.that(isinstance(values.get("name", ""), str), "name", "expected a text")
        for key, allowed in (("resize", tuple(RESIZES)), ("fit", FITS)):
            check.that(
                values.get(key, allowed[0]) in allowed, key, f"expected one of {', '.join(allowed)}"
            )
        inputs = tuple(_input(each, check) for each in values["inputs"])
        for key in ("modality", "name"):
            given = [getattr(each, key) for each in inputs]
            check.that(len(set(given)) == len(given), "inputs", f"two of them have one {key}")
        return cls(**{**values, "image_size": tuple(values["image_size"]), "inputs": inputs})

    def identity(self) -> str:
        """What the fingerprint covers, as JSON: all but the name."""
        values = asdict(replace(self, name=""))
        # added later: the fingerprint of a card without them must stay what it was
        for key in ("resize", "fit"):
            if values[key] == getattr(ExternalCard, key):
                del values[key]
        return json.dumps(values, sort_keys=True)


class ExternalEmbedder(Embedder):
    """A foreign network in ONNX Runtime. Raises ArtifactError where card and graph do not fit.

    A sample may lack one of several modalities, which is zeros then, but not all that the network
    sees.
    """

    def __init__(self, path: Path, made: Any) -> None:
        self._described = ExternalCard.read(card_path(path))
        self._session = made
        self._types = _checked_inputs(self._session, self._described, path)
        batch = self._session.get_inputs()[0].shape[0]
        self._fixed: int | None = batch if isinstance(batch, int) else None
        super().__init__(path, _make_card(self._described, self._tried(path), path))

    @property
    def runtime(self) -> str:
        """ONNX Runtime, its version and where it runs."""
        return describe_runtime(self._session)

    def run(self, images: Images, camera: Cameras, present: Present) -> tuple[Embeddings, Tokens]:
        """As of every embedder; the camera is not looked at, and there are no kept patches: tokens
        are int64 [B, 3, 0].
        """
        if self._fixed is None:
            return self._forward(images, camera, present)
        return run_in_batches(self._forward, images, camera, present, self._fixed, padded=True)

    def _forward(
        self, images: Images, camera: Cameras, present: Present
    ) -> tuple[Embeddings, Tokens]:
        feeds = {}
        for each in self._described.inputs:
            index = MODALITIES.index(each.modality)
            pixels = each.pixels(images[:, index], present[:, index])
            kind = self._types[each.name]
            feeds[each.name] = (
                pixels.round().clip(0, 255).astype(kind)
                if kind is np.uint8
                else pixels.astype(kind)
            )
        features = self._session.run([self._described.output], feeds)[0].astype(np.float32)
        flat = features.reshape(len(images), -1)
        with np.errstate(over="ignore", invalid="ignore"):  # `find_undirected` tells of it
            length = np.linalg.norm(flat, axis=1, keepdims=True)
            flat = flat / np.maximum(length, 1e-12)
        return flat, np.empty((len(images), len(MODALITIES), 0), np.int64)

    def _tried(self, path: Path) -> int:
        """The embedding's size, by a trial: shapes in foreign graphs often say nothing, or not what
        is so.

        An image is embedded alone and beside another one: a graph traced for one batch size or left
        in training mode, two common faults of exporters, runs and gives something else. So does a
        network that embeds all alike.
        """
        height, width = self._described.image_size
        images = _probe_images(height, width)
        present = np.ones((2, len(MODALITIES)), bool)
        try:
            alone, both = (
                self.run(images[:size], np.full(size, -1), present[:size])[0] for size in (1, 2)
            )
        except Exception as error:  # ONNX Runtime's own classes share no base but Exception
            why = f"does not run on batches of {height} x {width} pictures: {first_line(error)}"
            raise ArtifactError(f"{path}: {why}", os.fspath(path)) from error
        fault = _find_fault(alone, both)
        if fault:
            raise ArtifactError(f"{path}: {fault}", os.fspath(path))
        return int(alone.shape[1])


def _probe_images(height: int, width: int) -> Images:
    """Two images that differ in colour and in structure, in each modality: uint8 [2, 3, H, W, 3],
    neither black nor white.
    """
    images = np.empty((2, len(MODALITIES), height, width, 3), np.uint8)
    images[0, :, : height // 2], images[0, :, height // 2 :] = (200, 90, 50), (70, 40, 30)
    images[1, :, :, : width // 2], images[1, :, :, width // 2 :] = (40, 60, 120), (150, 190, 220)
    noise = np.random.default_rng(0).integers(0, 16, images.shape, dtype=np.uint8)
    return images + noise


def _find_fault(alone: Embeddings, both: Embeddings) -> str | None:
    """What is wrong with embeddings of the first probe alone [1, D] and of both [2, D], in words."""
    embeddings = np.concatenate([alone, both]) if alone.shape[1:] == both.shape[1:] else both
    if not np.isfinite(embeddings).all():
        return (
            "gives numbers that are not finite (NaN or infinite) for trial images; its weights are damaged, or its precision is"
            " too low for them: export it again, in float32"
        )
    if len(find_undirected(both)) == len(both):
        return "gives embeddings of length 0 for trial images; name another output in its card, or export it again"
    if alone.shape[1] != both.shape[1] or not np.abs(alone[0] - both[0]).max() <= _BATCH_MAY_CHANGE:
        return "embeds a picture differently where another is in its batch; export it in eval mode, batch dynamic"
    cosine = float(both[0].astype(np.float64) @ both[1].astype(np.float64))
    if cosine > _ALIKE:
        return (
            f"embeds two images that have nothing in common alike (cosine {cosine:.7f}): scale, mean and std in its card, its"
            " output, or its weights are not right"
        )
    return None


def card_path(path: Path) -> Path:
    """Where the card of a foreign network stands: beside it, `.json` for `.onnx`."""
    return path.with_suffix(".json")


class _Check:
    """Raises ArtifactErrors that name the file and the key."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def that(self, holds: Any, key: str, otherwise: str) -> None:
        if not holds:
            raise ArtifactError(f"{self.path}: {key}: {otherwise}", os.fspath(self.path))

    def keys(self, values: Any, kind: type[Any], what: str) -> None:
        """That `values` is a mapping with every key that `kind` asks for and none that it does not
        know.
        """
        self.that(isinstance(values, Mapping), what, "expected an object")
        known = {each.name: each for each in fields(kind)}
        unknown = values.keys() - known.keys()
        self.that(
            not unknown, ", ".join(sorted(unknown)), f"unknown; {what} knows {', '.join(known)}"
        )
        missing = [
            name for name, each in known.items() if each.default is MISSING and name not in values
        ]
        self.that(not missing, ", ".join(missing), f"missing in {what}")


def _input(values: Any, check: _Check) -> Input:
    check.keys(values, Input, "an input")
    name = values["name"]
    check.that(isinstance(name, str), "name", "expected the name of a graph input")
    for key, allowed in (("modality", MODALITIES), ("layout", LAYOUTS), ("channels", CHANNELS)):
        check.that(
            key not in values or values[key] in allowed,
            f"{name}: {key}",
            f"expected one of {', '.join(allowed)}",
        )
    check.that(_finite(values.get("scale", 1)), f"{name}: scale", "expected a number")
    depth = 1 if values.get("channels") == "GRAY" else _COLOURS
    for key in ("mean", "std"):
        numbers = values.get(key, [1])
        good = (
            isinstance(numbers, list) and len(numbers) in (1, depth) and all(map(_finite, numbers))
        )
        check.that(
            good,
            f"{name}: {key}",
            f"expected a list of {depth} numbers, in the order of the channels",
        )
    check.that(0 not in values.get("std", [1]), f"{name}: std", "is a divisor, and cannot be 0")
    numbers = {key: tuple(values[key]) for key in ("mean", "std") if key in values}
    made = Input(**{**values, **numbers})
    _check_statistics(made, check)
    return made


def _check_statistics(given: Input, check: _Check) -> None:
    """Check that mean and std can be those of pixels of 0 to 255 times the scale."""
    white = 255 * given.scale
    check.that(
        white,
        f"{given.name}: scale",
        "is a factor, and 0 makes every pixel the same; leave it out for 1/255",
    )
    least, most = sorted((0.0, white))
    slack = _MEAN_SLACK * (most - least)
    for mean in given.mean:
        key = f"{given.name}: mean"
        outside = f"{mean:g} lies outside 0 to 255 * scale = {white:.4g}{_hint(mean, white)}"
        check.that(least - slack <= mean <= most + slack, key, outside)
        nearly = f"{mean:g} is nearly black in pixels of 0 to 255 * scale = {white:.4g}{_hint(mean, white)}"
        check.that(mean == 0 or abs(mean) >= slack, key, nearly)
    for std in given.std:
        key = f"{given.name}: std"
        check.that(std > 0, key, f"{std:g} must be over 0")
        fits = _LEAST_RANGE <= (most - least) / std <= _MOST_RANGE
        check.that(
            fits,
            key,
            f"{std:g} does not fit pixels of 0 to 255 * scale = {white:.4g}{_hint(std, white)}",
        )


def _hint(value: float, white: float) -> str:
    """The likely slip: numbers for pixels of 0 to 255 with a scale for 0 to 1, or the other way
    round.
    """
    if value > 1 and abs(white) < 255:
        return '; did you mean "scale": 1?'
    if 0 < value <= 1 and abs(white) > 1:
        return '; did you mean to leave "scale" out (1/255)?'
    return "; give scale, mean and std in one unit"


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _sides(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(type(side) is int and side > 0 for side in value)
    )


def _checked_inputs(made: Any, card: ExternalCard, path: Path) -> dict[str, type[Any]]:
    """The element type of each input.

    Raises ArtifactError where the graph's inputs and output are not the card's.
    """
    check = _Check(path)
    graph, described = (
        {each.name: each for each in made.get_inputs()},
        {each.name: each for each in card.inputs},
    )
    check.that(
        graph.keys() == described.keys(),
        "inputs",
        f"the graph has {_names(graph)}, its card {_names(described)}",
    )
    outputs = [each.name for each in made.get_outputs()]
    check.that(
        card.output in outputs, "output", f"the graph has {_names(outputs)}, not {card.output}"
    )
    for name, each in graph.items():
        check.that(
            each.type in _TYPES, name, f"takes {each.type}; float, float16 and uint8 are known"
        )
        wanted = described[name].shape(*card.image_size)
        fits = len(each.shape) == 4 and all(
            not isinstance(has, int) or has == want
            for has, want in zip(each.shape[1:], wanted, strict=True)
        )
        check.that(
            each.type != "tensor(uint8)" or described[name].keeps_bytes,
            name,
            'takes bytes of 0 to 255: its card needs "scale": 1, and no mean and std',
        )
        check.that(
            fits,
            name,
            f"the graph takes {each.shape}, its card says [B, {', '.join(map(str, wanted))}]",
        )
    return {name: _TYPES[each.type] for name, each in graph.items()}


def _names(values: Sequence[str] | Mapping[str, Any]) -> str:
    return ", ".join(sorted(values)) or "none"


def _make_card(described: ExternalCard, dimension: int, path: Path) -> Card:
    """The card that gallery and service see.

    The fingerprint is over its files, and its card but for the name.
    """
    modalities = tuple(
        name for name in MODALITIES if name in {each.modality for each in described.inputs}
    )
    height, width = described.image_size
    return Card(
        name=described.name or path.stem,
        kind=described.kind or ("person" if height >= width else "vehicle"),
        image_size=described.image_size,
        grid=(0, 0),
        selected_patches=0,
        cameras=0,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        dimension=dimension,
        segments=(Segment("+".join(modalities), "global", 0, dimension),),
        precision="foreign",
        modalities=modalities,
        resize=described.resize,
        fit=described.fit,
        fingerprint=_fingerprint(described, path),
    )


def _fingerprint(described: ExternalCard, path: Path) -> str:
    identity = described.identity()

    def compute() -> str:
        digest = hashlib.sha256(identity.encode())
        for name in files:
            with open_regular(name) as file:
                while part := file.read(_CHUNK):
                    digest.update(part)
        return digest.hexdigest()

    try:
        files = [path, *external_files(path)]
        return remember_digest(identity, files, compute)
    except (OSError, ProtobufError) as error:
        raise ArtifactError(
            f"{path}: its weights cannot be read for the fingerprint: {error}", os.fspath(path)
        ) from error
