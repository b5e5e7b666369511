"""What a training run is: every setting with its default, from a YAML file that may hold nothing
else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from enum import Enum, StrEnum
from typing import Any, Final

from trireid.models import Head, NetworkConfig
from trireid.models.sdtps import AttentionGradient, Gumbel
from trireid.samples import ConfigError
from trireid.training.augment import Augmentation

#: What a number may be, both ends included; a key that is None is left alone.
_RANGES: Final[dict[str, tuple[float, float]]] = {
    "seed": (0, math.inf),
    "data.world": (0, math.inf),
    "data.shots": (1, math.inf),
    "sdtps.tau": (1e-3, math.inf),
    "loss.identity": (0, math.inf),
    "loss.triplet": (0, math.inf),
    "loss.centre": (0, math.inf),
    "loss.segments": (0, math.inf),
    "loss.label_smoothing": (0, 1),
    "optimiser.rate": (0, math.inf),
    "optimiser.backbone_rate": (0, math.inf),
    "optimiser.bias_factor": (0, math.inf),
    "optimiser.weight_decay": (0, math.inf),
    "optimiser.clip": (1e-12, math.inf),
    "schedule.epochs": (1, math.inf),
    "schedule.warmup_epochs": (0, math.inf),
    "schedule.warmup_rate": (0, math.inf),
    "schedule.steps_per_epoch": (1, math.inf),
    "schedule.sdtps_delay_epochs": (0, math.inf),
    "augmentation.flip": (0, 1),
    "augmentation.pad": (0, math.inf),
    "augmentation.erase": (0, 1),
    "augmentation.drop_modality": (0, 1),
    "augmentation.drop_camera": (0, 1),
    "machine.threads": (1, math.inf),
    "upkeep.evaluate_every": (0, math.inf),
    "upkeep.diagnose_every": (0, math.inf),
    "upkeep.save_every": (1, math.inf),
}


class OptimiserName(StrEnum):
    """Adam, as the research code trains; AdamW for training from scratch."""

    ADAM = "adam"
    ADAMW = "adamw"


class Precision(StrEnum):
    """Of activations and gradients while training.

    `EMULATED` rounds float32 to float16's values (`trireid.training.half`).
    """

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    EMULATED = "emulated-float16"


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """`source`: a SOURCE; `validation_identities` of it are held out; `test`: a SOURCE to measure
    the best checkpoint on.

    `world`, `shots`: of a synthetic source, its seed and pictures per camera. A synthetic `source`
    takes the world's training identities, a synthetic `test` its test identities. `cache`: a folder
    that keeps decoded pictures. `allow_outside`: a manifest's images may lie outside its folder.
    """

    source: str
    validation_identities: int = 16
    test: str | None = None
    world: int = 0
    shots: int = 2
    cache: str | None = None
    allow_outside: bool = False


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """`identities` (P) x `samples` (K);

    `size`: samples per step, a multiple of P x K (None: P x K itself).
    """

    identities: int = 8
    samples: int = 4
    size: int | None = None


@dataclass(frozen=True, kw_only=True)
class SdtpsSettings:
    """How the SDTPS head trains: see `trireid.models.sdtps`."""

    attention_gradient: AttentionGradient = AttentionGradient.FULL
    gumbel: Gumbel = Gumbel.OFF
    tau: float = 1.0


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """Weights of the losses on each branch; `margin`: of the triplet loss, None for the soft one.

    `centre`: weight of the features' common part, which spreads their cosines
    (`trireid.training.losses.centre_share`). `segments`: weight of the triplet loss on each segment
    of C channels apart, which is what is compared where modalities are missing.
    """

    identity: float = 0.25
    triplet: float = 1.0
    centre: float = 0.0
    segments: float = 0.0
    margin: float | None = None
    label_smoothing: float = 0.1


@dataclass(frozen=True, kw_only=True)
class OptimiserSettings:
    """Learning rates and decay; `backbone_rate` None: the full rate (a backbone from scratch).
    `frozen`: not trained at all.

    `bias_factor`: on the rate of the biases outside the backbone. `decay_vectors`: weight decay on
    biases and norms too. `clip`: largest gradient norm of the network, None for no limit.
    """

    name: OptimiserName = OptimiserName.ADAM
    rate: float = 3.5e-4
    backbone_rate: float | None = 5e-6
    frozen: bool = False
    bias_factor: float = 2.0
    weight_decay: float = 1e-4
    decay_vectors: bool = True
    clip: float | None = None


@dataclass(frozen=True, kw_only=True)
class ScheduleSettings:
    """Linear warm-up from `warmup_rate` (every group's, None: a tenth of its own), then a cosine to
    0.001 of the rate.

    `steps_per_epoch` None: as many as draw every identity once. `sdtps_delay_epochs`: epochs that
    train `ori` alone.
    """

    epochs: int = 50
    warmup_epochs: int = 3
    warmup_rate: float | None = 3.5e-5
    steps_per_epoch: int | None = None
    sdtps_delay_epochs: int = 0


@dataclass(frozen=True, kw_only=True)
class MachineSettings:
    """`device`: auto, cpu, cuda; `threads` of PyTorch on the CPU, None for its own choice."""

    device: str = "auto"
    precision: Precision = Precision.FLOAT32
    compile: bool = False
    threads: int | None = None


@dataclass(frozen=True, kw_only=True)
class UpkeepSettings:
    """What is done beside training, and how often.

    `evaluate_every` and `diagnose_every` in epochs (0: never), `save_every` in steps; `patterns`:
    what evaluation reports; `loss_limit`: a loss above it counts as diverged; `tensorboard`: write
    event files, too.
    """

    evaluate_every: int = 5
    patterns: tuple[int, ...] = (1, 2, 3)
    diagnose_every: int = 0
    save_every: int = 50
    loss_limit: float = 1000.0
    tensorboard: bool = True


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One training run. `start`: start weights (CLIP's, timm's, a checkpoint of the family), None
    for none.

    `start_weights`: which of its sets of weights, if it holds several, as in `ema`.
    """

    network: NetworkConfig
    data: DataSettings
    start: str | None = None
    start_weights: str | None = None
    batch: BatchSettings = field(default_factory=BatchSettings)
    sdtps: SdtpsSettings = field(default_factory=SdtpsSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    augmentation: Augmentation = field(default_factory=Augmentation)
    machine: MachineSettings = field(default_factory=MachineSettings)
    upkeep: UpkeepSettings = field(default_factory=UpkeepSettings)
    seed: int = 0

    def __post_init__(self) -> None:
        _at_least(
            self.batch.identities, 2, "batch.identities", "the triplet loss needs another identity"
        )
        _at_least(self.batch.samples, 2, "batch.samples", "the triplet loss needs a second sample")
        group = self.batch.identities * self.batch.samples
        if self.batch.size is not None and (self.batch.size < group or self.batch.size % group):
            raise ConfigError(
                f"batch.size: {self.batch.size} is no multiple of {self.batch.identities} identities x {self.batch.samples} "
                f"samples = {group}",
                "batch.size",
            )
        self._check_ranges()
        _at_least(
            self.data.validation_identities,
            2,
            "data.validation_identities",
            "retrieval needs a wrong answer",
        )
        if not self.upkeep.patterns or not set(self.upkeep.patterns) <= {1, 2, 3}:
            raise ConfigError(
                f"upkeep.patterns: must be among 1, 2, 3, not {list(self.upkeep.patterns)}",
                "upkeep.patterns",
            )
        if self.start_weights is not None and self.start is None:
            raise ConfigError(
                "start_weights: says which weights of start to take; set start, too",
                "start_weights",
            )
        if self.optimiser.frozen and self.start is None:
            raise ConfigError(
                "optimiser.frozen: a frozen backbone needs start weights; set start",
                "optimiser.frozen",
            )
        self._check_head()
        self._check_read()

    def _check_ranges(self) -> None:
        flat = self.flat()
        for key, (low, high) in _RANGES.items():
            value = flat[key]
            if value is not None and not low <= value <= high:
                raise ConfigError(f"{key}: must be {_range(low, high)}, not {value}", key)

    def _check_read(self) -> None:
        """A key that nobody reads beside the others, where it was changed."""
        if self.sdtps.gumbel is Gumbel.OFF and self.sdtps.tau != SdtpsSettings.tau:
            raise ConfigError(
                "sdtps.tau: sdtps.gumbel is off, so nobody reads this key", "sdtps.tau"
            )
        if self.augmentation.drop_together and not self.augmentation.drop_modality:
            raise ConfigError(
                "augmentation.drop_together: drop_modality is 0, so nobody reads this key",
                "augmentation.drop_together",
            )
        drawn = any(
            source and source.startswith("synthetic:")
            for source in (self.data.source, self.data.test)
        )
        for key in ("world", "shots"):
            if not drawn and getattr(self.data, key) != getattr(DataSettings, key):
                raise ConfigError(
                    f"data.{key}: is for drawn pictures, and nothing here is synthetic",
                    f"data.{key}",
                )

    def _check_head(self) -> None:
        if self.network.head is Head.SDTPS:
            return
        if self.sdtps != SdtpsSettings():
            raise ConfigError(
                f"sdtps: network.head is {self.network.head}, so nobody reads these keys", "sdtps"
            )
        if self.network.head is Head.NONE and self.schedule.sdtps_delay_epochs:
            raise ConfigError(
                "schedule.sdtps_delay_epochs: the network has no head to delay",
                "schedule.sdtps_delay_epochs",
            )

    @property
    def identities_per_step(self) -> int:
        """Identities in one step's batch."""
        return (self.batch.size or self.batch.identities * self.batch.samples) // self.batch.samples

    def as_mapping(self) -> dict[str, Any]:
        """Plain keys and values, as YAML holds them and `settings_of` reads them back."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain

    def flat(self) -> dict[str, Any]:
        """The same under dotted keys."""
        return dict(_flat(self.as_mapping(), ""))


def _range(low: float, high: float) -> str:
    return f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"


def _at_least(value: int, least: int, key: str, why: str = "") -> None:
    if value < least:
        raise ConfigError(
            f"{key}: must be at least {least}, not {value}{'; ' + why if why else ''}", key
        )


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, tuple | list) else value


def _flat(mapping: dict[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
