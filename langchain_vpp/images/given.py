"""Pictures as they are given: an object of PIL, encoded bytes or a path; always to the bytes of one encoded file.

A PIL picture gets the treatment that :func:`langchain_vpp.images.codec.decode_image` gives to a file: it is turned
upright, its colours become sRGB, transparency is composited on white, and modes without defined colours are refused.
"""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Final

from PIL import Image

from langchain_vpp.errors import ProtectionError
from langchain_vpp.images.codec import MAX_PIXELS
from langchain_vpp.images.sizes import turn_of, upright
from langchain_vpp.images.srgb import to_srgb

_LOADING: Final = threading.Lock()
"""Held while a file is decoded into a PIL image, which fails if two threads load the same image, as ``batch`` may."""
_NO_PICTURE: Final = "A picture must be a PIL image, encoded bytes or a path."
_UNREADABLE: Final = (
    "The picture was not protected: there is no such file, or it can't be read. Check the path, which is relative to "
    "the working folder, or give the bytes of the picture."
)
_NO_COLOURS: Final = (
    "The picture was not protected: the PIL image is closed or cut off, or its mode has no defined colours. "
    "Convert it to RGB."
)
_TOO_LARGE: Final = "The picture was not protected: it has more than {:,} pixels. Make it smaller."


def image_bytes(image: Image.Image | bytes | str | Path, *, max_pixels: int = MAX_PIXELS) -> bytes:
    """Return the bytes of an encoded picture.

    Args:
        image: The bytes of an encoded picture, which are returned as they are; the path of a file, which is read; or a
            PIL image in any mode, which becomes a PNG of its pixels alone, upright, in sRGB and over white. Of an
            animation, that is the current frame.
        max_pixels: Bound on width x height of a PIL image, judged before its pixels are loaded.

    Raises:
        ProtectionError: If ``image`` is none of these, can't be read, exceeds ``max_pixels``, or has no defined
            colours. The error carries nothing of the picture.
    """
    if isinstance(image, (bytes, bytearray, memoryview)):
        return bytes(image)
    refusal: ProtectionError
    if isinstance(image, (str, Path)):
        try:
            return Path(image).read_bytes()
        except Exception:  # noqa: BLE001  the error names the path, and ours is raised below
            refusal = ProtectionError(_UNREADABLE)
        raise refusal
    if not isinstance(image, Image.Image):
        raise ProtectionError(_NO_PICTURE)
    try:
        return _png(image, max_pixels)
    except ProtectionError as ours:
        refusal = ours
    except Exception:  # noqa: BLE001  Pillow raises a dozen types, some with content; ours is raised below
        refusal = ProtectionError(_NO_COLOURS)
    raise refusal


def _png(image: Image.Image, max_pixels: int) -> bytes:
    width, height = image.size
    if width * height > max_pixels:
        raise ProtectionError(_TOO_LARGE.format(max_pixels))
    with _LOADING:
        image.load()
    # Into RGB, because a PNG would have to carry the profile and the orientation on.
    pixels = upright(to_srgb(image), turn_of(image))
    encoded = io.BytesIO()
    pixels.save(encoded, "PNG", compress_level=1)
    return encoded.getvalue()
