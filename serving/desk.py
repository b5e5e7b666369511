"""The desk: the galleries that are served, and what each request does with them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from trireid.gallery import Gallery, artifact_of, gallery_name
from trireid.gallery.place import check_network, meta_of
from trireid.gallery.retention_timer import RetentionTimer
from trireid.gallery.stats import stats
from trireid.inference import Embedder, load_artifact
from trireid.inference.embedder import pixels
from trireid.samples import MODALITIES, Modality, Sample
from trireid.samples.budget import FILES
from trireid.samples.errors import GalleryError, ImageError, UnknownGalleryError
from trireid.serving.batching import BatchingEmbedder
from trireid.serving.limits import Limits
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
from trireid.serving.stages import collected, stage

#: Pictures as they were uploaded, not read yet: what waits for its turn holds no memory.
Pictures = Mapping[Modality, BinaryIO]
_WARM_UP: Final = 2


class Desk:
    """Open galleries by name; galleries of one artifact share its embedder, warm, with batches
    across requests.

    Raises GalleryError or ArtifactError, naming the folder, where one cannot be opened.
    """

    def __init__(self, folders: Sequence[Path], limits: Limits, metrics: Metrics) -> None:
        self._limits, self._metrics = limits, metrics
        self._embedders: dict[Path, Embedder] = {}
        self.galleries: dict[str, Gallery] = {}
        for folder in folders:
            name = gallery_name(folder)
            self.galleries[name] = Gallery.open(
                folder, self._shared(artifact_of(folder)), load=self._loaded
            )
            self._count(self.galleries[name])
            self._warm(self.galleries[name])
        self._retention = RetentionTimer(list(self.galleries.values()), self._count)

    def close(self) -> None:
        """Close every gallery."""
        self._retention.stop()
        for gallery in self.galleries.values():
            gallery.close()

    def embed(self, form: EmbedForm, pictures: Pictures) -> EmbedAnswer:
        """Embed with a gallery's network, the first one's where none is named."""
        embedder = self.named(form.gallery or next(iter(self.galleries))).embedder
        with collected() as times, _sample(form, pictures) as sample:
            embedding = embedder.embed([sample])[0]
        self._metrics.took(times)
        return EmbedAnswer(
            embedding=embedding.tolist(),
            dim=len(embedding),
            model=embedder.card.name,
            present=list(sample.present),
        )

    def search(self, form: SearchForm, pictures: Pictures) -> SearchAnswer:
        """Match against a gallery."""
        gallery = self.named(form.gallery)
        with collected() as times, stage("search"), _sample(form, pictures) as sample:
            found = gallery.answer(
                sample,
                form.k,
                form.where,
                other_cameras=form.other_cameras,
                rerank=form.rerank,
                by_identity=form.by_identity,
                min_score=form.min_score,
            )
        self._metrics.took(times)
        card = gallery.embedder.card
        return SearchAnswer(
            gallery=gallery.name,
            model=card.name,
            present=list(sample.present),
            hits=[HitAnswer(**asdict(hit)) for hit in found.hits],
            kept={str(modality): patches for modality, patches in found.kept.items()},
            grid=card.grid if card.selected_patches else None,
            image_size=card.image_size,
            stages={name: round(1000 * seconds, 2) for name, seconds in times.items()},
        )

    def enroll(
        self, form: EnrollForm, pictures: Pictures, *, may_replace: bool = True
    ) -> EnrollAnswer:
        """Add to a gallery, images included; durable on return.

        Raises:
            GalleryError: code `exists`, where the id is there and must not be replaced.
        """
        gallery = self.named(form.gallery)
        with collected() as times, stage("store"), _sample(form, pictures) as sample:
            (item_id,) = gallery.add([sample], keep=True, replace=may_replace)
        self._metrics.took(times)
        self._count(gallery)
        return EnrollAnswer(id=item_id)

    def remove(self, form: RemoveForm) -> RemoveAnswer:
        """Remove from a gallery; durable on return."""
        gallery = self.named(form.gallery)
        removed = gallery.remove(ids=form.ids, identity=form.identity)
        self._count(gallery)
        return RemoveAnswer(removed=removed, pending=gallery.erasure_pending)

    def listing(self) -> GalleriesAnswer:
        """What is served."""
        return GalleriesAnswer(
            galleries=[GalleryAnswer(**_described(gallery)) for gallery in self.galleries.values()]
        )

    def detail(self, name: str) -> GalleryDetail:
        """One gallery, in numbers."""
        gallery = self.named(name)
        counts = stats(gallery.folder)
        return GalleryDetail(
            **_described(gallery),
            identities=counts["identities"],
            by_camera=[
                CameraCount(camera=_camera(text), items=items)
                for text, items in counts["by_camera"].items()
            ],
            by_day=[DayCount(day=day, items=items) for day, items in counts["by_day"].items()],
            by_kind={kind: items for kind, items in counts["by_kind"].items() if kind != str(None)},
            by_modalities=counts["by_modalities"],
            keep_days=counts["keep_days"],
            erasure_pending=counts["erasure_pending"],
        )

    def thumbnail(self, name: str, key: int, modality: str) -> bytes | None:
        """A small JPEG of one picture of an item, or None."""
        picture = self.named(name).picture(key, modality)
        return picture.thumbnail if picture else None

    def named(self, name: str | None) -> Gallery:
        """A gallery by its name, or the only one.

        Raises GalleryError where it is not clear which, or there is none.
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

    def _shared(self, artifact: Path) -> Embedder:
        if artifact not in self._embedders:
            self._embedders[artifact] = self._loaded(artifact)
        return self._embedders[artifact]

    def _loaded(self, artifact: Path) -> Embedder:
        """A network, batching across requests, and warm: also where a gallery moves to another one
        while it is served.
        """
        inner = load_artifact(artifact)
        embedder = BatchingEmbedder(
            inner, self._limits.batch, self._limits.passes, self._metrics.batch
        )
        for _ in range(_WARM_UP):
            embedder.run(*pixels([_blank(embedder)], embedder.card))
        return embedder

    def _warm(self, gallery: Gallery) -> None:
        """Search once: what a gallery works out at its first search is there for the first who
        asks.
        """
        if len(gallery):
            with suppress(ImageError):  # of a network that gives a blank image no direction
                gallery.search(_blank(gallery.embedder), 1)

    def _count(self, gallery: Gallery) -> None:
        self._metrics.holds(gallery.name, len(gallery))


