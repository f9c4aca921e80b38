"""Rows of pictures as they are sent, and a contact sheet of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from langchain_vpp.engines import NAMED_ENGINES
from langchain_vpp.images.codec import decode_image, encode_image
from langchain_vpp.images.sheet import draw_sheet
from trainer.reporting.files import writing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from PIL import Image

    from langchain_vpp.engines import Engine
    from trainer.data.dataset import Dataset


class PictureRow(NamedTuple):
    """A few test pictures under one condition."""

    label: str
    """Name of the condition."""
    protected: bool
    """Whether the pictures went through a protector."""
    pictures: tuple[Image.Image, ...]
    """The pictures as they are sent."""


def picture_rows(
    dataset: Dataset,
    engine: Engine,
    levels: Sequence[float],
    baselines: Mapping[str, float],
    *,
    originals: bool,
    count: int = 6,
) -> tuple[PictureRow, ...]:
    """Protect the same test images at each level and by classical engines, as they are sent.

    Args:
        dataset: Data set; the first images of its test split are taken.
        engine: The protector.
        levels: Levels of the protector, a row each.
        baselines: Name of a classical engine -> its level, a row each.
        originals: Whether the first row is *unprotected*.
        count: Images in a row.
    """
    shown: list[tuple[str, Engine | None, float]] = [("original", None, 0.0)] if originals else []
    shown += [(f"level {level:g}", engine, level) for level in levels]
    shown += [(f"{name} {level:g}", NAMED_ENGINES[name](), level) for name, level in baselines.items()]
    images = [dataset.open_image(example) for example in dataset.split("test")[:count]]
    return tuple(
        PictureRow(
            label,
            protector is not None,
            tuple(
                decode_image(encode_image(protector.protect(image, level) if protector else image))
                for image in images
            ),
        )
        for label, protector, level in shown
    )


def contact_sheet(rows: Sequence[PictureRow], path: Path) -> None:
    """Draw rows of pictures on one sheet.

    Args:
        rows: Rows of the same number of pictures.
        path: A PNG or JPEG file. With *unprotected* rows it is for the owner of the data.

    Raises:
        TrainingError: If the file can't be written.
    """
    sheet = draw_sheet([(row.label, row.pictures) for row in rows])
    with writing("sheet", path):
        sheet.save(path)
