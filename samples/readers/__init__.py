"""Readers: one layout of images on disk each, as sources of samples."""
