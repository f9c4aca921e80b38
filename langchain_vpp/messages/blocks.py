"""Image blocks of messages, made from files, bytes and PIL images."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict

from langchain_vpp.errors import ProtectionError
from langchain_vpp.images.given import image_bytes

if TYPE_CHECKING:
    from PIL import Image

_NOT_MADE: Final = "No image block was made: "
_KINDS: Final = (
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"(?s)RIFF.{4}WEBP"), "image/webp"),
    (re.compile(rb"(?s)BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0{3}"), "image/bmp"),
    (re.compile(rb"II\*\0|MM\0\*"), "image/tiff"),
    (re.compile(rb"(?s).{4}ftypavi[fs]"), "image/avif"),
    (re.compile(rb"(?s).{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)"), "image/heic"),
)


class ImageBlock(TypedDict):
    """An image block of LangChain (v1) that holds its picture."""

    type: str
    base64: str
    mime_type: str


def image_block(image: Image.Image | bytes | str | Path) -> ImageBlock:
    """Make an image block of a message, as LangChain writes it (v1), from a picture.

    The block holds the **original**. Give it to a protected model, chain or agent, which replaces it.

    Args:
        image: The path of a file, the bytes of an encoded picture, or a PIL image, which becomes a PNG.

    Returns:
        A dictionary with ``type``, ``base64`` and ``mime_type``. The type of the picture is told by its first bytes,
        not by its name.

    Raises:
        ProtectionError: If there is no such file, or it is no picture. The error names neither path nor content.

    Example:
        >>> from PIL import Image
        >>> block = image_block(Image.new("RGB", (8, 8)))
        >>> block["type"], block["mime_type"]
        ('image', 'image/png')
    """
    if isinstance(image, (str, Path)):
        _check_file(image)
    data = image_bytes(image)
    if not data:
        raise ProtectionError(f"{_NOT_MADE}it is empty. Give the bytes of a whole file.")
    if data.startswith(b"%PDF-"):
        raise ProtectionError(
            f"{_NOT_MADE}it is a PDF document. Make a block of type 'file', and see the guide on documents."
        )
    kind = next((kind for pattern, kind in _KINDS if pattern.match(data)), None)
    if kind is None:
        raise ProtectionError(
            f"{_NOT_MADE}it is no JPEG, PNG, GIF, WebP, BMP, TIFF, AVIF or HEIC. Convert it to one of these."
        )
    return {"type": "image", "base64": base64.b64encode(data).decode("ascii"), "mime_type": kind}


def _check_file(path: str | Path) -> None:
    text = str(path)
    if text.startswith(("http://", "https://")):
        raise ProtectionError(
            f"{_NOT_MADE}it is an address. Download the picture, or let the protector fetch it: see the guide on "
            "remote pictures."
        )
    if text.startswith("data:"):
        raise ProtectionError(f"{_NOT_MADE}it is a data URL. Give the bytes that it holds.")
    reason = ""
    try:
        if not Path(path).exists():
            reason = "there is no such file"
        elif not Path(path).is_file():
            reason = "it is a folder, not a file"
    except (OSError, ValueError):
        reason = "it is no name of a file"
    if reason:
        raise ProtectionError(f"{_NOT_MADE}{reason}. Give the path of a picture, or its bytes.")
