"""Videos that tests make: small ones, of frames that are given."""

from __future__ import annotations

import io
import itertools
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def film(
    frames: Iterable[Any],
    *,
    rate: int = 10,
    container: str = "mp4",
    codec: str = "libx264",
    layout: str = "yuv420p",
    options: dict[str, str] | None = None,
    muxing: dict[str, str] | None = None,
    times: Sequence[float] | None = None,
    colours: Mapping[str, int] | None = None,
) -> bytes:
    """Return a video of RGB frames, which are arrays of one size.

    ``times`` are the seconds at which frames are shown, evenly by default, and ``colours`` the tags of the stream,
    with which the frames are not converted.
    """
    coming = iter(frames)
    first = next(coming)
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=muxing or {}) as written:
        stream = written.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = layout
        for name, value in (colours or {}).items():
            setattr(stream.codec_context, name, value)
        if times is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1_000)
        for number, frame in enumerate(itertools.chain([first], coming)):
            made = av.VideoFrame.from_ndarray(frame, format="rgba" if frame.shape[2] == 4 else "rgb24")
            if times is not None:
                made.pts, made.time_base = round(1_000 * times[number]), Fraction(1, 1_000)
            written.mux(stream.encode(made))
        written.mux(stream.encode())
    return file.getvalue()


def gray_film(count: int = 30, size: tuple[int, int] = (64, 48), **options: Any) -> bytes:
    """Return a video whose frames tell their number by how bright they are."""
    return film([np.full((size[1], size[0], 3), 4 * number, np.uint8) for number in range(count)], **options)


def sound() -> bytes:
    """Return a file with nothing but sound."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as written:
        stream = written.add_stream("aac", rate=8000)
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        samples.sample_rate = 8000
        written.mux(stream.encode(samples))
        written.mux(stream.encode())
    return file.getvalue()
