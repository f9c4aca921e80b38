"""Reading within a time limit: long pictures in strips, each with a time of its own."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from langchain_vpp.engines.words.geometry import overlap, scaled
from langchain_vpp.engines.words.reader import Word
from langchain_vpp.errors import ProtectionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from PIL import Image

    from langchain_vpp.engines.words.geometry import Box
    from langchain_vpp.engines.words.reader import TextReader

OnFailure: TypeAlias = Literal["cover", "raise"]
"""Cover a picture, or the strip of it, that can't be read; or refuse the picture."""
_STRIP: Final = 1.25
"""Length of a strip, as a multiple of the shorter side or of the pixels below; it is read as a picture of its own."""
_SHORTER: Final = 1_600
_LONG: Final = 1.6
"""Ratio of the sides from which a picture that is longer than a strip is read in strips."""
_SHARED: Final = 160
"""Pixels that a strip shares with the next one: more than a line of text is high."""
_SAME: Final = 0.5
"""Part of a word that the neighbouring strip has found too."""
_READINGS: Final = 16
"""Most pictures that are read at once, with those whose time is over: a reader can't be stopped."""


class TimedReader:
    """Reads with a time limit, and says what could not be read.

    A picture that is much longer than wide, as a screenshot of a whole page, is cut into strips. Each has the full
    time; one that can't be read is covered, and the others are read as they are.

    Args:
        reader: Finds the words.
        seconds: Time that it has for a picture, or for a strip of a long one.
        on_failure: Reaction to a reader that fails or takes longer.
    """

    def __init__(self, reader: TextReader, *, seconds: float, on_failure: OnFailure) -> None:
        self._reader, self._seconds, self._on_failure = reader, seconds, on_failure
        self._readings = threading.Semaphore(_READINGS)

    def read(self, image: Image.Image) -> Sequence[Word] | None:
        """Return the words of a picture.

        Args:
            image: An RGB image. It must not be changed.

        Returns:
            The words, among them one without text for each strip that could not be read; ``None`` if nothing could.

        Raises:
            ProtectionError: If the picture, or a strip of it, is to be refused.
        """
        strips = list(_strips(*image.size))
        if len(strips) == 1:
            return self._within_time(image)
        found = [self._within_time(image.crop(strip)) for strip in strips]
        if all(words is None for words in found):
            return None
        return list(_together(strips, found))

    def _within_time(self, image: Image.Image) -> Sequence[Word] | None:
        answer: queue.Queue[Sequence[Word] | None] = queue.Queue(1)

        def read() -> None:
            words = None
            try:
                # Whatever a reader raises means that the picture was not read, and may hold its text.
                with suppress(Exception):
                    words = self._reader.read(image)
            finally:
                self._readings.release()
                answer.put(words)

        words = None
        if self._readings.acquire(timeout=self._seconds):
            threading.Thread(target=read, name="vpp-reader", daemon=True).start()
            with suppress(queue.Empty):
                words = answer.get(timeout=self._seconds)
        if words is None and self._on_failure == "raise":
            raise ProtectionError(
                "The text of a picture could not be read in time, so nothing was sent. Give `seconds` more, or let the "
                'engine cover such pictures with on_failure="cover".'
            )
        return words


def _strips(width: int, height: int) -> Iterator[Box]:
    """Cut a long picture into overlapping strips from its beginning to its end; any other one is a single strip."""
    longer, shorter = max(width, height), min(width, height)
    length = round(_STRIP * max(shorter, _SHORTER))
    start = 0
    while longer > _LONG * shorter and start + length < longer:
        yield _strip(start, start + length, width, height)
        start += length - _SHARED
    yield _strip(start, longer, width, height)


def _strip(start: int, end: int, width: int, height: int) -> Box:
    return (0, start, width, end) if height >= width else (start, 0, end, height)


def _together(strips: Sequence[Box], found: Sequence[Sequence[Word] | None]) -> Iterator[Word]:
    """Yield the words of all strips where they stand in the picture, those that two strips share once."""
    placed = [
        [Word("", strip, 0.0, 0)]
        if words is None
        else [word._replace(box=scaled(word.box, 1, by=strip[:2])) for word in words]
        for strip, words in zip(strips, found, strict=True)
    ]
    line = 0
    for place, words in enumerate(placed):
        first = line
        for word in words:
            if not any(
                _is_theirs(word.box, strips[place], strips[other], placed[other])
                for other in (place - 1, place + 1)
                if 0 <= other < len(strips)
            ):
                line = max(line, first + word.line + 1)
                yield word._replace(line=first + word.line)


def _is_theirs(box: Box, own: Box, other: Box, words: Sequence[Word]) -> bool:
    """Say whether a word lies further inside a neighbouring strip, which has found it too.

    At its ends a strip may cut a line in two, and what it reads there is wrong.
    """
    middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    if not (other[0] <= middle[0] <= other[2] and other[1] <= middle[1] <= other[3]):
        return False
    axis = 0 if own[0] != other[0] else 1
    mine, theirs = (
        (min(middle[axis] - strip[axis], strip[axis + 2] - middle[axis]), -strip[axis])
        for strip in (own, other)
    )
    return theirs > mine and any(word.text and overlap(box, word.box) >= _SAME for word in words)
