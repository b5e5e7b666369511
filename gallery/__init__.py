"""The gallery: a durable store of enrolled samples, its index, search, and filling it in batches."""

from trireid.gallery.gallery import Gallery
from trireid.gallery.hits import Answer, Hit
from trireid.gallery.index_report import IndexReport
from trireid.gallery.indexing import index
from trireid.gallery.place import SUFFIX, artifact_of, fingerprint_of, gallery_name, is_gallery
from trireid.samples.bounds import MAX_K

__all__ = [
    "MAX_K",
    "SUFFIX",
    "Answer",
    "Gallery",
    "Hit",
    "IndexReport",
    "artifact_of",
    "fingerprint_of",
    "gallery_name",
    "index",
    "is_gallery",
]
