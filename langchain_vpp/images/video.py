"""Frames of a video as pictures, which can then be protected like any other (extra ``video``)."""

from __future__ import annotations

import io
import json
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from langchain_vpp import extras
from langchain_vpp.errors import ProtectionError
from langchain_vpp.images.bounds import TOO_LARGE, Bounds
from langchain_vpp.images.isolated import Decoded, IsolatedError, iterate_isolated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from PIL import Image

MOST_FRAMES: Final = 32
"""Default bound on the number of frames."""

FRAME_SIDE: Final = 768
"""Longest side of a frame in pixels. Providers keep the frames of a video at this size or below."""

_SAMPLING_SECONDS: Final = 20.0
_TICKS: Final = 90_000
"""Parts of a second in which times of frames are written."""
_FRAME_RATE: Final = 30
"""Frames of a second for which the encoder plans; their times are written one by one."""
_PICTURE_BRANDS: Final = (
    b"avif",
    b"avis",
    b"heic",
    b"heix",
    b"heim",
    b"heis",
    b"hevc",
    b"hevx",
    b"mif1",
    b"msf1",
)
_BOXES: Final = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_PACKET: Final = 188
_PACKETS: Final = 5
_SYNC: Final = 0x47
"""Bytes of a packet of an MPEG transport stream, and the first of them. A GIF begins with it too."""
_REFUSALS: Final = {
    "no pictures": "it has no pictures, or only sound.",
    "damaged": "it is damaged, encrypted, or in a format that can't be read. Send an MP4 with H.264.",
}


def video_format(data: bytes) -> str | None:
    """Return the format of a video as FFmpeg names it, or ``None`` for data that are no video.

    The first bytes tell: those of MP4 and QuickTime, Matroska and WebM, AVI, and MPEG streams. AVIF and HEIC, which
    share MP4's header, are pictures.
    """
    if data[4:8] in _BOXES:
        brands = data[8:64] if data[4:8] == b"ftyp" else b""
        return None if any(brand in brands for brand in _PICTURE_BRANDS) else "mov"
    if data.startswith(b"\x1aE\xdf\xa3"):
        return "matroska"
    if data.startswith(b"RIFF") and data[8:12] == b"AVI ":
        return "avi"
    if data.startswith(b"\0\0\1\xba"):
        return "mpeg"
    starts = data[: _PACKETS * _PACKET : _PACKET]
    return "mpegts" if len(starts) == _PACKETS and set(starts) == {_SYNC} else None


def sample_video(
    data: bytes,
    wanted: Callable[[int, int], tuple[int, int]] = lambda width, height: (width, height),
    *,
    most_frames: int = MOST_FRAMES,
    bounds: Bounds | None = None,
) -> list[Decoded]:
    """Decode frames of a video at even distances, in another process.

    There is a frame for each second of the video; for a longer video, ``most_frames`` frames over its whole length.
    Where these are more than two seconds apart, the nearest key frames before are taken, and none twice. Sound,
    subtitles, attachments and everything that the file says of itself stay behind.

    Args:
        data: The file.
        wanted: Function from the size of the video, upright, to the size at which its frames are wanted.
        most_frames: Bound on the number of frames.
        bounds: What decoding may cost; by default a minute. Each frame counts with the pixels of the video.

    Returns:
        New RGB images in the order of time, without metadata.

    Raises:
        MissingExtraError: If ``av`` is not installed.
        ProtectionError: If the video is damaged or encrypted, has no picture, or takes too much time or memory. The
            error carries nothing of the video.
    """
    task = {"task": "sample", "format": video_format(data), "most_frames": most_frames}
    return list(_frames(data, task, wanted, bounds or Bounds(), _SAMPLING_SECONDS))


def decode_video(
    data: bytes,
    wanted: Callable[[int, int], tuple[int, int]] = lambda width, height: (width, height),
    *,
    bounds: Bounds,
) -> Iterator[tuple[Decoded, float]]:
    """Decode all frames of a video one after the other, in another process.

    Args:
        data: The file.
        wanted: Function from the size of the video, upright, to the size at which its frames are wanted.
        bounds: What decoding may cost.

    Yields:
        Each frame, and the second at which it is shown.

    Raises:
        MissingExtraError: If ``av`` is not installed.
        ProtectionError: If :func:`sample_video` would raise it.
    """
    task = {"task": "sample", "format": video_format(data), "most_frames": None}
    for frame in _frames(data, task, wanted, bounds, bounds.seconds_left):
        yield frame, float(json.loads(frame.text or b"0"))


class VideoWriter:
    """Writes frames as an MP4 with H.264, and nothing else: no sound, no metadata. The same frames give the same bytes.

    Args:
        size: Width and height of all frames. An odd last row or column is left out.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        extras.require("av", extra="video", undone="A video was not protected")
        import av  # noqa: PLC0415  extra `video`

        self._size = max(2, size[0] // 2 * 2), max(2, size[1] // 2 * 2)
        self._frame_class = av.VideoFrame
        self._file = io.BytesIO()
        self._container = av.open(self._file, "w", format="mp4", options={"fflags": "+bitexact"})
        stream = self._container.add_stream(
            "libx264", rate=_FRAME_RATE, options={"preset": "superfast", "crf": "23"}
        )
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = self._size
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, _TICKS)
        stream.codec_context.thread_count = 1
        self._stream = stream
        self._last = -1

    def add(self, image: Image.Image, second: float) -> None:
        """Add a frame that is shown from a second on. One that is not later than the last is shown a moment later."""
        given = self._frame_class.from_ndarray(np.asarray(image), format="rgb24")
        frame = given.reformat(*self._size, format="yuv420p", interpolation="BILINEAR", threads=1)
        self._last = max(self._last + 1, round(second * _TICKS))
        frame.pts, frame.time_base = self._last, Fraction(1, _TICKS)
        self._container.mux(self._stream.encode(frame))

    def close(self) -> bytes:
        """Return the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._file.getvalue()


def _frames(
    data: bytes,
    task: dict[str, Any],
    wanted: Callable[[int, int], tuple[int, int]],
    bounds: Bounds,
    seconds: float,
) -> Iterator[Decoded]:
    extras.require("av", extra="video", undone="A video was not protected")
    reason = ""
    try:
        yield from iterate_isolated(task, data, bounds, wanted, seconds=seconds)
    except IsolatedError as error:
        reason = error.reason
    else:
        return
    if reason == "too large":
        raise ProtectionError(TOO_LARGE.format(bounds.max_pixels))
    why = _REFUSALS.get(
        reason, "decoding it takes too long, or too much memory. Send a shorter or a smaller one."
    )
    raise ProtectionError(f"A video was not protected: {why}")
