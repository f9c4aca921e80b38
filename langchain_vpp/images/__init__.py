"""Bytes to picture and back: codecs, sizes, documents."""
