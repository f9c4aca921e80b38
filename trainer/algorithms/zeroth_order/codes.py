"""Codes: a few orthonormal directions in which an image may be moved."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Protocol

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

_FLAT: Final = 1e-3
"""Root mean square over a cell, a quarter of an 8-bit step, below which a direction counts as missing."""


class Code(Protocol):
    """An orthonormal frame :math:`Q(x)` of few directions, which depends on the image."""

    def size(self, images: Tensor) -> int:
        """Return the number :math:`d` of directions for images of this shape."""

    def displacement(self, images: Tensor, coordinates: Tensor) -> Tensor:
        """Combine the directions: :math:`Q(x) z`.

        Args:
            images: In [0, 1], shape ``[B, 3, H, W]``.
            coordinates: :math:`z`, shape ``[B, d]``.

        Returns:
            Shape ``[B, 3, H, W]``; linear in ``coordinates`` and of the same norm, except for directions that an image
            lacks.
        """


class _CellCode:
    """Code whose directions each change one square cell.

    Args:
        cell: Side of a cell in pixels; must divide the sides of the images.
    """

    directions_per_cell: int

    def __init__(self, cell: int = 8) -> None:
        self._cell = cell

    def size(self, images: Tensor) -> int:
        """Return the number of directions of all cells.

        Raises:
            ValueError: If cells do not divide the images.
        """
        height, width = images.shape[-2:]
        if height % self._cell or width % self._cell:
            raise ValueError(f"cells of {self._cell} pixels do not divide images of {height} x {width}")
        return self.directions_per_cell * (height // self._cell) * (width // self._cell)


class BlockCode(_CellCode):
    """Code of image space at low resolution: each channel of each square cell moves as one.

    Args:
        cell: Side of a cell in pixels; must divide the sides of the images.
    """

    directions_per_cell = 3

    def displacement(self, images: Tensor, coordinates: Tensor) -> Tensor:
        """Spread each coordinate over its cell; see :meth:`Code.displacement`."""
        height, width = images.shape[-2] // self._cell, images.shape[-1] // self._cell
        blocks = coordinates.view(-1, 3, height, width) / self._cell
        return blocks.repeat_interleave(self._cell, dim=-2).repeat_interleave(self._cell, dim=-1)


class OperatorCode(_CellCode):
    """Code of five picture operators per square cell.

    The operators are offsets of red, green and blue, contrast (away from the cell's mean) and mixing with grey (towards
    the mean of the channels). They are orthonormalised in this order (Gram-Schmidt), so that one displacement means the
    same for every image. A flat cell has no contrast and a grey one nothing to mix.

    Args:
        cell: Side of a cell in pixels; must divide the sides of the images.
    """

    directions_per_cell = 5

    def displacement(self, images: Tensor, coordinates: Tensor) -> Tensor:
        """Apply each cell's operators in proportion to its coordinates; see :meth:`Code.displacement`."""
        shuffled = nn.functional.pixel_unshuffle(images, self._cell)
        pixels = shuffled.view(len(images), 3, self._cell**2, *shuffled.shape[-2:])
        amounts = coordinates.view(len(images), 5, 1, *pixels.shape[-2:])
        contrast = _unit(pixels - pixels.mean(dim=2, keepdim=True))
        towards_grey = pixels.mean(dim=1, keepdim=True) - pixels
        towards_grey = towards_grey - towards_grey.mean(dim=2, keepdim=True)
        shared = (towards_grey * contrast).sum(dim=(1, 2), keepdim=True)
        grey = _unit(towards_grey - shared * contrast)
        moved = amounts[:, :3] / self._cell + amounts[:, 3:4] * contrast + amounts[:, 4:] * grey
        return nn.functional.pixel_shuffle(moved.flatten(1, 2), self._cell)


def _unit(directions: Tensor) -> Tensor:
    """Scale each cell's direction ``[B, 3, n, H', W']`` to norm 1, or to 0 where it is missing."""
    norm = directions.square().sum(dim=(1, 2), keepdim=True).sqrt()
    least = _FLAT * math.sqrt(directions.shape[1] * directions.shape[2])
    return torch.where(norm > least, directions / norm.clamp(min=least), 0.0)
