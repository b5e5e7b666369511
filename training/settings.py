"""The settings of a training run, with their defaults, read from YAML.

pydantic checks types, ranges and unknown keys; each error becomes one line that names the key.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from os import PathLike
from typing import Annotated, Any, ClassVar, Final, Literal, get_type_hints

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from trireid.models import Head, NetworkConfig, read_yaml
from trireid.models.sdtps import AttentionGradient, Gumbel
from trireid.samples import ConfigError
from trireid.training.augment import Augmentation, Share

log = logging.getLogger(__name__)

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
#: Of these, one is too few: see `_REASONS`.
AtLeastTwo = Annotated[int, Field(ge=2)]
#: 1 global, 2 head, 3 both.
Pattern = Annotated[int, Field(ge=1, le=3)]
Weight = Annotated[float, Field(ge=0)]


def _check_varied(value: object) -> object:
    """Refuse what is neither of the two types before the union names each of them apart."""
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return tuple(value)
    if isinstance(value, bool):
        return value
    message = f"must be true, false or a list of switches, as in [pose, light], not {value!r}"
    raise ConfigError(message, "data.varied")


Varied = Annotated[bool | tuple[str, ...], BeforeValidator(_check_varied)]


class OptimizerName(StrEnum):
    """Adam, as the research code trains; AdamW for training from scratch."""

    ADAM = "adam"
    ADAMW = "adamw"


class Precision(StrEnum):
    """Of activations and gradients while training.

    `EMULATED` rounds float32 to float16's values (`trireid.training.runtime`).
    """

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    EMULATED = "emulated-float16"


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """`source`: a SOURCE; `validation_identities` of it are for validation; `test`: a SOURCE to
    measure the best checkpoint on.

    `world`, `shots`, `varied`: of a synthetic source, its seed, images per camera, and whether (or
    in which switches) it is the wider world that is more like real images. A synthetic `source`
    takes the world's training identities, a synthetic `test` its test identities. `cache`: a folder
    for decoded images. `allow_outside`: a manifest's images may lie outside its folder.
    """

    source: str
    validation_identities: AtLeastTwo = 16
    test: str | None = None
    world: Count = 0
    shots: Positive = 2
    varied: Varied = False
    cache: str | None = None
    allow_outside: bool = False


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """`identities` (P) x `samples` (K); `size`: samples per step, a multiple of P x K, which is
    the default.
    """

    identities: AtLeastTwo = 8
    samples: AtLeastTwo = 4
    size: int | None = None


@dataclass(frozen=True, kw_only=True)
class SdtpsSettings:
    """How the SDTPS head trains: see `trireid.models.sdtps`."""

    attention_gradient: AttentionGradient = AttentionGradient.FULL
    gumbel: Gumbel = Gumbel.OFF
    tau: Annotated[float, Field(ge=1e-3)] = 1.0


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """Weights of the losses on each branch; `margin`: of the triplet loss, None for the soft one;
    `temperature`: of the supervised contrastive loss, which divides its cosines.

    `center`: weight of the features' common part, which spreads their cosines
    (`trireid.training.losses.center_share`). `segments`: weight of the triplet and contrastive
    losses on each segment of C channels apart, which is compared where modalities are missing.
    """

    identity: Weight = 0.25
    triplet: Weight = 1.0
    contrastive: Weight = 0.0
    center: Weight = 0.0
    segments: Weight = 0.0
    margin: float | None = None
    temperature: Annotated[float, Field(ge=1e-2)] = 0.1
    label_smoothing: Share = 0.1


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """Learning rates and decay; `backbone_lr` None: `lr` (a backbone from scratch). `frozen`: the
    backbone is not trained at all; `frozen_blocks`: its lowest blocks and what comes before them
    are not.

    `bias_factor`: on the learning rate of the biases outside the backbone. `decay_vectors`: weight
    decay on biases and norms too. `clip`: largest gradient norm of the network, None for no limit.
    """

    name: OptimizerName = OptimizerName.ADAM
    lr: Weight = 3.5e-4
    backbone_lr: Weight | None = 5e-6
    frozen: bool = False
    frozen_blocks: Count = 0
    bias_factor: Weight = 2.0
    weight_decay: Weight = 1e-4
    decay_vectors: bool = True
    clip: Annotated[float, Field(ge=1e-12)] | None = None


@dataclass(frozen=True, kw_only=True)
class ScheduleSettings:
    """Linear warm-up from `warmup_lr` (every group's, None: a tenth of its own), then a cosine to
    0.001 of the learning rate.

    `steps_per_epoch` None: as many as draw every identity once. `sdtps_delay_epochs`: epochs that
    train `ori` alone.
    """

    epochs: Positive = 50
    warmup_epochs: Count = 3
    warmup_lr: Weight | None = 3.5e-5
    steps_per_epoch: Positive | None = None
    sdtps_delay_epochs: Count = 0


@dataclass(frozen=True, kw_only=True)
class RuntimeSettings:
    """`device`; `threads` of PyTorch on the CPU, None for its own choice."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Precision = Precision.FLOAT32
    compile: bool = False
    threads: Positive | None = None


@dataclass(frozen=True, kw_only=True)
class LoggingSettings:
    """`evaluate_every` and `diagnose_every` in epochs (0: never), `save_every` in steps.

    `patterns`: of the embedding, that evaluation reports; `loss_limit`: a loss above it counts as
    diverged; `tensorboard`: write event files, too.
    """

    evaluate_every: Count = 5
    patterns: Annotated[tuple[Pattern, ...], Field(min_length=1)] = (1, 2, 3)
    diagnose_every: Count = 0
    save_every: Positive = 50
    loss_limit: float = 1000.0
    tensorboard: bool = True


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One training run. `pretrained`: the weights to begin with (CLIP's, timm's, a checkpoint of
    the family), None for none.

    `pretrained_weights`: which of its sets of weights, if it holds several, as in `ema`.

    Raises:
        ConfigError: Two settings contradict each other, or one makes another idle.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    network: NetworkConfig
    data: DataSettings
    pretrained: str | None = None
    pretrained_weights: str | None = None
    batch: BatchSettings = field(default_factory=BatchSettings)
    sdtps: SdtpsSettings = field(default_factory=SdtpsSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    augmentation: Augmentation = field(default_factory=Augmentation)
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)
    logging: LoggingSettings = field(default_factory=LoggingSettings)
    seed: Count = 0

    def __post_init__(self) -> None:
        for key, message in self._find_contradictions():
            raise ConfigError(f"{key}: {message}", key)

    def _find_contradictions(self) -> Iterator[tuple[str, str]]:
        batch = self.batch
        group = batch.identities * batch.samples
        if batch.size is not None and (batch.size < group or batch.size % group):
            yield (
                "batch.size",
                f"{batch.size} is not a multiple of {batch.identities} identities x "
                f"{batch.samples} samples = {group}",
            )
        if self.pretrained_weights is not None and self.pretrained is None:
            yield "pretrained_weights", "names a set of weights of pretrained; set pretrained, too"
        if self.optimizer.frozen and self.pretrained is None:
            yield "optimizer.frozen", "a frozen backbone needs pretrained weights; set pretrained"
        yield from self._find_frozen_contradictions()
        if self.network.head is Head.NONE and self.schedule.sdtps_delay_epochs:
            yield "schedule.sdtps_delay_epochs", "the network has no head to delay"
        yield from self._find_idle_keys()

    def _find_frozen_contradictions(self) -> Iterator[tuple[str, str]]:
        key, blocks = "optimizer.frozen_blocks", self.optimizer.frozen_blocks
        if blocks and self.pretrained is None:
            yield key, "frozen blocks need pretrained weights; set pretrained"
        if blocks and self.optimizer.frozen:
            yield key, "has no effect: optimizer.frozen is true"
        if blocks > self.network.depth:
            yield key, f"{blocks}, but the backbone has {self.network.depth} blocks"

    def _find_idle_keys(self) -> Iterator[tuple[str, str]]:
        """Find keys that have no effect because of another, where they were changed."""
        if self.network.head is not Head.SDTPS and self.sdtps != SdtpsSettings():
            yield "sdtps", f"has no effect: network.head is {self.network.head}"
        if self.sdtps.gumbel is Gumbel.OFF and self.sdtps.tau != SdtpsSettings.tau:
            yield "sdtps.tau", "has no effect: sdtps.gumbel is off"
        if self.augmentation.drop_together and not self.augmentation.drop_modality:
            yield "augmentation.drop_together", "has no effect: augmentation.drop_modality is 0"
        sources = (self.data.source, self.data.test or "")
        if not any(source.startswith("synthetic:") for source in sources):
            for key in ("world", "shots", "varied"):
                if getattr(self.data, key) != getattr(DataSettings, key):
                    yield f"data.{key}", "has no effect: no source is synthetic"

    @property
    def identities_per_step(self) -> int:
        """Identities in one step's batch."""
        return (self.batch.size or self.batch.identities * self.batch.samples) // self.batch.samples

    def to_mapping(self) -> dict[str, Any]:
        """Return plain keys and values, as YAML holds them and `parse_settings` reads them."""
        plain: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return plain

    def flatten(self) -> dict[str, Any]:
        """Return the same under dotted keys."""
        return dict(flatten(self.to_mapping()))


_ADAPTER: Final = TypeAdapter(Settings)
_JSON: Final = TypeAdapter[Any](
    Any, config=ConfigDict(ser_json_inf_nan="constants", ser_json_bytes="base64")
)
#: Names of version 0.1, section before key, and the names in their place.
_OLD_NAMES: Final = {
    "upkeep": "logging",
    "machine": "runtime",
    "optimiser": "optimizer",
    "start": "pretrained",
    "start_weights": "pretrained_weights",
    "optimizer.rate": "lr",
    "optimizer.backbone_rate": "backbone_lr",
    "schedule.warmup_rate": "warmup_lr",
    "loss.centre": "center",
}
_REASONS: Final = {
    "batch.identities": "the triplet loss needs another identity",
    "batch.samples": "the triplet loss needs a second sample",
    "data.validation_identities": "retrieval needs a wrong answer",
}
#: Phrases of pydantic's messages, and ours.
_PHRASES: Final = {
    "Input should": "must",
    "Tuple should": "must",
    "Field required": "must have more values",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
}


def read_settings(path: str | PathLike[str]) -> Settings:
    """Read the settings of a YAML file.

    Raises:
        ConfigError: The file cannot be read, or a key or value cannot be used; names the key.
    """
    return parse_settings(read_yaml(path))


def parse_settings(mapping: Mapping[str, Any]) -> Settings:
    """Check a mapping and make settings of it; names of version 0.1 are accepted with a warning.

    Raises:
        ConfigError: A key is unknown, missing or idle, or its value cannot be used; names the key.
    """
    # pydantic takes lists for tuples and names for enums in strict JSON, not in strict Python
    text = _JSON.dump_json(rename_old(mapping), fallback=str)
    try:
        return _ADAPTER.validate_json(text, strict=True)
    except ValidationError as error:
        raise _convert(error.errors()[0]) from error


def rename_old(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Replace section names and keys of version 0.1 by today's, with a warning for each.

    Raises:
        ConfigError: A key is there under both names.
    """
    renamed = dict(mapping)
    for old, new in _OLD_NAMES.items():
        section, _, key = old.rpartition(".")
        part = renamed.get(section) if section else renamed
        if not isinstance(part, Mapping) or key not in part:
            continue
        if new in part:
            raise ConfigError(f"{old}: is called {new} now, and both are there; remove it", old)
        log.warning("%s: is called %s now; the old name will go with version 0.3", old, new)
        changed = {new if each == key else each: value for each, value in part.items()}
        renamed = {**renamed, section: changed} if section else changed
    return renamed


def rename_flat(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the dotted keys of version 0.1 by today's."""
    renamed = {}
    for key, value in flat.items():
        section, _, name = key.rpartition(".")
        section = _OLD_NAMES.get(section, section)
        dotted = f"{section}.{name}" if section else name
        name = _OLD_NAMES.get(dotted, name)
        renamed[f"{section}.{name}" if section else name] = value
    return renamed


def flatten(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested mappings under dotted keys."""
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _convert(error: Mapping[str, Any]) -> ConfigError:
    """Turn pydantic's error into one line that names the key."""
    names = [part for part in error["loc"] if isinstance(part, str)]
    key, cause = ".".join(names), error.get("ctx", {}).get("error")
    if isinstance(cause, ConfigError):
        return ConfigError(f"{key}: {cause.message}" if key else cause.message, cause.field)
    if error["type"] == "missing" and names == list(error["loc"]):
        return ConfigError(f"{key}: is missing", key)
    if error["type"] == "unexpected_keyword_argument":
        return ConfigError(f"{key}: unknown key{_suggest(names)}", key)
    if error["type"] == "dataclass_type":
        return ConfigError(f"{key}: expected keys below it, not {error['input']!r}", key)
    reason = f"; {_REASONS[key]}" if key in _REASONS else ""
    expected = error["msg"].split(" after ")[0]
    for theirs, ours in _PHRASES.items():
        expected = expected.replace(theirs, ours)
    return ConfigError(f"{key}: {expected}, not {error['input']!r}{reason}", key)


def _suggest(names: list[str]) -> str:
    kind = get_type_hints(Settings)[names[0]] if len(names) > 1 else Settings
    known = [each.name for each in fields(kind)]
    near = difflib.get_close_matches(names[-1], known, 1)
    return f"; is {near[0]} meant?" if near else f"; known: {', '.join(known)}"
