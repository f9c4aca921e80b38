"""Reading: words with their boxes, behind a protocol of one method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import numpy as np

from langchain_vpp import extras
from langchain_vpp.engines.words.geometry import scaled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from PIL import Image

    from langchain_vpp.engines.words.geometry import Box

_TILE: Final = 2_000
"""Longest side, in pixels, of what the detector sees at once; larger pictures are read in parts."""
_OVERLAP: Final = 160
_SHORTER: Final = 1_600
"""Shorter side, in pixels, to which larger pictures are reduced before they are read."""
_LEVEL: Final = 0.06
"""Rise per pixel up to which a line counts as level: words of it can be cut out with upright boxes."""
_UNDONE: Final = "Words were not read"


class Word(NamedTuple):
    """A word that a reader found.

    Attributes:
        text: The word, with the punctuation that touches it; empty for text that was found and could not be read, as in
            a script that the reader does not know. All of that is covered.
        box: Left, upper, right and lower edge, in pixels of the picture.
        confidence: Certainty of the reader, 0 to 1; the least of the word's letters.
        line: Number of the line of text that the word stands in. Words of a line follow each other in reading order.
        upright: Whether the line is level, so that the box holds the word and little else.
    """

    text: str
    box: Box
    confidence: float
    line: int
    upright: bool = True


class TextReader(Protocol):
    """Anything that finds words in a picture.

    Example:
        >>> class Blind:
        ...     def read(self, image):
        ...         return []
    """

    def read(self, image: Image.Image) -> Sequence[Word]:
        """Return the words of a picture.

        Args:
            image: An RGB image. It must not be changed.
        """
        ...


class RapidReader:
    """Reads with RapidOCR (PP-OCR in ONNX Runtime), whose models come with its package; needs the extra ``words``.

    All threads share the networks, and each call computes in the thread that made it. Pictures whose shorter side
    exceeds 1,600 pixels are reduced to that, and then read in overlapping parts of at most 2,000 pixels.

    Attributes:
        version: Name and version of what reads.

    Raises:
        MissingExtraError: If the extra ``words`` is missing or can't be loaded.
    """

    def __init__(self) -> None:
        package = extras.load("rapidocr", extra="words", undone=_UNDONE)
        self.version = f"rapidocr {package.__version__}" if hasattr(package, "__version__") else "rapidocr"
        self._engine: Any = _telling_unread(package)(
            params={
                "Global.log_level": "critical",
                "Global.text_score": 0.0,
                "Global.max_side_len": _TILE,
                "Global.use_cls": False,
                "Global.return_word_box": True,
                "Global.return_single_char_box": True,
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )

    def read(self, image: Image.Image) -> Sequence[Word]:
        """Return the words of a picture; see :class:`TextReader`."""
        scale = min(1.0, _SHORTER / min(image.size))
        small = image if scale == 1 else image.resize([max(1, round(side * scale)) for side in image.size])
        found: list[Word] = []
        for left, top, right, bottom in _tiles(*small.size):
            pixels = np.asarray(small.crop((left, top, right, bottom)))[:, :, ::-1]
            for words in self._lines(np.ascontiguousarray(pixels)):
                placed = [word._replace(box=scaled(word.box, 1 / scale, by=(left, top))) for word in words]
                _add_line(found, placed)
        return found

    def _lines(self, pixels: Any) -> Iterator[list[Word]]:
        result = self._engine(pixels)
        for quad in getattr(result, "unread", ()):
            yield [Word("", _around([quad]), 0.0, 0)]
        if result.txts is None or result.boxes is None:
            return
        together = len(result.word_results) == len(result.txts)
        for number, (text, score, quad) in enumerate(
            zip(result.txts, result.scores, result.boxes, strict=True)
        ):
            rise = abs(quad[1][1] - quad[0][1]) / max(1.0, abs(quad[1][0] - quad[0][0]))
            upright = bool(rise <= _LEVEL)
            letters = list(result.word_results[number]) if together else []
            if len(letters) != sum(not each.isspace() for each in text) or not upright:
                # Nothing tells where the words of this line stand, so it is one word, which can only be covered.
                yield [Word(text, _around([quad]), 0.0, 0, upright)]
                continue
            yield list(_words(text, score, letters))


def _telling_unread(package: Any) -> Any:
    """Return the package's engine, which also tells where it found text that it could not read, and else drops it."""

    def mapped(engine: Any, boxes: Any, record: Any, size: Sequence[int]) -> Any:
        """Return where boxes lie in the picture that was given; older versions have a method for it."""
        own = getattr(engine, "get_origin_points", None)
        if own is None:
            own = extras.load(
                "rapidocr.utils.process_img", extra="words", undone=_UNDONE
            ).map_boxes_to_original
        return own(boxes, record, *size)

    class Engine(package.RapidOCR):  # type: ignore[misc]
        def build_final_output(self, *given: Any) -> Any:
            image, found, _, read, _, record = given
            texts, boxes = read.txts, found.boxes
            empty = [] if texts is None or boxes is None else [not text.strip() for text in texts]
            # The package filters the boxes in place of those that it got, so ours are taken before.
            unread = (
                mapped(self, boxes[np.array(empty)].copy(), record, image.shape[:2]) if any(empty) else ()
            )
            result = super().build_final_output(*given)
            result.unread = unread
            return result

    return Engine


def _words(text: str, score: float, letters: Sequence[Any]) -> Iterator[Word]:
    """Group the letters of a line into words, at its spaces and at wide gaps.

    The package gives certainties for all characters, spaces among them, but boxes only for the others. So the last
    ones lack theirs, and get the mean of what is left of the line's.
    """
    known = [float(each[1]) for each in letters]
    missing = len(text) - len(known)
    rest = (score * len(text) - sum(known)) / missing if missing else 1.0
    certainties = [*known, *[min(1.0, max(0.0, rest))] * missing]
    boxes = [_around([each[2]]) for each in letters]
    heights = [box[3] - box[1] for box in boxes]
    height = float(np.median(heights)) if heights else 0.0
    start, place, group = 0, 0, list[int]()
    for index, letter in enumerate([*text, " "]):
        gap = bool(group) and place < len(boxes) and boxes[place][0] - boxes[group[-1]][2] > 0.6 * height
        if (letter.isspace() or gap) and group:
            yield Word(
                text[start:index],
                _around([[box[:2], box[2:]] for box in (boxes[each] for each in group)]),
                min(certainties[start:index]),
                0,
            )
            group = []
        if not letter.isspace():
            if not group:
                start = index
            group.append(place)
            place += 1


def _around(shapes: Sequence[Any]) -> Box:
    points = [(float(x), float(y)) for shape in shapes for x, y in shape]
    return (
        min(x for x, _ in points),
        min(y for _, y in points),
        max(x for x, _ in points),
        max(y for _, y in points),
    )


def _tiles(width: int, height: int) -> Iterator[Box]:
    """Cut a picture into overlapping parts, none longer than the detector sees at once."""
    for left, right in _parts(width):
        for top, bottom in _parts(height):
            yield left, top, right, bottom


def _parts(length: int) -> Iterator[tuple[int, int]]:
    start = 0
    while start + _TILE < length:
        yield start, start + _TILE
        start += _TILE - _OVERLAP
    yield start, length


def _add_line(found: list[Word], line: list[Word]) -> None:
    """Append a line with the next number. Words that an overlapping part has shown already stay: both are judged."""
    number = found[-1].line + 1 if found else 0
    found.extend(word._replace(line=number) for word in line)
