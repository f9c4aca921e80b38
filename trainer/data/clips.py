"""Frames of a data set's videos: sampled as a chat model gets them, in the decoder process, and kept for a while."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from langchain_vpp.errors import DataError, MissingExtraError, ProtectionError
from langchain_vpp.guard.files import frame_size
from langchain_vpp.images.video import sample_video
from trainer.data.format import INDEX

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

CLIP_FRAMES: Final = 8
"""Most frames of a video that networks learn from and attackers see."""
_KEPT: Final = 512 * 2**20
"""Bytes of decoded frames that are kept."""
_UNDONE: Final = "A video was not protected: "


class Clips:
    """Decodes videos, and keeps the frames of the last ones up to half a gibibyte; threads may share it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Path, tuple[Image.Image, ...]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def frames(self, path: Path) -> tuple[Image.Image, ...]:
        """Return the frames of a video; see :func:`open_clip`."""
        with self._lock:
            if path in self._kept:
                self._kept.move_to_end(path)
                return self._kept[path]
        frames = open_clip(path)
        with self._lock:
            if path not in self._kept:
                self._kept[path] = frames
                self._bytes += _size(frames)
            while self._bytes > _KEPT:
                self._bytes -= _size(self._kept.popitem(last=False)[1])
        return frames


def open_clip(path: Path, most_frames: int = CLIP_FRAMES) -> tuple[Image.Image, ...]:
    """Sample frames of a video as the runtime does with ``on_video="sample"``, and take some of them evenly.

    Args:
        path: File of the video.
        most_frames: Most frames.

    Raises:
        DataError: If it can't be read or decoded; the message names the file.
        MissingExtraError: If ``av`` is not installed.
    """
    reason = ""
    try:
        data = path.read_bytes()
        if data:
            found = sample_video(data, frame_size)
            count = min(len(found), most_frames)
            return tuple(found[place * len(found) // count].image for place in range(count))
        reason = "it is empty"
    except MissingExtraError:
        raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except ProtectionError as error:
        reason = str(error).removeprefix(_UNDONE).split(". ")[0].removesuffix(".")
    raise DataError(f"{path} can't be used: {reason}. Replace the file or remove its line from {INDEX}.")


def _size(frames: tuple[Image.Image, ...]) -> int:
    return sum(3 * frame.width * frame.height for frame in frames)