def check(folders: Sequence[Path]) -> None:
    """Whether these galleries can be served, as far as that shows without reading them.

    Raises GalleryError, ArtifactError.
    """
    names: set[str] = set()
    loaded: dict[Path, Embedder] = {}
    for folder in folders:
        if gallery_name(folder) in names:
            raise GalleryError(
                f"{folder}: a gallery called {gallery_name(folder)} is served already; rename the folder",
                str(folder),
            )
        names.add(gallery_name(folder))
        artifact = artifact_of(folder)
        if artifact not in loaded:
            loaded[artifact] = load_artifact(artifact)
        check_network(folder, meta_of(folder), loaded[artifact])


def _blank(embedder: Embedder) -> Sample:
    blank = np.zeros((*embedder.card.image_size, 3), np.uint8)
    return Sample(rgb=blank, nir=blank, tir=blank)


def _described(gallery: Gallery) -> dict[str, Any]:
    card = gallery.embedder.card
    return {
        "name": gallery.name,
        "size": len(gallery),
        "model": card.name,
        "kind": card.kind,
        "dimension": card.dimension,
    }


def _camera(text: str) -> int | None:
    return None if text == str(None) else int(text)


@contextmanager
def _sample(form: EmbedForm, pictures: Pictures) -> Iterator[Sample]:
    """A request's images and fields as a sample, whose bytes count in the process's budget while
    the block runs.
    """
    known = form.model_dump(
        include={"id", "identity", "camera", "time", "kind", "purpose", "expires", "attributes"}
    )
    with FILES.part(sum(file.seek(0, os.SEEK_END) for file in pictures.values())):
        read = {modality: _content(file) for modality, file in pictures.items()}
        rgb, nir, tir = (read.get(modality) for modality in MODALITIES)
        yield Sample(rgb=rgb, nir=nir, tir=tir, **known)


def _content(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()
