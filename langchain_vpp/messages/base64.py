"""Base64: strict decoding and encoding, in pieces so that other threads can run."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from langchain_vpp.images.fast import fast_module
from langchain_vpp.images.pace import PIECE, give_way

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST_HANDLE: Final = 256
_PADDING: Final = (
    "= \t\n\v\f\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""The sign, and all white space."""


def decode_base64(payload: str, start: int = 0) -> bytes | None:
    """Decode base64 in either alphabet, padded or not, wrapped or not.

    Args:
        payload: The text.
        start: Where the base64 begins in it.

    Returns:
        The bytes, or ``None`` if ``payload`` holds anything else. A lenient decoder would skip it.
    """
    try:
        return _decoded(_cut(payload, start))
    except ValueError:
        pass
    try:
        return _decoded(_normalized(payload, start))
    except ValueError:
        return None


def sealed_reference(payload: str) -> str | None:
    """Return the ``vpp://`` handle that a payload is, by itself or in the place of the base64 of a data URL.

    A prompt template writes the second form, when a sealed picture stands in its variable.
    """
    reference = payload.strip()
    if reference[:5].lower() == "data:":
        start = reference.find(",") + 1
        reference = reference[start : start + _LONGEST_HANDLE].strip()
    return reference if reference[:6].lower() == "vpp://" else None


def decode_text(text: str) -> bytes | None:
    """Decode text that is nothing but base64, or nothing but a ``data:`` URL with base64.

    Returns:
        The bytes, or ``None`` if the text is anything else.
    """
    payload = text.strip()
    if payload[:5].lower() == "data:":
        header, _, payload = payload.partition(",")
        if "base64" not in header.lower().split(";"):
            return None
    return decode_base64(payload)


def encode_base64(data: bytes) -> str:
    """Encode in the standard alphabet, with padding and without line breaks."""
    pybase64 = fast_module("pybase64")
    encode = pybase64.b64encode if pybase64 else base64.b64encode
    encoded = []
    for start in range(0, len(data), PIECE // 4 * 3):
        if start:
            give_way()
        encoded.append(encode(data[start : start + PIECE // 4 * 3]).decode("ascii"))
    return "".join(encoded)


def decode_percent(text: str, start: int = 0) -> bytes:
    """Decode percent-encoding.

    Args:
        text: The text.
        start: Where what is encoded begins in it.
    """
    decoded = []
    while start < len(text):
        end = start + PIECE
        if end < len(text):
            escape = text.rfind("%", end - 2, end)
            end = end if escape < 0 else escape  # which stays whole
        decoded.append(unquote_to_bytes(text[start:end]))
        give_way()
        start = end
    return b"".join(decoded)


def _cut(payload: str, start: int = 0) -> Iterator[str]:
    """Cut base64 into pieces of a multiple of four characters."""
    for each in range(start, len(payload), PIECE):
        yield payload[each : each + PIECE]


def _normalized(payload: str, start: int) -> Iterator[str]:
    """Cut base64 as :func:`_cut` does, without white space, in the standard alphabet and with padding."""
    rest = ""
    for piece in _cut(payload.rstrip(_PADDING), start):
        plain = rest + "".join(piece.split()).replace("-", "+").replace("_", "/")
        whole = len(plain) - len(plain) % 4
        if whole:
            yield plain[:whole]
        rest = plain[whole:]
    if rest:
        yield rest + "=" * (-len(rest) % 4)


def _decoded(pieces: Iterator[str]) -> bytes:
    """Decode the standard alphabet with padding; anything else raises ``ValueError``."""
    pybase64 = fast_module("pybase64")
    decoded: list[bytes] = []
    was_padded = False
    for piece in pieces:
        if was_padded:
            raise ValueError
        if decoded:
            give_way()
        was_padded = "=" in piece
        decoded.append(
            pybase64.b64decode(piece, validate=True)
            if pybase64
            else binascii.a2b_base64(piece, strict_mode=True)
        )
    return b"".join(decoded)  # which lets other threads run
