"""The matcher: which of many candidates stands below a plate, by its size and by letters that peek out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import numpy as np
from PIL import ImageFont

from trainer.attackers.ocr import fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from trainer.attackers.words.readers import Seen

Box: TypeAlias = tuple[float, float, float, float]

_SAME: Final = 14.0
"""Largest difference of a channel within the colour of a plate."""
_TOKEN: Final = re.compile(r"^[A-Z]{2,}_?\d*$")
_PEEK: Final = 3
"""Letters of a fragment that a candidate must hold."""
FEWEST: Final = 4
"""Plates from which the relation of widths can be learned."""
_BEGIN: Final = 1.5
"""Width, in heights, of the part of a plate that is looked at for its colour."""
_FONT: Final = 20


class Plate(NamedTuple):
    """A covered place, as the matcher sees it.

    Attributes:
        text: The private text below, for judging the matcher.
        box: Box of that text, whose height tells the size of the letters.
        width: Width of the plate, pixels.
        fragments: Text that was read at the plate.
    """

    text: str
    box: Box
    width: float
    fragments: tuple[str, ...] = ()


class Match(NamedTuple):
    """Success of the matcher at one plate.

    Attributes:
        hit: Probability of naming the right one of the candidates; ties share it.
        percentile: Share of the candidates that fit worse, ties counted half; 0.5 is chance.
    """

    hit: float
    percentile: float


def plate_at(picture: Image.Image, text: str, box: Box, seen: Sequence[Seen]) -> Plate:
    """Measure the plate over private text.

    Args:
        picture: The protected picture.
        text: The private text.
        box: Its box in the original.
        seen: Text that was read in the protected picture.
    """
    # The end of the box would tell the length, which the matcher is to find out. So it looks where any text begins.
    left, top, _, bottom = (round(edge) for edge in box)
    reach = max(1, round(_BEGIN * (bottom - top)))
    strip = np.asarray(picture.crop((0, top, picture.width, max(top + 1, bottom)))).astype(np.float32)
    colour = np.median(strip[:, max(0, left) : max(0, left) + reach].reshape(-1, 3), axis=0)
    # A token on the plate leaves at least a third of each column in the plate's colour.
    same = (np.abs(strip - colour).max(axis=2) <= _SAME).mean(axis=0) > 0.34
    begin = end = min(max(0, left + reach // 2), len(same) - 1)
    while begin > 0 and same[begin - 1]:
        begin -= 1
    while end < len(same) and same[end]:
        end += 1
    at_place = [each for each in seen if _inside(each.box, box) and not _TOKEN.match(each.text)]
    return Plate(text, box, float(end - begin), tuple(fold(each.text) for each in at_place))


def match_plates(plates: Sequence[Plate], candidates: Sequence[str]) -> list[Match]:
    """Guess for each plate which candidate stands below.

    The matcher knows all other plates with their texts. From these it learns how the width of a plate follows from
    the width of a text, and then prefers the candidates whose plate would be as wide as the one that it sees. Fragments
    that were read at the plate count more than any width.

    Args:
        plates: The plates of all pictures.
        candidates: Texts that may stand below a plate, among them the right ones.
    """
    if len(plates) < FEWEST:
        return []
    font = ImageFont.load_default(_FONT)
    lengths = np.array([font.getlength(each) for each in candidates])
    heights = np.array([plate.box[3] - plate.box[1] for plate in plates])
    own = np.array([font.getlength(plate.text) for plate in plates])
    seen = np.array([plate.width for plate in plates]) / heights
    found = []
    for index, plate in enumerate(plates):
        others = np.arange(len(plates)) != index
        slope, offset = np.polyfit(own[others], seen[others], 1)
        misfit = np.abs(slope * lengths + offset - seen[index])
        peeks = np.array([_peeks(each, plate.fragments) for each in candidates])
        score = peeks * 1000.0 - misfit.round(3)
        found.append(_match(score, np.array([each == plate.text for each in candidates])))
    return found


def _match(score: np.ndarray, right: np.ndarray) -> Match:
    best = score[right].max()
    better, equal = score[~right] > best, score[~right] == best
    hit = 0.0 if better.any() else 1 / (1 + int(equal.sum()))
    return Match(hit, float(1 - better.mean() - equal.mean() / 2))


def _peeks(candidate: str, fragments: Sequence[str]) -> int:
    text = fold(candidate)
    return sum(len(each) >= _PEEK and each in text for each in fragments)


def _inside(seen: Box, box: Box) -> bool:
    middle = (seen[1] + seen[3]) / 2
    return box[1] <= middle <= box[3] and seen[2] > box[0] and seen[0] < box[2]
