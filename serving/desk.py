"""The desk: the galleries that are served, and what each request does with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from export import Embedder, load_artifact
from gallery import Gallery, artifact_of, gallery_name
from samples import MODALITIES, GalleryError, Modality, Sample
from serving.schemas import (
    EmbedAnswer,
    EmbedForm,
    EnrollAnswer,
    EnrollForm,
    GalleriesAnswer,
    GalleryAnswer,
    HitAnswer,
    RemoveAnswer,
    RemoveForm,
    SearchAnswer,
    SearchForm,
)

Pictures = dict[Modality, bytes]


class Desk:
    """Open galleries by name; galleries of one artifact share its embedder.

    Raises GalleryError or ArtifactError, naming the folder, where one cannot be opened or two have one name.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        embedders: dict[Path, Embedder] = {}
        self.galleries: dict[str, Gallery] = {}
        for folder in folders:
            name = gallery_name(folder)
            if name in self.galleries:
                raise GalleryError(f"{folder}: a gallery called {name} is served already; rename the folder", str(folder))
            artifact = artifact_of(folder)
            if artifact not in embedders:
                embedders[artifact] = load_artifact(artifact)
            self.galleries[name] = Gallery.open(folder, embedders[artifact])

    def close(self) -> None:
        """Close every gallery."""
        for gallery in self.galleries.values():
            gallery.close()

    def embed(self, form: EmbedForm, pictures: Pictures) -> EmbedAnswer:
        """Embed with a gallery's network, the first one's where none is named."""
        embedder = self._named(form.gallery or next(iter(self.galleries))).embedder
        sample = _sample(form, pictures)
        embedding = embedder.embed([sample])[0]
        return EmbedAnswer(
            embedding=embedding.tolist(), dim=len(embedding), model=embedder.card.name, present=list(sample.present)
        )

    def search(self, form: SearchForm, pictures: Pictures) -> SearchAnswer:
        """Match against a gallery."""
        gallery, sample = self._named(form.gallery), _sample(form, pictures)
        hits = gallery.search(
            sample,
            form.k,
            form.where,
            other_cameras=form.other_cameras,
            rerank=form.rerank,
            by_identity=form.by_identity,
            min_score=form.min_score,
        )
        return SearchAnswer(
            gallery=gallery.name,
            model=gallery.embedder.card.name,
            present=list(sample.present),
            hits=[HitAnswer(**asdict(hit)) for hit in hits],
        )

    def enroll(self, form: EnrollForm, pictures: Pictures) -> EnrollAnswer:
        """Add to a gallery, pictures included; durable on return."""
        gallery = self._named(form.gallery)
        (item_id,) = gallery.add([_sample(form, pictures)], keep=True)
        return EnrollAnswer(id=item_id)

    def remove(self, form: RemoveForm) -> RemoveAnswer:
        """Remove from a gallery; durable on return."""
        return RemoveAnswer(removed=self._named(form.gallery).remove(ids=form.ids, identity=form.identity))

    def listing(self) -> GalleriesAnswer:
        """What is served."""
        return GalleriesAnswer(
            galleries=[
                GalleryAnswer(
                    name=name,
                    size=len(gallery),
                    model=gallery.embedder.card.name,
                    kind=gallery.embedder.card.kind,
                    dimension=gallery.embedder.card.dimension,
                )
                for name, gallery in self.galleries.items()
            ]
        )

    def thumbnail(self, name: str, key: int, modality: str) -> bytes | None:
        """A small JPEG of one picture of an item, or None."""
        picture = self._named(name).picture(key, modality)
        return picture.thumbnail if picture else None

    def _named(self, name: str | None) -> Gallery:
        served = ", ".join(self.galleries)
        if name is None:
            if len(self.galleries) > 1:
                raise GalleryError(f"gallery: several are served, name one of {served}", "gallery")
            return next(iter(self.galleries.values()))
        if name not in self.galleries:
            raise GalleryError(f"gallery: {name!r} is not served; there are {served}", "gallery", "unknown_gallery")
        return self.galleries[name]


def _sample(form: EmbedForm, pictures: Pictures) -> Sample:
    """A request's pictures and fields as a sample (`pictures`: modality -> bytes of its file)."""
    known = form.model_dump(include={"id", "identity", "camera", "time", "kind", "attributes"})
    rgb, nir, tir = (pictures.get(modality) for modality in MODALITIES)
    return Sample(rgb=rgb, nir=nir, tir=tir, **known)
