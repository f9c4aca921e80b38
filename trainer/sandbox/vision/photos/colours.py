"""Names of colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

COLOURS: Final = (
    "black", "white", "grey", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown",
)  # fmt: skip
"""The basic names of colours (Berlin and Kay, 1969)."""
_SIDE: Final = 48
_MIDDLE: Final = 0.2
"""Share of a box at each side that is left out: it shows what is around the object."""
_HUES: Final = ((14, "red"), (38, "orange"), (68, "yellow"), (165, "green"), (258, "blue"), (292, "purple"),
                (338, "pink"), (361, "red"))  # fmt: skip
"""Largest hue of a colour, in degrees."""


def colour_shares(image: Image.Image, box: Sequence[float]) -> dict[str, float]:
    """Return the share of each colour in the middle of a box.

    Args:
        image: RGB picture.
        box: Left, top, right and bottom, as shares of the picture's width and height.
    """
    width, height = box[2] - box[0], box[3] - box[1]
    middle = (
        (box[0] + _MIDDLE * width) * image.width,
        (box[1] + _MIDDLE * height) * image.height,
        (box[2] - _MIDDLE * width) * image.width,
        (box[3] - _MIDDLE * height) * image.height,
    )
    corners = (int(middle[0]), int(middle[1]), max(int(middle[2]), int(middle[0]) + 1), 0)
    corners = (*corners[:3], max(int(middle[3]), int(middle[1]) + 1))
    part = image.crop(corners).resize((_SIDE, _SIDE), Image.Resampling.BOX).convert("HSV")
    hue, saturation, value = np.moveaxis(np.asarray(part, np.float32), 2, 0)
    degrees, strong, bright = hue * (360 / 255), saturation / 255, value / 255
    names = np.full(hue.shape, COLOURS.index("grey"))
    low = 0.0
    for high, name in _HUES:
        names[(degrees >= low) & (degrees < high)] = COLOURS.index(name)
        low = float(high)
    dull_orange = (degrees >= 10) & (degrees < 45) & (bright < 0.65)
    names[dull_orange] = COLOURS.index("brown")
    pale_red = ((degrees < 14) | (degrees >= 338)) & (strong < 0.5) & (bright > 0.7)
    names[pale_red] = COLOURS.index("pink")
    names[strong < 0.18] = COLOURS.index("grey")
    names[(strong < 0.18) & (bright > 0.75)] = COLOURS.index("white")
    names[bright < 0.2] = COLOURS.index("black")
    counts = np.bincount(names.reshape(-1), minlength=len(COLOURS)) / names.size
    return dict(zip(COLOURS, counts.tolist(), strict=True))
