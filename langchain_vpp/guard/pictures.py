"""One picture: from whatever a caller may call a picture to bytes, and the sizes at which it is seen and sent."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, Final, Literal

from PIL import Image

from langchain_vpp.errors import ProtectionError
from langchain_vpp.guard.foreign import call_foreign

# What a JPEG can hold.
_MAX_SIDE: Final = 65_500

OutputSize = Literal["same", "fit"] | int | tuple[int, int]
"""What ``ImageProtector(output_size=...)`` takes."""


def checked_output_size(size: Any) -> OutputSize:
    """Return the size if it is one that ``output_size`` takes."""
    if size in ("same", "fit"):
        return "same" if size == "same" else "fit"
    sides = (size,) if not isinstance(size, tuple) else size
    if len(sides) not in (1, 2) or not all(type(side) is int and 0 < side <= _MAX_SIDE for side in sides):
        msg = f"output_size must be same, fit, or one or two numbers of pixels from 1 to {_MAX_SIDE}"
        raise ValueError(msg)
    return size if isinstance(size, int) else (sides[0], sides[-1])


def usable_cpus() -> int:
    """How many CPUs this process may use: a container may give it fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def image_bytes(image: Image.Image | bytes | str | Path) -> bytes:
    """The encoded bytes of whatever a caller may call a picture."""
    if isinstance(image, (bytes, bytearray, memoryview)):
        return bytes(image)
    if isinstance(image, (str, Path)):
        return call_foreign("file system", Path(image).read_bytes)
    if not isinstance(image, Image.Image):
        raise ProtectionError("A picture must be a PIL image, encoded bytes or a path.")
    picture = image if image.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") else image.convert("RGB")
    buffer = io.BytesIO()
    options = {"exif": image.getexif(), "icc_profile": image.info.get("icc_profile"), "compress_level": 1}
    call_foreign("PNG encoder", lambda: picture.save(buffer, "PNG", **options))
    return buffer.getvalue()


def rasterize(data: bytes) -> list[Image.Image]:
    """Draw the pages of a PDF."""
    from langchain_vpp.images.pdf import rasterize_pdf  # noqa: PLC0415  extra `documents`

    return rasterize_pdf(data)
