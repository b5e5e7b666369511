"""From an entry of a source to what the network and the store take of it: each picture read once and decoded once."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from PIL import Image

from export.card import Card
from export.embedder import Cameras, Images, Present, pixels
from gallery.items import StoredPicture
from gallery.merging import mark_of
from gallery.pictures import PreparedSample, digest, reference, stored_by_reference
from gallery.prefetch import Allowance
from samples import Modality, Picture, Sample, TrireidError, decode
from samples import pixels as fitted
from samples.decode import content, field_of, opened, upright
from samples.source import Entry

#: Bytes of files, and of pictures being decoded, that all threads hold together; a sample that takes more goes alone.
FILES: Final = 256 << 20
DECODING: Final = 640 << 20
#: What decoding takes at the most: of a progressive JPEG its coefficients (6), the picture (4) and what is made of it.
_BYTES_PER_PIXEL: Final = 12


@dataclass(frozen=True)
class Prepared:
    """An entry whose turn it is: `sample` and what the network takes of it, or `fault`, or neither if it need not be read.

    `inputs` is None if an embedding of these images is there already.

    `images` uint8 [1, 3, H, W, 3], `camera` int64 [1], `present` bool [1, 3].
    """

    entry: Entry
    fault: str | None = None
    sample: PreparedSample | None = None
    inputs: tuple[Images, Cameras, Present] | None = None


class Preparation:
    """Prepares entries for one network, for many threads at once.

    `is_known`: whether a sample need not even be read. Samples whose mark is a known one are not decoded.
    """

    def __init__(self, card: Card, is_known: Callable[[Sample], bool], known_marks: Container[str]) -> None:
        self._card, self._is_known, self._known_marks = card, is_known, known_marks
        self._files, self._decoding = Allowance(FILES), Allowance(DECODING)

    def __call__(self, entry: Entry) -> Prepared:
        """Read, recognise and decode an entry's pictures; whatever is wrong with them is told as its fault."""
        if entry.sample is None:
            return Prepared(entry, entry.fault.message if entry.fault else "holds no sample")
        try:
            if self._is_known(entry.sample):
                return Prepared(entry)
            with self._files.part(_bytes_on_disk(entry.sample)):
                return self._prepared(entry, entry.sample)
        except TrireidError as fault:
            return Prepared(entry, fault.message)

    def _prepared(self, entry: Entry, sample: Sample) -> Prepared:
        contents: dict[str, Any] = {modality: _content(picture, modality) for modality, picture in _pictures(sample)}
        held = replace(sample, **contents)
        content_digest = digest(held)
        known = {each.name: getattr(sample, each.name) for each in fields(Sample)}
        if mark_of(content_digest, sample.camera, self._card.cameras > 0) in self._known_marks:
            where = [reference(modality, picture) for modality, picture in _pictures(sample)]
            return Prepared(entry, sample=PreparedSample(**known, content_digest=content_digest, stored=where))
        stored, shown = [], {}
        for (modality, given), (_, picture) in zip(_pictures(sample), _pictures(held), strict=True):
            kept, shown[str(modality)] = self._seen(modality, given, picture)
            stored.append(kept)
        inputs = pixels([replace(sample, **shown)], self._card)
        prepared = PreparedSample(**known, content_digest=content_digest, stored=stored)
        return Prepared(entry, sample=prepared, inputs=inputs)

    def _seen(self, modality: Modality, given: Picture, picture: Picture) -> tuple[StoredPicture, Any]:
        """What the store takes of a picture, and its pixels in the network's size."""
        with self._decoded(picture, field_of(modality, given)) as image:
            return stored_by_reference(modality, given, image), fitted(image, self._card.image_size)

    @contextmanager
    def _decoded(self, picture: Picture, field: str) -> Iterator[Image.Image]:
        if not isinstance(picture, bytes):  # decoded already, and in memory
            yield decode(picture, field)
            return
        image = opened(picture, field)
        with self._decoding.part(image.width * image.height * _BYTES_PER_PIXEL):
            yield upright(image, field)


def _pictures(sample: Sample) -> list[tuple[Modality, Picture]]:
    found = ((modality, sample.picture(modality)) for modality in sample.present)
    return [(modality, picture) for modality, picture in found if picture is not None]


def _content(picture: Picture, modality: Modality) -> Picture:
    """The content of a file; anything else as it is."""
    return content(picture, field_of(modality, picture)) if isinstance(picture, str | os.PathLike) else picture


def _bytes_on_disk(sample: Sample) -> int:
    """Of a sample's files; of one that cannot be looked at nothing, for reading it will fail."""
    paths = (picture for _, picture in _pictures(sample) if isinstance(picture, str | os.PathLike))
    return sum(os.stat(path).st_size for path in paths if os.path.exists(path))
