"""The gallery: a durable store of enrolled samples, its index, search, and filling it in batches."""

from typing import TYPE_CHECKING, Final

from trireid.lazy import lazy_names

if TYPE_CHECKING:
    from trireid.gallery.gallery import Gallery
    from trireid.gallery.hits import Hit, SearchResult
    from trireid.gallery.index_report import IndexReport
    from trireid.gallery.indexing import index_source
    from trireid.gallery.place import SUFFIX, artifact_of, fingerprint_of, gallery_name, is_gallery
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
    "artifact_of",
    "fingerprint_of",
    "gallery_name",
    "index_source",
    "is_gallery",
]
_MODULES: Final = {
    "MAX_K": "trireid.samples.bounds",
    "SUFFIX": "trireid.gallery.place",
    "Gallery": "trireid.gallery.gallery",
    "Hit": "trireid.gallery.hits",
    "IndexReport": "trireid.gallery.index_report",
    "SearchParams": "trireid.gallery.search_params",
    "SearchResult": "trireid.gallery.hits",
    "artifact_of": "trireid.gallery.place",
    "fingerprint_of": "trireid.gallery.place",
    "gallery_name": "trireid.gallery.place",
    "index_source": "trireid.gallery.indexing",
    "is_gallery": "trireid.gallery.place",
}

__getattr__ = lazy_names(__name__, _MODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
