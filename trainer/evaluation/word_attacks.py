"""Attacks on pictures of words: readers that look at whole pages, or at the places of private text alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from trainer.attackers.words.aimed import NARROW, aimed_attempts
from trainer.attackers.words.matching import Row, is_kept, is_leaked
from trainer.attackers.words.pixels import shown_words
from trainer.attackers.words.readers import Seen, averaged, views_of
from trainer.attackers.words.strips import strips_of
from trainer.attackers.words.widths import plate_at
from trainer.evaluation.word_results import PictureAtLevel, WordsOfPicture

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from PIL import Image

    from trainer.attackers.words.lines import LineReader
    from trainer.attackers.words.readers import WordReader
    from trainer.attackers.words.strips import Strips
    from trainer.attackers.words.widths import Plate
    from trainer.data.annotated import AnnotatedPicture, PrivateText

    Box = tuple[float, float, float, float]

_CERTAIN: Final = 0.6
"""Certainty from which a word of the original counts."""
_SHORTEST: Final = 3
"""Letters and digits of the shortest other word that counts."""
_PRIVATE: Final = 0.2
"""Part of a word's box inside private text from which it is no other word."""
_NAMES: Final = "person"


class WordAttack(Protocol):
    """Anything that says what can be read in protected copies of a picture.

    Attributes:
        name: Name of the attack.
        readers: Names of its readers.
    """

    name: str
    readers: tuple[str, ...]

    def measure(
        self, image: Image.Image, picture: AnnotatedPicture, protected: Mapping[str, Image.Image]
    ) -> WordsOfPicture:
        """Attack one picture.

        Args:
            image: The original, RGB.
            picture: What is known of it.
            protected: Name of a level -> the picture protected at it.
        """
        ...


class PageAttack:
    """Reads whole pages, and the places of private text once more in several views.

    Every reader looks at each protected picture as it is; and at the places of the private text also enlarged,
    sharpened, with contrast stretched, and in the mean over all levels. A private text leaks if any attempt reads it.
    Other words are those that the first reader finds in the original, and are kept if any reader reads them.

    Args:
        readers: Name of a reader -> the reader.
    """

    name = "page"

    def __init__(self, readers: Mapping[str, WordReader]) -> None:
        self._readers = readers
        self.readers = tuple(readers)

    def measure(
        self, image: Image.Image, picture: AnnotatedPicture, protected: Mapping[str, Image.Image]
    ) -> WordsOfPicture:
        """Attack one picture; see :meth:`WordAttack.measure`."""
        original = _read_original(image, picture, self._readers)
        levels = _attack(picture, original, protected, self._readers)
        return WordsOfPicture(readable=original.readable, beside=original.beside, levels=levels)


class AimedAttack:
    """Reads the places of private text alone, which it is told.

    An outsider does not know these places; see :func:`~trainer.attackers.words.aimed.aimed_attempts`. Other words
    are those that the annotations name, and are kept if their pixels stand on their row. The last reader says what can
    be read in the originals.

    Args:
        readers: Name of a reader -> the reader of lines.
    """

    name = "aimed"

    def __init__(self, readers: Mapping[str, LineReader]) -> None:
        self._readers = readers
        self.readers = tuple(readers)

    def measure(
        self, image: Image.Image, picture: AnnotatedPicture, protected: Mapping[str, Image.Image]
    ) -> WordsOfPicture:
        """Attack one picture; see :meth:`WordAttack.measure`."""
        words = [Seen(*each) for each in picture.words or ()]
        boxes = [box for text in picture.private for box in text.boxes]
        counted = [word for word in words if _counts(word) and not _is_private(word, boxes)]
        others = [_rows(words, text) for text in picture.private]
        last = self.readers[-1]
        plain = aimed_attempts({"": image}, boxes, {last: self._readers[last]}, plain=True)[""]
        found = {}
        for level, attempts in aimed_attempts(protected, boxes, self._readers).items():
            narrow = {f"{name}, {view}" for name in self.readers for view in NARROW}
            close = [each for name, seen in attempts.items() if name in narrow for each in seen]
            shown = shown_words(image, protected[level], [word.box for word in counted])
            found[level] = PictureAtLevel(
                leaks=_leaks(picture, attempts, others),
                kept=tuple(each.shown for each in shown),
                in_place=tuple(each.in_place for each in shown),
                plates=_plates(picture, protected[level], close),
            )
        return WordsOfPicture(
            readable=tuple(map(bool, _leaks(picture, plain, [() for _ in others]))),
            beside=tuple(any(_same_row(word.box, box) for box in boxes) for word in counted),
            levels=found,
        )


