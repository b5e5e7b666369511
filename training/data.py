"""The data of a run: sets for training, validation and test that share no identity."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trireid.models import NetworkConfig
from trireid.samples import ConfigError, Sample, SourceError
from trireid.samples.atomic_write import replace_file
from trireid.samples.roles import Split
from trireid.samples.source import NotUsed
from trireid.samples.sources import open_source
from trireid.training.image_set import ImageSet
from trireid.training.settings import BatchSettings, DataSettings


@dataclass(frozen=True)
class Data:
    """`train`, `validation` (other identities of the same source) and `test` (None where no test
    source is given).
    """

    train: ImageSet
    validation: ImageSet
    test: ImageSet | None

    @classmethod
    def load(
        cls, settings: DataSettings, network: NetworkConfig, batch: BatchSettings, need: int
    ) -> Data:
        """Read, decode and split; `need`: identities that one step takes.

        Raises SourceError and ConfigError, naming the count, if the sets are too small.
        """
        whole = _load_images(settings, settings.source, "train", network)
        train, validation = split_validation(whole, settings.validation_identities, settings.source)
        _check_cameras(whole, network, settings.source)
        check_batch(train, batch, need, settings.source)
        test = (
            None
            if settings.test is None
            else _load_images(settings, settings.test, "gallery", network)
        )
        return cls(train, validation, test)


def split_validation(whole: ImageSet, identities: int, source: str) -> tuple[ImageSet, ImageSet]:
    """Split off a set's `identities` for validation, the same ones for every seed of a run.

    Raises SourceError.
    """
    names = sorted(set(whole.identities.tolist()))
    if len(names) - identities < 2:
        raise SourceError(
            f"{source}: has {_format_count(names, 'identity', 'identities')}, of which "
            f"{identities} are for validation "
            f"(data.validation_identities): two must be left to train on",
            "data.source",
        )
    shuffled = np.random.default_rng(0).permutation(names).tolist()
    return whole.select_identities(shuffled[identities:]), whole.select_identities(
        shuffled[:identities]
    )


def list_not_used(settings: DataSettings) -> list[NotUsed]:
    """List what a run's sources hold and training passes over."""
    parts: dict[Split, str | None] = {"train": settings.source, "gallery": settings.test}
    found: list[NotUsed] = []
    for split, name in parts.items():
        if name is not None:
            source = open_source(name, split, allow_outside=settings.allow_outside)
            found += [each for each in source.not_used if each not in found]
    return found


def check_batch(train: ImageSet, batch: BatchSettings, need: int, source: str) -> None:
    """Raise SourceError where a step cannot draw its P x K."""
    names, counts = np.unique(train.identities, return_counts=True)
    if len(names) < need:
        raise SourceError(
            f"{source}: {len(names)} identities are left to train on, and a batch takes {need} "
            "(batch.identities)",
            "batch.identities",
        )
    few = [
        (name, count)
        for name, count in zip(names.tolist(), counts.tolist(), strict=True)
        if count < batch.samples
    ]
    if few:
        name, count = few[0]
        raise SourceError(
            f"{source}: identity {name} has {_format_count(range(count), 'sample', 'samples')}, "
            "fewer than batch.samples = "
            f"{batch.samples} ({len(few)} such)",
            "batch.samples",
        )


def _check_cameras(whole: ImageSet, network: NetworkConfig, source: str) -> None:
    highest = int(whole.cameras.max())
    if network.cameras and highest >= network.cameras:
        raise ConfigError(
            f"network.cameras: {network.cameras}, but {source} has a camera {highest} (they count "
            "from 0)",
            "network.cameras",
        )


def _format_count(items: range | list[str], one: str, many: str) -> str:
    return f"{len(items)} {one if len(items) == 1 else many}"


def _load_images(
    settings: DataSettings, source: str, part: Split, network: NetworkConfig
) -> ImageSet:
    """Load the decoded images of a source, from the cache if they are there."""
    if settings.cache is None:
        return _decode(settings, source, part, network)
    drawn = (settings.world, settings.shots, settings.varied)
    name = "|".join(map(str, (source, part, *drawn, network.image_size)))
    path = Path(settings.cache) / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.npz"
    if path.exists():
        with np.load(path) as held:
            return ImageSet(held["images"], held["identities"], held["cameras"], held["present"])
    image_set = _decode(settings, source, part, network)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary:
        np.savez(temporary, **vars(image_set))
    return image_set


def _decode(settings: DataSettings, source: str, part: Split, network: NetworkConfig) -> ImageSet:
    samples = _read_samples(settings, source, part)
    return ImageSet.decode(samples, network.image_size, title=f"reading {source}")


def _read_samples(settings: DataSettings, source: str, part: Split) -> Iterator[Sample]:
    options = None
    if source.startswith("synthetic:"):
        options = {"world": settings.world, "shots": settings.shots, "varied": settings.varied}
    for entry in open_source(source, part, allow_outside=settings.allow_outside, options=options):
        if entry.sample is None:
            raise SourceError(
                f"{source}: {entry.error}; mend or remove it before training", entry.place
            )
        if entry.sample.identity is None:
            raise SourceError(
                f"{source}: {entry.place} has no identity: nothing can be learned from it",
                entry.place,
            )
        yield entry.sample
