"""Pictures that look alike, found by perceptual hashes (extra ``data``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from langchain_vpp import extras

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from PIL import Image

_SIDE: Final = 512
"""Longest side at which a picture is looked at; the hash uses 32 pixels of it."""
_MOST_BITS: Final = 6
"""Most of the 64 bits in which hashes of the same scene differ."""
_PLAIN: Final = 4.0
"""Standard deviation of brightness below which a picture has nothing by which it could be recognised."""
_BLOCK: Final = 512


def is_available() -> bool:
    """Say whether the extra ``data`` is installed. Nothing of it is imported."""
    return extras.is_installed("imagehash", "scipy")


def fingerprint(image: Image.Image) -> np.ndarray:
    """Compute the perceptual hash (pHash) of a picture.

    Args:
        image: An RGB picture.

    Returns:
        64 bits, shape ``[64]``; all of them unset for a picture that is almost one colour. No hash of another picture
        has that.

    Raises:
        MissingExtraError: If the extra ``data`` is missing.
    """
    imagehash = extras.load("imagehash", extra="data", undone="pictures were not compared")
    small = image.copy()
    small.thumbnail((_SIDE, _SIDE))
    if np.asarray(small.convert("L")).std() < _PLAIN:
        return np.zeros(64, dtype=bool)
    bits: np.ndarray = imagehash.phash(small).hash.ravel()
    return bits


def alike_pairs(prints: Sequence[np.ndarray]) -> Iterator[tuple[int, int]]:
    """Find pairs of pictures that look alike, each once, by rising indices.

    Plain pictures, which have no bits, are never alike.

    Args:
        prints: Hash of each picture; see :func:`fingerprint`.
    """
    if len(prints) < 2:
        return
    bits: np.ndarray = np.stack(prints)
    signs = np.where(bits, 1, -1).astype(np.float32)
    known: np.ndarray = bits.sum(axis=1) > 0
    for begin in range(0, len(signs), _BLOCK):
        # The product of two hashes counts the bits in which they agree, less those in which they differ.
        differing = (64 - signs[begin : begin + _BLOCK] @ signs.T) / 2
        rows, columns = np.nonzero(differing <= _MOST_BITS)
        for row, column in zip(rows + begin, columns, strict=True):
            if row < column and known[row] and known[column]:
                yield int(row), int(column)
