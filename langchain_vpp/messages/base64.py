"""Base64: strict decoding, and work in pieces so that other threads can run.

With pybase64 (extra ``fast``) everything is done in one piece, which is fast enough.
"""

from __future__ import annotations

import base64
import binascii
import time
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

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


class Opened(NamedTuple):
    """Result of opening a payload.

    Attributes:
        is_url: Whether the payload is a data URL.
        data: The bytes in it; ``None`` if it is neither base64 nor a data URL that can be read.
    """

    is_url: bool
    data: bytes | None


def opened(payload: str) -> Opened:
    """Open text that is nothing but base64, or nothing but a data URL, with base64 or with escapes."""
    payload = payload.strip()
    if payload[:5].lower() != "data:":
        return Opened(is_url=False, data=decode_base64(payload))
    header, comma, payload = payload.partition(",")
    if comma and "base64" not in header.lower().split(";"):
        return Opened(is_url=True, data=_without_escapes(payload))
    if "%" in payload:
        payload = _without_escapes(payload).decode("ascii", errors="replace")
    return Opened(is_url=True, data=decode_base64(payload) if comma else None)


def _without_escapes(text: str) -> bytes:
    return unquote_to_bytes(text.encode("utf-8", "surrogatepass"))


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
