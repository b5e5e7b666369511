"""The galleries that are served, and the work of each request on them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from trireid.gallery import Gallery, gallery_name, read_artifact_path
from trireid.gallery.metadata import check_network, read_meta
from trireid.gallery.retention_timer import RetentionTimer
from trireid.gallery.stats import stats
from trireid.inference import Embedder, load_artifact
from trireid.inference.embedded import find_default
from trireid.inference.embedder import pixels
from trireid.samples import MODALITIES, Modality, Sample
from trireid.samples.budget import FILES
from trireid.samples.errors import GalleryError, ImageError, UnknownGalleryError
from trireid.samples.metadata import METADATA
from trireid.serving.batching import BatchingEmbedder
from trireid.serving.metrics import Metrics
from trireid.serving.schemas import (
    CameraCount,
    DayCount,
    EmbedAnswer,
    EmbedForm,
    EnrollAnswer,
    EnrollForm,
    GalleriesAnswer,
    GalleryAnswer,
    GalleryDetail,
    HitAnswer,
    RemoveAnswer,
    RemoveForm,
    SearchAnswer,
    SearchForm,
)
from trireid.serving.settings import ServerSettings
from trireid.serving.timings import collect_timings, measure

#: Images as they were uploaded, not read yet: what waits for its turn holds no memory.
Images = Mapping[Modality, BinaryIO]
_WARM_UP: Final = 2


class GalleryService:
    """Open galleries by name; galleries of one artifact share its embedder, warm, with batches
    across requests.

    Raises GalleryError or ArtifactError, naming the folder, where one cannot be opened.
    """

    def __init__(self, folders: Sequence[Path], settings: ServerSettings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._embedders: dict[Path, Embedder] = {}
        self.galleries: dict[str, Gallery] = {}
        for folder in folders:
            name = gallery_name(folder)
            self.galleries[name] = Gallery.open(
                folder, self._get_embedder(read_artifact_path(folder)), load=self._load_embedder
            )
            self._update_size(self.galleries[name])
            self._warm_up(self.galleries[name])
        self._retention = RetentionTimer(list(self.galleries.values()), self._update_size)

    def close(self) -> None:
        """Close every gallery."""
        self._retention.stop()
        for gallery in self.galleries.values():
            gallery.close()

    def embed(self, form: EmbedForm, images: Images) -> EmbedAnswer:
        """Embed with a gallery's network, the first one's where none is named."""
        embedder = self.get_gallery(form.gallery or next(iter(self.galleries))).embedder
        with collect_timings() as timings, _open_sample(form, images) as sample:
            embedding = embedder.embed([sample])[0]
        self._metrics.observe_timings(timings)
        return EmbedAnswer(
            embedding=embedding.tolist(),
            dim=len(embedding),
            model=embedder.card.name,
            present=list(sample.present),
        )

    def search(self, form: SearchForm, images: Images) -> SearchAnswer:
        """Match against a gallery."""
        gallery = self.get_gallery(form.gallery)
        with collect_timings() as timings, measure("search"), _open_sample(form, images) as sample:
            found = gallery.answer(sample, form)
        self._metrics.observe_timings(timings)
        card = gallery.embedder.card
        return SearchAnswer(
            gallery=gallery.name,
            model=card.name,
            present=list(sample.present),
            hits=[HitAnswer.from_hit(gallery.name, hit) for hit in found.hits],
            selected_patches={
                str(name): patches for name, patches in found.selected_patches.items()
            },
            grid=card.grid if card.selected_patches else None,
            image_size=card.image_size,
            timings={name: round(1000 * seconds, 2) for name, seconds in timings.items()},
        )

    def enroll(self, form: EnrollForm, images: Images, *, may_replace: bool = True) -> EnrollAnswer:
        """Add to a gallery, images included; durable on return.

        Raises:
            GalleryError: code `exists`, where the id is there and must not be replaced.
        """
        gallery = self.get_gallery(form.gallery)
        with collect_timings() as timings, measure("store"), _open_sample(form, images) as sample:
            (item_id,) = gallery.add([sample], keep=True, replace=may_replace)
        self._metrics.observe_timings(timings)
        self._update_size(gallery)
        return EnrollAnswer(id=item_id)

    def remove(self, form: RemoveForm) -> RemoveAnswer:
        """Remove from a gallery; durable on return."""
        gallery = self.get_gallery(form.gallery)
        removed = gallery.remove(ids=form.ids, identity=form.identity)
        self._update_size(gallery)
        return RemoveAnswer(removed=removed, pending=gallery.erasure_pending)

    def list_galleries(self) -> GalleriesAnswer:
        """List the galleries that are served."""
        return GalleriesAnswer(
            galleries=[GalleryAnswer(**_describe(gallery)) for gallery in self.galleries.values()]
        )

    def describe_gallery(self, name: str) -> GalleryDetail:
        """One gallery, in numbers."""
        gallery = self.get_gallery(name)
        counts = stats(gallery.folder)
        return GalleryDetail(
            **_describe(gallery),
            identities=counts["identities"],
            by_camera=[
                CameraCount(camera=_parse_camera(text), items=items)
                for text, items in counts["by_camera"].items()
            ],
            by_day=[DayCount(day=day, items=items) for day, items in counts["by_day"].items()],
            by_kind={kind: items for kind, items in counts["by_kind"].items() if kind != str(None)},
            by_modalities=counts["by_modalities"],
            keep_days=counts["keep_days"],
            erasure_pending=counts["erasure_pending"],
        )

    def read_thumbnail(self, name: str, key: int, modality: str) -> bytes | None:
        """A small JPEG of one image of an item, or None."""
        image = self.get_gallery(name).image(key, modality)
        return image.thumbnail if image else None

    def get_gallery(self, name: str | None) -> Gallery:
        """A gallery by its name, or the only one.

        Raises GalleryError if there are several and no name is given, or none of this name.
        """
        served = ", ".join(self.galleries)
        if name is None:
            if len(self.galleries) > 1:
                raise GalleryError(f"gallery: several are served, name one of {served}", "gallery")
            return next(iter(self.galleries.values()))
        if name not in self.galleries:
            raise UnknownGalleryError(
                f"gallery: {name!r} is not served; there are {served}", "gallery"
            )
        return self.galleries[name]

    def _get_embedder(self, artifact: Path) -> Embedder:
        if artifact not in self._embedders:
            self._embedders[artifact] = self._load_embedder(artifact)
        return self._embedders[artifact]

    def _load_embedder(self, artifact: Path) -> Embedder:
        """A network, batching across requests, and warm: also where a gallery moves to another one
        while it is served.
        """
        inner = load_artifact(artifact)
        embedder = BatchingEmbedder(
            inner, self._settings.batch, self._settings.passes, self._metrics.observe_batch
        )
        for _ in range(_WARM_UP):
            embedder.run(*pixels([_make_blank_sample(embedder)], embedder.card))
        return embedder

    def _warm_up(self, gallery: Gallery) -> None:
        """Search once: what a gallery works out at its first search is there for the first who
        asks.
        """
        if len(gallery):
            with suppress(ImageError):  # of a network that gives a blank image no direction
                gallery.search(_make_blank_sample(gallery.embedder), k=1)

    def _update_size(self, gallery: Gallery) -> None:
        self._metrics.set_items(gallery.name, len(gallery))


def check_galleries(folders: Sequence[Path]) -> None:
    """Whether these galleries can be served, as far as that shows without reading them.

    Raises GalleryError, ArtifactError.
    """
    names: set[str] = set()
    loaded: dict[Path, Embedder] = {}
    for folder in folders:
        if gallery_name(folder) in names:
            raise GalleryError(
                f"{folder}: a gallery called {gallery_name(folder)} is served already; rename"
                " the folder",
                str(folder),
            )
        names.add(gallery_name(folder))
        artifact = read_artifact_path(folder)
        if artifact not in loaded:
            loaded[artifact] = load_artifact(artifact)
        check_network(folder, read_meta(folder), loaded[artifact])


def _make_blank_sample(embedder: Embedder) -> Sample:
    blank = np.zeros((*embedder.card.image_size, 3), np.uint8)
    return Sample(rgb=blank, nir=blank, tir=blank)


def _describe(gallery: Gallery) -> dict[str, Any]:
    card = gallery.embedder.card
    return {
        "name": gallery.name,
        "size": len(gallery),
        "model": card.name,
        "kind": card.kind,
        "dimension": card.dimension,
        "demo_network": find_default(card.fingerprint) is not None,
    }


def _parse_camera(text: str) -> int | None:
    return None if text == str(None) else int(text)


@contextmanager
def _open_sample(form: EmbedForm, images: Images) -> Iterator[Sample]:
    """A request's images and fields as a sample, whose bytes count in the process's budget while
    the block runs.
    """
    known = form.model_dump(include={"id", *METADATA})
    with FILES.part(sum(file.seek(0, os.SEEK_END) for file in images.values())):
        read = {modality: _read_content(file) for modality, file in images.items()}
        rgb, nir, tir = (read.get(modality) for modality in MODALITIES)
        yield Sample(rgb=rgb, nir=nir, tir=tir, **known)


def _read_content(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()
