"""Decoding of videos, inside the process of :mod:`langchain_vpp.images.isolated_process` (extra ``video``)."""

from __future__ import annotations

import contextlib
import io
import itertools
import math
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import av
import numpy as np
from av.video.reformatter import ColorTrc
from PIL import Image

from langchain_vpp.images.hdr import Transfer, to_standard_range

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST_STEP: Final = 2.0
"""Seconds between two frames, above which key frames are sought instead of decoding everything between."""
_NARROWEST: Final = 0.1
"""Width of a pixel over its height, below which the file is not believed."""
_TURNS: Final = {
    90: Image.Transpose.ROTATE_90,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_270,
}
_HIGH_RANGE: Final[dict[int, Transfer]] = {ColorTrc.SMPTE2084: "pq", ColorTrc.ARIB_STD_B67: "hlg"}
_MOST_PACKETS: Final = 2_000_000


class NoPicturesError(Exception):
    """The file has no stream of pictures, or no picture in it."""


class Frame(NamedTuple):
    """A decoded frame.

    Attributes:
        pixels: The frame, as it is stored.
        stretch: Width of a pixel over its height.
    """

    pixels: av.VideoFrame
    stretch: float

    @property
    def time(self) -> float:
        """Second at which it is shown."""
        return self.pixels.time or 0.0

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height as they are meant to be seen."""
        width, height = max(1, round(self.pixels.width * self.stretch)), self.pixels.height
        return (height, width) if self.pixels.rotation % 180 else (width, height)

    def drawn(self, size: tuple[int, int]) -> Image.Image:
        """Return an upright RGB image of a size.

        What shows through is white, a high dynamic range is made an ordinary one, and of two interlaced pictures the
        first is shown.
        """
        stored = size[::-1] if self.pixels.rotation % 180 else size
        has_alpha = any(part.is_alpha for part in self.pixels.format.components)
        image = Image.fromarray(self._array(stored, "rgba" if has_alpha else "rgb"))
        image = image if image.size == stored else image.resize(stored, Image.Resampling.BILINEAR)
        if has_alpha:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image).convert("RGB")
        turn = _TURNS.get(round(self.pixels.rotation) % 360)
        return image if turn is None else image.transpose(turn)

    def _array(self, size: tuple[int, int], channels: Literal["rgb", "rgba"]) -> Any:
        """Return the pixels, ``uint8``, at a size; those of an interlaced frame are its upper lines alone."""
        transfer = _HIGH_RANGE.get(self.pixels.color_trc)
        deep, plain = ("rgb48le", "rgb24") if channels == "rgb" else ("rgba64le", "rgba")
        is_interlaced = self.pixels.interlaced_frame
        array: Any = self.pixels.reformat(
            size[0],
            self.pixels.height if is_interlaced else size[1],
            format=plain if transfer is None else deep,
            interpolation="AREA",
            threads=1,
        ).to_ndarray()
        if is_interlaced:
            # Scaled as one, the two pictures of different moments would show whatever moves twice, as combs.
            array = np.ascontiguousarray(array[::2])
        if transfer is None:
            return array
        opacity = (array[..., 3:] >> 8).astype(np.uint8)
        return np.concatenate([to_standard_range(array[..., :3], transfer), opacity], axis=2)


def frames_of(data: bytes, file_format: str | None, most_frames: int | None) -> Iterator[Frame]:
    """Yield frames of a video at even distances; see :func:`langchain_vpp.images.video.sample_video`.

    Args:
        data: The file.
        file_format: Name of its format. It is given, because FFmpeg would take some texts for lists of other files.
        most_frames: Bound on the number of frames; ``None`` for all that there are.

    Raises:
        NoPicturesError: If there is no picture.
        ValueError: If the format is unknown.
    """
    if file_format is None:
        msg = "no known format of videos"
        raise ValueError(msg)
    length = 0.0 if most_frames is None else _length(data, file_format)
    count = min(max(1, math.ceil(length)), most_frames or 1)
    times = [number * length / count for number in range(count)]
    with _opened(data, file_format) as (container, stream):
        ratio = stream.sample_aspect_ratio
        stretch = float(ratio) if ratio and _NARROWEST < ratio < 1 / _NARROWEST else 1.0
        is_empty = True
        if most_frames is None:
            picked = container.decode(stream)
        else:
            picked = (_sought if length / count > _LONGEST_STEP else _passed)(container, stream, times)
        for pixels in picked:
            is_empty = False
            yield Frame(pixels, stretch)
        if is_empty:
            raise NoPicturesError


@contextlib.contextmanager
def _opened(data: bytes, file_format: str) -> Iterator[tuple[Any, Any]]:
    """Open a file and its first stream of pictures that is no cover."""
    with av.open(io.BytesIO(data), format=file_format, metadata_errors="ignore") as container:
        covers = av.stream.Disposition.attached_pic
        streams = [each for each in container.streams.video if not each.disposition & covers]
        if not streams:
            raise NoPicturesError
        streams[0].codec_context.thread_count = 1
        yield container, streams[0]


def _length(data: bytes, file_format: str) -> float:
    """Return the seconds that the pictures of a video last, by the times of its packets.

    What the file says of its length is wrong where frames have no fixed rate, or where somebody made it wrong.
    """
    with _opened(data, file_format) as (container, stream):
        packets = itertools.islice(container.demux(stream), _MOST_PACKETS)
        times = [packet.dts if packet.pts is None else packet.pts for packet in packets if packet.size]
        known = [float(time * stream.time_base) for time in times if time is not None]
    count = len(known)
    # Rounded, so that five seconds in frames of a tenth are not a little more than five.
    return round((max(known) - min(known)) * count / (count - 1), 6) if count > 1 else 0.0


def _passed(container: Any, stream: Any, times: list[float]) -> Iterator[av.VideoFrame]:
    """Decode everything, and yield for each moment the first frame from there on."""
    waiting = deque(times)
    begin: float | None = None
    for frame in container.decode(stream):
        at = frame.time or 0.0
        begin = at if begin is None else begin
        if at - begin < waiting[0]:
            continue
        yield frame
        while waiting and waiting[0] <= at - begin:
            waiting.popleft()
        if not waiting:
            return


def _sought(container: Any, stream: Any, times: list[float]) -> Iterator[av.VideoFrame]:
    """Seek, and yield for each moment the key frame before it."""
    stream.codec_context.skip_frame = "NONKEY"
    begin = stream.start_time or 0
    last = None
    for time in times:
        container.seek(begin + round(time / stream.time_base), stream=stream, backward=True)
        frame = next(container.decode(stream), None)
        if frame is not None and (last is None or (frame.pts or 0) > last):
            last = frame.pts or 0
            yield frame
