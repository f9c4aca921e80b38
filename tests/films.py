"""Videos that tests make: small ones, of frames that are given."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import av
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def film(
    frames: Sequence[Any],
    *,
    rate: int = 10,
    container: str = "mp4",
    codec: str = "libx264",
    layout: str = "yuv420p",
    options: dict[str, str] | None = None,
) -> bytes:
    """Return a video of RGB frames, which are arrays of one size."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as written:
        stream = written.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = layout
        for frame in frames:
            made = av.VideoFrame.from_ndarray(frame, format="rgba" if frame.shape[2] == 4 else "rgb24")
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
