"""The gallery: a durable store of enrolled samples, its index, search, and indexing in batches."""

from typing import TYPE_CHECKING, Final

from trireid.lazy import lazy_names

if TYPE_CHECKING:
    from trireid.gallery.gallery import Gallery
    from trireid.gallery.hits import Hit, SearchResult
    from trireid.gallery.index_report import IndexReport
    from trireid.gallery.indexing import index_source
    from trireid.gallery.metadata import (
        SUFFIX,
        gallery_name,
        is_gallery,
        read_artifact_path,
        read_fingerprint,
    )
    from trireid.gallery.search_params import SearchParams
    from trireid.samples.bounds import MAX_K

__all__ = [
    "MAX_K",
    "SUFFIX",
    "Gallery",
    "Hit",
    "IndexReport",
    "SearchParams",
    "SearchResult",
    "gallery_name",
    "index_source",
    "is_gallery",
    "read_artifact_path",
    "read_fingerprint",
]
_MODULES: Final = {
    "MAX_K": "trireid.samples.bounds",
    "SUFFIX": "trireid.gallery.metadata",
    "Gallery": "trireid.gallery.gallery",
    "Hit": "trireid.gallery.hits",
    "IndexReport": "trireid.gallery.index_report",
    "SearchParams": "trireid.gallery.search_params",
    "SearchResult": "trireid.gallery.hits",
    "read_artifact_path": "trireid.gallery.metadata",
    "read_fingerprint": "trireid.gallery.metadata",
    "gallery_name": "trireid.gallery.metadata",
    "index_source": "trireid.gallery.indexing",
    "is_gallery": "trireid.gallery.metadata",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULES)
