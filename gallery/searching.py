"""One search: what is asked, over one reading of the gallery."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trireid.evaluation import rerank
from trireid.gallery.calibration import Calibration
from trireid.gallery.hits import Hit, first_of_each_identity, hit, ranked
from trireid.gallery.index import Keys
from trireid.gallery.limits import limit_answer
from trireid.gallery.read_session import ReadSession
from trireid.gallery.scoring import Segments, mask_of
from trireid.gallery.where import Filter, check_attributes, condition
from trireid.samples import MODALITIES, GalleryError, Kind, Modality, Sample
from trireid.samples.bounds import MAX_K

#: Re-ranking looks at so many of the best.
SHORTLIST: Final = 200
#: Hits, not yet ranked, by the keys of their items.
Found = Sequence[tuple[int, Hit]]


@dataclass(frozen=True, kw_only=True)
class Query:
    """By one network, a query's embedding float32 [D], the modalities it has, as a mask, and the
    kept patches of its first sample.
    """

    segments: Segments
    embedding: NDArray[np.float32]
    mask: int
    kept: dict[Modality, list[int]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        samples: Sequence[Sample],
        embeddings: NDArray[np.float32],
        tokens: NDArray[np.int64],
        segments: Segments,
    ) -> Query:
        """The mean of the samples' embeddings [B, D], each segment over those that have it."""
        masks = [mask_of(each.present) & segments.seen for each in samples]
        there = np.stack([segments.columns(mask) for mask in masks])
        mean = (embeddings * there).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
        mask = int(np.bitwise_or.reduce(masks))
        return cls(
            segments=segments,
            embedding=mean.astype(np.float32),
            mask=mask,
            kept=_kept(samples[0], tokens[0]),
        )


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of a search: see `Gallery.search`.

    `own_cameras`: the cameras whose items are left out.
    """

    k: int
    where: Filter | None = None
    own_cameras: list[int] | None = None
    rerank: bool = False
    by_identity: bool = False
    min_score: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.k, bool) or not isinstance(self.k, int) or not 1 <= self.k <= MAX_K:
            raise GalleryError(f"k must be a whole number from 1 to {MAX_K}, not {self.k!r}", "k")


def cameras_of(samples: Sequence[Sample]) -> list[int]:
    """The cameras of a query. Raises GalleryError where it has none."""
    cameras = sorted({sample.camera for sample in samples if sample.camera is not None})
    if not cameras:
        raise GalleryError("other_cameras needs the query's own camera", "camera")
    return cameras


class Search:
    """A query in one reading of a gallery called `name`, whose items are of a `kind` if they have
    none of their own.
    """

    def __init__(
        self,
        name: str,
        kind: Kind | None,
        session: ReadSession,
        calibration: Calibration,
        query: Query,
    ) -> None:
        self._name, self._kind = name, kind
        self._session, self._calibration, self._query = session, calibration, query

    def found(self, asked: Asked) -> Found:
        """The best by key, not yet ranked. All that is asked of the store is asked here."""
        shown = max(asked.k, SHORTLIST) if asked.rerank else asked.k
        found = self._found(shown, asked)
        while (
            asked.by_identity
            and len(found) == shown
            and len(first_of_each_identity([one for _, one in found])) < asked.k
        ):
            shown *= 2
            found = self._found(shown, asked)
        return found

    def hits(self, found: Found, asked: Asked) -> list[Hit]:
        """The best hits, ranked: after the reading has ended, too."""
        if asked.rerank:
            found = self._reranked(found)
        hits = [one for _, one in found if asked.min_score is None or one.score >= asked.min_score]
        return limit_answer(
            ranked((first_of_each_identity(hits) if asked.by_identity else hits)[: asked.k])
        )

    def _found(self, k: int, asked: Asked) -> Found:
        """The k best by key."""
        session, query = self._session, self._query
        passing = None if asked.where is None else self._passing(asked.where)
        without = session.expired(time.time())
        if asked.own_cameras is not None:
            without = np.union1d(without, session.passing(condition({"camera": asked.own_cameras})))
        scores, keys = session.search(
            query.embedding, query.mask, k, passing, without if len(without) else None
        )
        known = session.known(keys)
        hits = [
            (key, hit(self._name, known[key], score, self._kind))
            for key, score in zip(keys.tolist(), scores.tolist(), strict=True)
        ]
        probability = self._calibration.of(session, query.mask)
        if probability is None:
            return hits
        return [(key, replace(one, probability=probability(one.score))) for key, one in hits]

    def _passing(self, where: Filter) -> Keys:
        """The keys of the items that pass.

        Raises GalleryError for an attribute that no item of the gallery has.
        """
        passing = self._session.passing(where.condition)
        # A filter that some item passes asks for nothing unknown, unless it lets pass what lacks an
        # attribute.
        if (
            where.attributes
            and len(self._session.snapshot)
            and (where.passes_absent or not len(passing))
        ):
            names = self._session.attribute_names()
            if names is not None:
                check_attributes(where.attributes, names)
        return passing

    def _reranked(self, found: Found) -> Found:
        """Source: Zhong et al. (CVPR 2017), over the query and its shortlist."""
        if len(found) < 2:
            return found
        segments, query = self._query.segments, self._query
        vectors, masks = self._session.vectors(np.array([key for key, _ in found], np.int64))
        reduced = segments.reduced(vectors, masks & query.mask)
        distance = rerank(segments.reduced(query.embedding[None], np.array([query.mask])), reduced)[
            0
        ]
        return [found[place] for place in np.argsort(distance, kind="stable")]


def _kept(sample: Sample, tokens: NDArray[np.int64]) -> dict[Modality, list[int]]:
    """The kept patches of the modalities that a sample has, of tokens int64 [3, K]."""
    of_each = {modality: tokens[MODALITIES.index(modality)].tolist() for modality in sample.present}
    return {modality: patches for modality, patches in of_each.items() if patches}
