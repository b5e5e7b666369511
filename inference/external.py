"""External models: any ReID ONNX becomes an embedder by a card next to it, `NAME.json` for
`NAME.onnx`.

The pixels of an input are `(pixel * scale - mean) / std`, in the layout and channel order that its
card names.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from trireid.inference.card import STRICT, Card, FitMode, Resize, Segment, explain
from trireid.inference.digest_cache import remember_digest
from trireid.inference.embedder import (
    Cameras,
    Embeddings,
    Images,
    LoadOptions,
    Present,
    Tokens,
    find_undirected,
)
from trireid.inference.onnx_file import ProtobufError, external_card_path, find_weight_files
from trireid.inference.onnx_runtime import SessionEmbedder, first_line, open_session
from trireid.samples import MODALITIES, ArtifactError, Kind, Modality
from trireid.samples.files import MAX_TEXT_BYTES, open_regular, read_regular

_TYPES: Final = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}
_LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
_CHANNELS: Final = 3
_CHUNK: Final = 1 << 20
#: By how much a number of an embedding, which is of unit length, may depend on the batch it was
#: made in.
_BATCH_MAY_CHANGE: Final = 1e-2
#: From which cosine on two images that have nothing in common are embedded alike.
_ALIKE: Final = 1 - 1e-5
#: The range of the numbers that networks take, from the darkest to the brightest pixel: [0, 1] by a
#: std of 10 to caffe's [0, 255].
_LEAST_RANGE: Final = 0.1
_MOST_RANGE: Final = 300.0
#: How near a mean that is not 0 may come to black, and how far beyond white it may lie, as shares
#: of the range.
_MEAN_SLACK: Final = 0.01
_LARGEST: Final = 1e9
#: Whole numbers stay whole: the fingerprint is over the card as it is written.
Number = Annotated[int | float, Field(ge=-_LARGEST, le=_LARGEST)]
Side = Annotated[int, Field(gt=0)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Input:
    """One graph input: `name`, the modality it sees, and the form of its pixels."""

    name: str
    modality: Modality
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    channels: Literal["RGB", "BGR", "GRAY"] = "RGB"
    scale: Number = 1 / 255
    mean: tuple[Number, ...] = (0.0,)
    std: tuple[Number, ...] = (1.0,)

    @model_validator(mode="after")
    def _check_statistics(self) -> Self:
        """Check that mean and std can be those of pixels of 0 to 255 times the scale."""
        if not self.scale:
            raise _reject(
                "scale", "is a factor, and 0 makes every pixel the same; leave it out for 1/255"
            )
        depth = 1 if self.channels == "GRAY" else _CHANNELS
        for key, values, check in (("mean", self.mean, _check_mean), ("std", self.std, _check_std)):
            problems = [check(value, 255 * self.scale) for value in values]
            if len(values) not in (1, depth):
                problems = [f"expected a list of {depth} numbers, in the order of the channels"]
            for problem in filter(None, problems):
                raise _reject(key, problem)
        return self

    def prepare(self, images: NDArray[np.uint8], present: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return images uint8 [B, H, W, 3] in the form of this input, float32; those that are not
        present are zeros.
        """
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        pixels = (self._convert_colours(images) * np.float32(self.scale) - mean) / std
        pixels[~present] = 0
        ordered = pixels.transpose(0, 3, 1, 2) if self.layout == "NCHW" else pixels
        return np.ascontiguousarray(ordered, dtype=np.float32)

    def shape(self, height: int, width: int) -> tuple[int, ...]:
        """Return the shape of one image in this input."""
        depth = 1 if self.channels == "GRAY" else _CHANNELS
        return (depth, height, width) if self.layout == "NCHW" else (height, width, depth)

    @property
    def keeps_bytes(self) -> bool:
        """Whether pixels stay as they are."""
        return self.scale == 1 and set(self.mean) == {0} and set(self.std) == {1}

    def _convert_colours(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        values = images.astype(np.float32)
        if self.channels == "GRAY":
            return (values @ _LUMA)[..., None]
        return values[..., ::-1] if self.channels == "BGR" else values


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ExternalCard:
    """An external model's description, as its JSON gives it.

    `image_size`: pixels (height, width); `output`: of the embedding; `resize`, `fit`: see
    `trireid.samples.fitting`.
    """

    image_size: tuple[Side, Side]
    inputs: tuple[Input, ...]
    output: str
    name: str = ""
    kind: Kind | None = None
    version: Literal[1] = 1
    resize: Resize = "bicubic"
    fit: FitMode = "stretch"

    @field_validator("inputs")
    @classmethod
    def _check_inputs(cls, inputs: tuple[Input, ...]) -> tuple[Input, ...]:
        if not inputs:
            raise _reject("", "expected a list of inputs")
        for key in ("modality", "name"):
            if len({getattr(each, key) for each in inputs}) < len(inputs):
                raise _reject("", f"two of them have one {key}")
        return inputs

    @classmethod
    def read(cls, path: Path) -> ExternalCard:
        """Read and check the JSON. Raises ArtifactError, naming the file and the key."""
        name = os.fspath(path)
        try:
            return _ADAPTER.validate_json(read_regular(path, MAX_TEXT_BYTES))
        except OSError as error:
            raise ArtifactError(f"{name}: not JSON that can be read: {error}", name) from error
        except ValidationError as error:
            raise ArtifactError(f"{name}: {explain(error)} (see docs/external.md)", name) from error

    def identity(self) -> str:
        """Return the part that the fingerprint covers, as JSON: all but the name."""
        values = asdict(replace(self, name=""))
        # added later: the fingerprint of a card without them must stay what it was
        for key, default in (("resize", "bicubic"), ("fit", "stretch")):
            if values[key] == default:
                del values[key]
        return json.dumps(values, sort_keys=True)


_ADAPTER: Final = TypeAdapter(ExternalCard)


def _reject(key: str, problem: str) -> PydanticCustomError:
    return PydanticCustomError("card", "{problem}", {"key": key, "problem": problem})


def _check_mean(mean: float, white: float) -> str | None:
    least, most = sorted((0.0, white))
    slack = _MEAN_SLACK * (most - least)
    pixels = f"0 to 255 * scale = {white:.4g}{_hint(mean, white)}"
    if not least - slack <= mean <= most + slack:
        return f"{mean:g} lies outside {pixels}"
    if mean and abs(mean) < slack:
        return f"{mean:g} is nearly black in pixels of {pixels}"
    return None


def _check_std(std: float, white: float) -> str | None:
    if std == 0:
        return "is a divisor, and cannot be 0"
    if std < 0:
        return f"{std:g} must be over 0"
    if not _LEAST_RANGE <= abs(white) / std <= _MOST_RANGE:
        return f"{std:g} does not fit pixels of 0 to 255 * scale = {white:.4g}{_hint(std, white)}"
    return None


def _hint(value: float, white: float) -> str:
    """The likely slip: numbers for pixels of 0 to 255 with a scale for 0 to 1, or the other way
    round.
    """
    if value > 1 and abs(white) < 255:
        return '; did you mean "scale": 1?'
    if 0 < value <= 1 and abs(white) > 1:
        return '; did you mean to leave "scale" out (1/255)?'
    return "; give scale, mean and std in one unit"


class ExternalEmbedder(SessionEmbedder):
    """An external model in ONNX Runtime.

    A sample may lack one of several modalities, which is zeros then, but not all that the network
    sees.

    Raises:
        ArtifactError: Card and graph do not fit.
    """

    def __init__(self, path: Path, session: Any) -> None:
        super().__init__(session)
        self._described = ExternalCard.read(external_card_path(path))
        self._types = _check_graph(session, self._described, path)
        self.path, self.card = path, _make_card(self._described, self._probe(path), path)

    def _forward(
        self, images: Images, camera: Cameras, present: Present
    ) -> tuple[Embeddings, Tokens]:
        """Run the graph: the camera is not used, and there are no selected patches, int64 [B, 3,
        0].
        """
        feeds = {}
        for each in self._described.inputs:
            index = MODALITIES.index(each.modality)
            pixels = each.prepare(images[:, index], present[:, index])
            kind = self._types[each.name]
            values = pixels.round().clip(0, 255) if kind is np.uint8 else pixels
            feeds[each.name] = values.astype(kind)
        features = self._session.run([self._described.output], feeds)[0].astype(np.float32)
        flat = features.reshape(len(images), -1)
        with np.errstate(over="ignore", invalid="ignore"):  # `find_undirected` tells of it
            length = np.linalg.norm(flat, axis=1, keepdims=True)
            flat = flat / np.maximum(length, 1e-12)
        return flat, np.empty((len(images), len(MODALITIES), 0), np.int64)

    def _probe(self, path: Path) -> int:
        """Return the embedding's size, measured: the shapes in such graphs are often absent or
        wrong.

        An image is embedded alone and together with another one: a graph traced for one batch size
        or left in training mode, two common errors of exporters, runs and gives something else. So
        does a network that embeds all alike.
        """
        height, width = self._described.image_size
        images = _draw_probe_images(height, width)
        present = np.ones((2, len(MODALITIES)), bool)
        try:
            alone, both = (
                self.run(images[:size], np.full(size, -1), present[:size])[0] for size in (1, 2)
            )
        except Exception as error:  # ONNX Runtime's own classes share no base but Exception
            why = f"does not run on batches of {height} x {width} images: {first_line(error)}"
            raise ArtifactError(f"{path}: {why}", os.fspath(path)) from error
        problem = _find_problem(alone, both)
        if problem:
            raise ArtifactError(f"{path}: {problem}", os.fspath(path))
        return int(alone.shape[1])


def load(file: Path, options: LoadOptions) -> ExternalEmbedder:
    """Open an external model. Raises as `open_session` and `ExternalEmbedder`."""
    return ExternalEmbedder(file, open_session(file, options.threads, options.provider))


def _draw_probe_images(height: int, width: int) -> Images:
    """Two images that differ in colour and in structure, in each modality: uint8 [2, 3, H, W, 3],
    neither black nor white.
    """
    images = np.empty((2, len(MODALITIES), height, width, 3), np.uint8)
    images[0, :, : height // 2], images[0, :, height // 2 :] = (200, 90, 50), (70, 40, 30)
    images[1, :, :, : width // 2], images[1, :, :, width // 2 :] = (40, 60, 120), (150, 190, 220)
    noise = np.random.default_rng(0).integers(0, 16, images.shape, dtype=np.uint8)
    return images + noise


def _find_problem(alone: Embeddings, both: Embeddings) -> str | None:
    """Return the problem of embeddings of the first probe alone [1, D] and of both [2, D]."""
    embeddings = np.concatenate([alone, both]) if alone.shape[1:] == both.shape[1:] else both
    if not np.isfinite(embeddings).all():
        return (
            "gives numbers that are not finite (NaN or infinite) for probe images; its weights are"
            " damaged, or its precision is too low for them: export it again, in float32"
        )
    if len(find_undirected(both)) == len(both):
        return (
            "gives embeddings of length 0 for probe images; name another output in its card, or"
            " export it again"
        )
    if alone.shape[1] != both.shape[1] or not np.abs(alone[0] - both[0]).max() <= _BATCH_MAY_CHANGE:
        return (
            "embeds an image differently if another is in its batch; export it in eval mode, batch"
            " dynamic"
        )
    cosine = float(both[0].astype(np.float64) @ both[1].astype(np.float64))
    if cosine > _ALIKE:
        return (
            f"embeds two images that have nothing in common alike (cosine {cosine:.7f}): scale,"
            " mean and std in its card, its output, or its weights are not right"
        )
    return None


def _check_graph(session: Any, card: ExternalCard, path: Path) -> dict[str, type[Any]]:
    """Return the element type of each input.

    Raises ArtifactError if the graph's inputs and output are not the card's.
    """
    graph = {each.name: each for each in session.get_inputs()}
    described = {each.name: each for each in card.inputs}
    outputs = {each.name for each in session.get_outputs()}
    problem = None
    if graph.keys() != described.keys():
        problem = f"inputs: the graph has {_join(set(graph))}, its card {_join(set(described))}"
    elif card.output not in outputs:
        problem = f"output: the graph has {_join(outputs)}, not {card.output}"
    problems = [problem] if problem else []
    problems = problems or [
        f"{name}: {each}"
        for name, value in graph.items()
        if (each := _check_input(value, described[name], card.image_size))
    ]
    if problems:
        raise ArtifactError(f"{path}: {problems[0]}", os.fspath(path))
    return {name: _TYPES[each.type] for name, each in graph.items()}


def _check_input(given: Any, described: Input, image_size: tuple[int, int]) -> str | None:
    """Return why an input of a graph is not the card's, or None."""
    if given.type not in _TYPES:
        return f"takes {given.type}; float, float16 and uint8 are known"
    if given.type == "tensor(uint8)" and not described.keeps_bytes:
        return 'takes bytes of 0 to 255: its card needs "scale": 1, and no mean and std'
    wanted = described.shape(*image_size)
    fits = len(given.shape) == 4 and all(
        not isinstance(has, int) or has == want
        for has, want in zip(given.shape[1:], wanted, strict=True)
    )
    said = ", ".join(map(str, wanted))
    return None if fits else f"the graph takes {given.shape}, its card says [B, {said}]"


def _join(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _make_card(described: ExternalCard, dimension: int, path: Path) -> Card:
    """The card that gallery and service see; the fingerprint is over the files, and the card but
    for the name.
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
        # stands in the records of galleries
        precision="foreign",
        modalities=modalities,
        resize=described.resize,
        fit=described.fit,
        fingerprint=_compute_fingerprint(described, path),
    )


def _compute_fingerprint(described: ExternalCard, path: Path) -> str:
    identity = described.identity()

    def compute() -> str:
        digest = hashlib.sha256(identity.encode())
        for name in files:
            with open_regular(name) as file:
                while part := file.read(_CHUNK):
                    digest.update(part)
        return digest.hexdigest()

    try:
        files = [path, *find_weight_files(path)]
        return remember_digest(identity, files, compute)
    except (OSError, ProtobufError) as error:
        raise ArtifactError(
            f"{path}: its weights cannot be read for the fingerprint: {error}", os.fspath(path)
        ) from error
