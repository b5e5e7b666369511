"""Readers: one layout of pictures on disk each, as sources of samples."""
