"""The gallery: a durable store of enrolled samples, its index, search, and filling it in batches."""

from gallery.gallery import Gallery
from gallery.hits import Answer, Hit
from gallery.index_report import IndexReport
from gallery.indexing import index
from gallery.place import SUFFIX, artifact_of, fingerprint_of, gallery_name, is_gallery
from samples.bounds import MAX_K

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
