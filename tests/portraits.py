"""A collection of portraits of nobody, as :mod:`trainer.sandbox.drawing.portraits` reads them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from PIL import Image

from trainer.sandbox.drawing.portraits import PORTRAIT_ATTRIBUTES

if TYPE_CHECKING:
    from pathlib import Path

_COLUMNS = ("age_group", "gender", "race")


def save_portraits(folder: Path) -> Path:
    """Write a plain square for every combination of the private attributes, and return the folder."""
    lines = [",".join(("file", *_COLUMNS))]
    for number, values in enumerate(itertools.product(*(PORTRAIT_ATTRIBUTES[name] for name in _COLUMNS))):
        name = f"{'val' if number % 4 == 0 else 'train'}/{number}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (number, 90, 255 - number)).save(folder / name)
        lines.append(",".join((name, *values)))
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder
