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
from trireid.gallery.filters import Filter, check_attributes, condition, parse_filter
from trireid.gallery.hits import Hit, make_hit, number_hits, select_best_of_identities
from trireid.gallery.index import Keys
from trireid.gallery.limits import limit_answer
from trireid.gallery.read_session import ReadSession
from trireid.gallery.scoring import Segments, make_mask
from trireid.gallery.search_params import SearchParams
from trireid.samples import MODALITIES, GalleryError, Kind, Modality, Sample

#: The best hits that re-ranking orders.
SHORTLIST: Final = 200
#: Hits, not yet ranked, by the keys of their items.
Found = Sequence[tuple[int, Hit]]


@dataclass(frozen=True, kw_only=True)
class Query:
    """A query's embedding float32 [D] by one network, the modalities it has, as a mask, and the
    selected patches of its first sample.
    """

    segments: Segments
    embedding: NDArray[np.float32]
    mask: int
    selected_patches: dict[Modality, list[int]] = field(default_factory=dict)

    @classmethod
    def average(
        cls,
        samples: Sequence[Sample],
        embeddings: NDArray[np.float32],
        tokens: NDArray[np.int64],
        segments: Segments,
    ) -> Query:
        """The mean of the samples' embeddings [B, D], each segment over those that have it."""
        masks = [make_mask(each.present) & segments.seen for each in samples]
        there = np.stack([segments.columns(mask) for mask in masks])
        mean = (embeddings * there).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
        mask = int(np.bitwise_or.reduce(masks))
        return cls(
            segments=segments,
            embedding=mean.astype(np.float32),
            mask=mask,
            selected_patches=_select_present(samples[0], tokens[0]),
        )


def own_cameras(samples: Sequence[Sample]) -> list[int]:
    """Return the cameras of a query. Raises GalleryError where it has none."""
    cameras = sorted({sample.camera for sample in samples if sample.camera is not None})
    if not cameras:
        raise GalleryError("other_cameras needs the query's own camera", "camera")
    return cameras


class Search:
    """One search with its parameters, before and while it reads a gallery.

    Args:
        kind: The kind of items that have none of their own.
        samples: The query: one sample, or several of one identity.
        params: The options.

    Raises:
        GalleryError: The filter cannot be, or the query has no camera to leave out.
    """

    def __init__(self, kind: Kind | None, samples: Sequence[Sample], params: SearchParams) -> None:
        self._kind, self._params = kind, params
        self._filter = None if params.where is None else parse_filter(params.where, kind)
        self._own_cameras = own_cameras(samples) if params.other_cameras else None

    def find(self, session: ReadSession, calibration: Calibration, query: Query) -> Found:
        """Return the best by key, not yet ranked. All reading of the store happens here."""
        params = self._params
        shown = max(params.k, SHORTLIST) if params.rerank else params.k
        found = self._find(session, calibration, query, shown)
        while (
            params.by_identity
            and len(found) == shown
            and len(select_best_of_identities([one for _, one in found])) < params.k
        ):
            shown *= 2
            found = self._find(session, calibration, query, shown)
        return found

    def rank(self, session: ReadSession, query: Query, found: Found) -> list[Hit]:
        """Return the best hits, ranked: after the reading has ended, too."""
        params = self._params
        if params.rerank:
            found = self._rerank(session, query, found)
        hits = [one for _, one in found]
        if params.min_score is not None:
            hits = [one for one in hits if one.score >= params.min_score]
        if params.by_identity:
            hits = select_best_of_identities(hits)
        return limit_answer(number_hits(hits[: params.k]))

    def _find(self, session: ReadSession, calibration: Calibration, query: Query, k: int) -> Found:
        """The k best by key."""
        passing = None if self._filter is None else self._find_passing(session, self._filter)
        without = session.find_expired(time.time())
        if self._own_cameras is not None:
            own = session.find_keys(condition({"camera": self._own_cameras}))
            without = np.union1d(without, own)
        scores, keys = session.search(
            query.embedding, query.mask, k, passing, without if len(without) else None
        )
        known = session.load_records(keys)
        hits = [
            (key, make_hit(known[key], score, self._kind))
            for key, score in zip(keys.tolist(), scores.tolist(), strict=True)
        ]
        probability = calibration.find_curve(session, query.mask)
        if probability is None:
            return hits
        return [(key, replace(one, probability=probability(one.score))) for key, one in hits]

    def _find_passing(self, session: ReadSession, where: Filter) -> Keys:
        """The keys of the items that pass.

        Raises GalleryError for an attribute that no item of the gallery has.
        """
        passing = session.find_keys(where.condition)
        # A filter that some item passes asks for nothing unknown, unless it lets pass what lacks an
        # attribute.
        if where.attributes and len(session.snapshot) and (where.passes_absent or not len(passing)):
            names = session.attribute_names()
            if names is not None:
                check_attributes(where.attributes, names)
        return passing

    def _rerank(self, session: ReadSession, query: Query, found: Found) -> Found:
        """Source: Zhong et al. (CVPR 2017), over the query and its shortlist."""
        if len(found) < 2:
            return found
        segments = query.segments
        vectors, masks = session.vectors(np.array([key for key, _ in found], np.int64))
        reduced = segments.reduce(vectors, masks & query.mask)
        mine = segments.reduce(query.embedding[None], np.array([query.mask]))
        order = np.argsort(rerank(mine, reduced)[0], kind="stable")
        return [found[row] for row in order]


def _select_present(sample: Sample, tokens: NDArray[np.int64]) -> dict[Modality, list[int]]:
    """The selected patches of the modalities that a sample has, of tokens int64 [3, K]."""
    of_each = {modality: tokens[MODALITIES.index(modality)].tolist() for modality in sample.present}
    return {modality: patches for modality, patches in of_each.items() if patches}