class _Original(NamedTuple):
    """The first reader's view of an original.

    Attributes:
        others: Words outside private text.
        beside: Whether each of them stands on a row with private text.
        rows: For each private text, the other words on its rows.
        readable: Whether each private text can be read.
        strips: The places of the private text.
    """

    others: tuple[Seen, ...]
    beside: tuple[bool, ...]
    rows: tuple[tuple[Row, ...], ...]
    readable: tuple[bool, ...]
    strips: Strips


def _read_original(
    image: Image.Image, picture: AnnotatedPicture, readers: Mapping[str, WordReader]
) -> _Original:
    first, *rest = readers.values()
    boxes = [box for text in picture.private for box in text.boxes]
    strips = strips_of(boxes, image.size)
    seen = list(first(image))
    stacked = strips.stack(image) if boxes else None
    by_others = [list(strips.placed(read(stacked), 1.0)) for read in rest] if stacked is not None else []
    outside = [[each for each in found if not _is_private(each, boxes)] for found in (seen, *by_others)]
    others = tuple(each for each in outside[0] if each.certainty >= _CERTAIN and _counts(each))
    return _Original(
        others,
        tuple(any(_same_row(each.box, box) for box in boxes) for each in others),
        tuple(tuple(Row(found, box) for box in text.boxes for found in outside) for text in picture.private),
        tuple(is_leaked(text.text, text.kind, _rows(seen, text), ()) for text in picture.private),
        strips,
    )


def _attack(
    picture: AnnotatedPicture,
    original: _Original,
    protected: Mapping[str, Image.Image],
    readers: Mapping[str, WordReader],
) -> dict[str, PictureAtLevel]:
    """Return what leaves a picture at each level."""
    strips = original.strips
    mean = averaged(list(protected.values())) if len(protected) > 1 else None
    shared = {}
    if mean is not None and strips.boxes:
        stacked = strips.stack(mean)
        for name, read in readers.items():
            shared[f"{name}, averaged"] = list(strips.placed(read(stacked), 1.0))
    found = {}
    for level, image in protected.items():
        whole = {f"{name}, as it is": list(read(image)) for name, read in readers.items()}
        attempts = {**whole, **shared}
        for view, (changed, scale) in (views_of(strips.stack(image)) if strips.boxes else {}).items():
            for name, read in readers.items():
                attempts[f"{name}, {view}"] = list(strips.placed(read(changed), scale))
        found[level] = _outcome(picture, original, image, whole, attempts)
    return found


def _outcome(
    picture: AnnotatedPicture,
    original: _Original,
    image: Image.Image,
    whole: Mapping[str, Sequence[Seen]],
    attempts: Mapping[str, Sequence[Seen]],
) -> PictureAtLevel:
    together = [each for seen in whole.values() for each in seen]
    every = [each for seen in attempts.values() for each in seen]
    return PictureAtLevel(
        leaks=_leaks(picture, attempts, original.rows),
        kept=tuple(is_kept(each, together, moved=True) for each in original.others),
        in_place=tuple(is_kept(each, together, moved=False) for each in original.others),
        plates=_plates(picture, image, every),
    )


def _leaks(
    picture: AnnotatedPicture, attempts: Mapping[str, Sequence[Seen]], others: Sequence[Sequence[Row]]
) -> tuple[tuple[str, ...], ...]:
    """Return for each private text the attempts that read it.

    Args:
        picture: The picture.
        attempts: Name of an attempt -> what it read.
        others: For each private text, what the original says on its rows outside private text.
    """
    return tuple(
        tuple(
            name
            for name, seen in attempts.items()
            if is_leaked(text.text, text.kind, _rows(seen, text), rows)
        )
        for text, rows in zip(picture.private, others, strict=True)
    )


def _plates(picture: AnnotatedPicture, image: Image.Image, seen: Sequence[Seen]) -> tuple[Plate, ...]:
    return tuple(
        plate_at(image, text.text, text.boxes[0], seen)
        for text in picture.private
        if _NAMES in text.kind and len(text.boxes) == 1
    )


def _counts(word: Seen) -> bool:
    return sum(letter.isalnum() for letter in word.text) >= _SHORTEST


def _rows(seen: Iterable[Seen], text: PrivateText) -> tuple[Row, ...]:
    known = list(seen)
    return tuple(Row(known, box) for box in text.boxes)


def _is_private(seen: Seen, boxes: Sequence[tuple[float, float, float, float]]) -> bool:
    left, top, right, bottom = seen.box
    area = max(1e-6, (right - left) * (bottom - top))
    return any(
        max(0.0, min(right, box[2]) - max(left, box[0])) * max(0.0, min(bottom, box[3]) - max(top, box[1]))
        > _PRIVATE * area
        for box in boxes
    )


def _same_row(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    shared = min(one[3], other[3]) - max(one[1], other[1])
    return shared > 0.5 * min(one[3] - one[1], other[3] - other[1])
