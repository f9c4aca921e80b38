"""Picture files of a data set: opened as training sees them, and written without anything but their pixels."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from langchain_vpp.errors import DataError, ProtectionError
from langchain_vpp.images.codec import decode_image, encode_image
from trainer.data.format import INDEX

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

_QUALITY: Final = 95


def open_picture(path: Path) -> Image.Image:
    """Decode one picture at its own size, upright and in RGB.

    Raises:
        DataError: If it can't be read; the message names the file.
    """
    try:
        return decode_image(path.read_bytes())
    except (OSError, ProtectionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
    raise DataError(f"{path} can't be used: {reason}. Replace the file or remove its line from {INDEX}.")


def write_pixels(image: Image.Image, target: Path) -> None:
    """Write the pixels of a picture, without metadata, as a whole file or not at all.

    Args:
        image: An RGB picture.
        target: A PNG file, which keeps every pixel, or a JPEG file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    if target.suffix == ".png":
        image.save(partial, "PNG", compress_level=1)
    else:
        partial.write_bytes(encode_image(image, quality=_QUALITY))
    partial.replace(target)


def link_or_copy(source: Path, target: Path) -> None:
    """Put a file of a published data set into another folder, byte by byte: as a hard link where the disk allows it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return
    partial = target.with_name(f"{target.name}.partial")
    with suppress(FileNotFoundError):
        partial.unlink()
    try:
        os.link(source.resolve(), partial)
    except OSError:
        shutil.copyfile(source, partial)
    partial.replace(target)
