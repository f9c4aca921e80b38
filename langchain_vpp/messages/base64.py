"""Base64: strict decoding, and work in pieces so that other threads can run.

With pybase64 (extra ``fast``) everything is done in one piece, which is fast enough.
"""

from __future__ import annotations

import base64
import binascii
import time
from typing import Final

from langchain_vpp.images.fast import fast_module

# Characters of base64, a multiple of four: well under a millisecond of work.
_PIECE: Final = 131_072


def decode_base64(payload: str) -> bytes | None:
    """Decode base64 in either alphabet, padded or not, wrapped or not.

    Returns:
        The bytes, or ``None`` if ``payload`` holds anything else. A lenient decoder would skip it.
    """
    try:
        return _decode_pieces(payload)
    except ValueError:
        plain = "".join(payload.split()).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return _decode_pieces(plain + "=" * (-len(plain) % 4))
    except ValueError:
        return None


def sealed_reference(payload: str) -> str | None:
    """Return the ``vpp://`` handle that a payload is, by itself or in the place of the base64 of a data URL.

    A prompt template writes the second form, when a sealed picture stands in its variable.
    """
    reference = payload.strip()
    if reference[:5].lower() == "data:":
        reference = reference.partition(",")[2].strip()
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
    if pybase64 := fast_module("pybase64"):
        return str(pybase64.b64encode_as_string(data))
    encoded = []
    for start in range(0, len(data), _PIECE // 4 * 3):
        encoded.append(base64.b64encode(data[start : start + _PIECE // 4 * 3]).decode("ascii"))
        time.sleep(0)
    return "".join(encoded)


def _decode_pieces(payload: str) -> bytes:
    """Decode the standard alphabet with padding; anything else raises ``ValueError``."""
    if pybase64 := fast_module("pybase64"):
        return bytes(pybase64.b64decode(payload, validate=True))
    if payload.find("=", 0, len(payload) - 2) >= 0:
        raise ValueError
    decoded = bytearray()
    for start in range(0, len(payload), _PIECE):
        decoded += binascii.a2b_base64(payload[start : start + _PIECE], strict_mode=True)
        time.sleep(0)
    return bytes(decoded)
