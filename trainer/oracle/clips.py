"""The frames of a clip as one value, as they stand in queries and ledgers.

A query is about one encoded picture, or about the frames of a clip, which are sent together. Frames are packed into one
sequence of bytes, so that a clip has one digest, is stored once and is compared as a picture is.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_MARK: Final = b"VPP clip\n"
"""First bytes of a pack. No format of pictures begins with them."""
_LENGTH: Final = struct.Struct("<I")


def pack(frames: Sequence[bytes]) -> bytes:
    """Put encoded frames into one sequence of bytes.

    Args:
        frames: At least one encoded picture, in the order in which they are sent.

    Example:
        >>> unpack(pack([b"first", b"second"]))
        (b'first', b'second')
        >>> unpack(b"picture")
        (b'picture',)
    """
    return _MARK + b"".join(_LENGTH.pack(len(frame)) + frame for frame in frames)


def is_clip(encoded: bytes) -> bool:
    """Say whether encoded pixels are a pack of frames; otherwise they are a picture."""
    return encoded.startswith(_MARK)


def unpack(packed: bytes) -> tuple[bytes, ...]:
    """Return the encoded frames of a pack; a picture is alone.

    Raises:
        ValueError: If the pack is cut off.
    """
    if not is_clip(packed):
        return (packed,)
    frames, place = [], len(_MARK)
    while place < len(packed):
        if place + _LENGTH.size > len(packed):
            raise ValueError("a clip is cut off")
        (length,) = _LENGTH.unpack_from(packed, place)
        place += _LENGTH.size
        if place + length > len(packed):
            raise ValueError("a clip is cut off")
        frames.append(packed[place : place + length])
        place += length
    return tuple(frames)
