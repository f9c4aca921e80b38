"""Volume: how many bytes of data a text or a list of numbers can carry, whatever its alphabet.

A picture can be written in any alphabet: base32, base85, emoji, ideographs, an alphabet of one's own. All such texts
have one thing in common. A text of a language, a program, a log or a table has an order: letters follow each other by
rules, words and columns repeat. Compressed or encoded pixels have none, so their characters can be shuffled without
any loss of order. That is what is measured: each window of 1,024 characters is compressed as it is, and shuffled. If
the shuffled window takes no more than the original, the window is data, and counts with the entropy of its characters.

Numbers count by their values. Few different values that repeat, as samples of pixels do, count with their compressed
size; numbers of high precision, as in embeddings, count an eighth of a byte each, and colours a byte each. Tables of
numbers below a line of names count a sixteenth, unless the numbers look like pixels.

Data may be thinned out in text that repeats. Columns (see :mod:`langchain_vpp.messages.columns`) of bytes, in decimal
or hex, and of single characters count as if nothing stood between them. So do texts of very few different words.

Forms of data that no picture takes count a small share; see :mod:`langchain_vpp.messages.known_forms`.
"""

from __future__ import annotations

import functools
import math
import random
import re
import zlib
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from langchain_vpp.messages.columns import BASE64, DECIMAL, HEX, columns
from langchain_vpp.messages.file_headers import SHORTEST_SPELLING
from langchain_vpp.messages.known_forms import without_known_forms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

BUDGET: Final = 1_536
"""Bytes of data from which a message is refused: 2,048 characters of base64, or a picture of 39 x 39 grey pixels."""

_WINDOW: Final = 1_024
_SHORTEST_WINDOW: Final = 192
# Data are at 0.98 and more, prose of 26 languages at 0.89 and less (Chinese 0.92), programs, logs and tables at 0.93.
_DATA_RATIO: Final = 0.945
_KNOWN_WEIGHT: Final = 1 / 16
_PRECISE_WEIGHT: Final = 1 / 8
_FEWEST_NUMBERS: Final = 256
_MOST_LEVELS: Final = 768  # of three channels with 256 levels each

_NUMBER: Final = r"[+-]?+(?:\d++(?:\.\d*+)?+|\.\d++)(?:[eE][+-]?\d{1,3})?+"
_SUFFIX: Final = "(?:[uUlLfF]{1,3}|[iu](?:8|16|32|64))?"  # of literals in C and Rust, such as 137u
NUMBER: Final = re.compile(rf"(?<![\w.+-]){_NUMBER}(?={_SUFFIX}(?![\w.]))")
_NUMBER_RUN: Final = re.compile(rf"(?<![\w.+-])(?:{_NUMBER}{_SUFFIX}(?:[^\w.+-]{{1,12}}+|\Z)){{64,}}+")
# Coordinates of drawings follow each other without a space.
_DRAWN: Final = re.compile(
    r"(?<![\w.])(?:[\s,;\[\](){}]{0,6}+[A-Za-z]?[\s,]{0,3}+-?(?:\d{1,6}(?:\.\d{1,17})?+|\.\d{1,17}+)(?:e[+-]?\d{1,2})?+(?!\d)){8,}+"
)
_DRAWN_NUMBER: Final = re.compile(r"-?(?:\d+(?:\.\d+)?|\.\d+)")
_COLOUR: Final = re.compile(r"(?<![\w&])#([0-9A-Fa-f]{6})(?:[0-9A-Fa-f]{2})?(?![0-9A-Za-z])")
_TAG: Final = re.compile(r"<[^<>]{1,200}>")
_SYMBOL: Final = re.compile(r"[^\w\s!-~]")
_CELL_SEPARATORS: Final = (",", ";", "\t", "|")
_CELL: Final = re.compile(r"[^\s,;|]++")
_WORD: Final = re.compile(r"[^\W\d_]++")

# What stands around the strings of JSON, and labels of lines.
_SKELETON: Final = re.compile(
    r"""["'][\w .-]{1,40}+["']\s{0,9}+:|[\[\]{}(),"'\s]++|(?m:^[\w .#-]{1,24}+[:=>|)]\s)"""
)


_LONG_PIECE: Final = 2_048
_BEGINNING: Final = 2_048
_SHORTEST_JOINED: Final = 54
_LONGEST_CELL: Final = 4
_SHORTER_CELL: Final = 2  # where words could stand
_FEWEST_PARTS: Final = 16  # without their digits; numbers have the same letters around them
_PUNCTUATION: Final = " \t\r\n.,;:!?'\"()-"
_NO_DIGITS: Final = dict.fromkeys(range(ord("0"), ord("9") + 1))
_MOST_WORDS: Final = 64
_MOST_DIGITS: Final = 5
_NUMERAL: Final = frozenset("0123456789+-.")
_FEWEST_BYTE_LEVELS: Final = 128


class Examined(NamedTuple):
    """Result of the search of a text.

    Attributes:
        volume: Bytes of data in the text; infinity if it spells the header of a file, 0 if it is short.
        may_be_piece: Whether the text may be a piece of something larger: it doesn't look like prose.
    """

    volume: float
    may_be_piece: bool


class Tally:
    """The volume of a message or of another value: of all its texts and numbers together.

    Pieces count as the whole that they may be pieces of: short texts are judged joined, each once, and numbers as one
    sequence, in whatever lists and mappings they stand.
    """

    def __init__(self) -> None:
        self._bytes = 0.0
        self._pieces: list[str] = []
        self._cells: list[str] = []
        self._by_key: defaultdict[Any, list[str]] = defaultdict(list)
        self.key: Any = None
        """Key of the mapping in which the next piece stands."""
        self.keys: dict[Any, Any] = {}
        """Keys of all mappings, each once however many have it."""
        self._samples: list[Any] = []
        self._rows: list[Any] = []

    def add_piece(self, text: str) -> None:
        """Count a text that is too short to be judged alone."""
        self._cells.append(text)
        if text[:1] in _NUMERAL and (number := _number(text)) is not None:
            self._samples.append(number)
        else:
            self._pieces.append(text)
            self._by_key[self.key].append(text)

    def add_text(self, text: str, volume: float, *, may_be_piece: bool) -> None:
        """Count a text that was judged alone."""
        if may_be_piece and len(text) < _LONG_PIECE:
            self._pieces.append(text)
        else:
            self._bytes += volume

    def add_numbers(self, numbers: Sequence[Any], *, are_row: bool = False) -> None:
        """Count numbers of a list; or of a row of a table, which has names for its columns."""
        (self._rows if are_row else self._samples).extend(numbers)

    def exceeds_budget(self, examine: Callable[[str], Examined]) -> bool:
        """Say whether all together are enough for a picture.

        Args:
            examine: Examines a text.
        """
        volume = self._bytes
        if len(self._pieces) > 1:
            volume += _joined_volume(self._pieces, examine)
            if len(self._by_key) > 1:
                volume += sum(
                    _if_file("".join(each), examine) for each in self._by_key.values() if len(each) > 1
                )
        if self._samples:
            volume += self._samples_volume(examine)
        if self.keys:
            names = [key for key in self.keys if type(key) is str]
            volume += _joined_volume(names, examine)
            if len(self.keys) - len(names) >= _FEWEST_NUMBERS:
                volume += numbers_volume([key for key in self.keys if type(key) in (int, float)])
        if len(self._rows) >= _FEWEST_NUMBERS:
            volume += rows_volume(self._rows)
        return volume >= BUDGET

    def _samples_volume(self, examine: Callable[[str], Examined]) -> float:
        volume = numbers_volume(self._samples)
        if len(self._samples) >= SHORTEST_SPELLING:
            # Each may stand in a list of its own; and half of the bytes in hex have digits alone.
            volume += _if_file(" ".join(map(repr, self._samples[:_BEGINNING])), examine)
            volume += _if_file("\n".join(self._cells), examine) if len(self._pieces) > 1 else 0.0
        return volume


def _joined_volume(pieces: list[str], examine: Callable[[str], Examined]) -> float:
    """Estimate how many bytes of data pieces carry: as lines, with and without repeats, and as one text."""
    if len(pieces) < 2 or sum(map(len, pieces)) < _SHORTEST_JOINED:
        return 0.0
    distinct = dict.fromkeys(pieces)
    lines = examine("\n".join(distinct))
    if not lines.may_be_piece and len(distinct) == len(pieces):
        return lines.volume
    volume = (
        lines.volume if len(distinct) == len(pieces) else max(lines.volume, examine("\n".join(pieces)).volume)
    )
    whole = examine("".join(pieces)).volume
    are_characters = sum(map(len, pieces)) < 2 * len(pieces)
    return max(volume, whole) if are_characters or whole == math.inf else volume


def _if_file(text: str, examine: Callable[[str], Examined]) -> float:
    return math.inf if examine(text).volume == math.inf else 0.0


def _number(text: str) -> float | None:
    """Return the number that a text is; ``None`` if it has too many digits to be one."""
    if len(text) > _MOST_DIGITS and text.isdecimal():
        return None
    try:
        return float(text)
    except ValueError:
        return None


def text_volume(text: str) -> float:
    """Estimate how many bytes of data a text carries. Prose, programs, logs and tables carry none."""
    if len(text) < _SHORTEST_WINDOW:
        return 0.0
    rest, known = without_known_forms(text)
    rest, taken, left = _without_numbers(rest)
    rest, colours = _without_colours(rest)
    views = [rest]
    views += [_SKELETON.sub(" ", rest)] if '"' in rest else []
    views += [_TAG.sub("", rest)] if "<" in rest else []
    # These see the same data, each in its own way.
    thinned = max(_columns_volume(rest), _few_words_volume(rest), _symbols_volume(rest))
    seen = max(left, thinned, *map(_shuffled_volume, views))
    return known + taken + colours + seen


def numbers_volume(numbers: Sequence[Any]) -> float:
    """Estimate how many bytes of data a sequence of numbers carries."""
    large = sum(
        number.bit_length() / 8 for number in numbers if isinstance(number, int) and abs(number) >= 2**64
    )
    if len(numbers) < _FEWEST_NUMBERS:
        return large
    values = np.array([float(number) if abs(number) < 2**64 else 0.0 for number in numbers])
    levels, symbols = np.unique(values, return_inverse=True)
    if len(levels) > _MOST_LEVELS or len(values) < 2 * len(levels):
        return large + len(values) * _PRECISE_WEIGHT
    narrow = symbols.astype(np.uint8 if len(levels) <= 256 else np.uint16)
    return large + min(len(zlib.compress(narrow.tobytes(), 6)), len(values) * math.log2(len(levels) + 1) / 8)


def rows_volume(numbers: Sequence[Any]) -> float:
    """Estimate how many bytes of data the numbers of a table carry: a sixteenth, unless they look like pixels."""
    volume = numbers_volume(numbers)
    levels = set(numbers)
    are_bytes = all(0 <= level < 256 and float(level).is_integer() for level in levels)
    return volume if are_bytes and len(levels) >= _FEWEST_BYTE_LEVELS else volume * _KNOWN_WEIGHT


def _shuffled_volume(text: str) -> float:
    """Sum the entropies of the windows that have no order, in bytes."""
    if text.isascii():
        symbols: NDArray[Any] = np.frombuffer(text.encode("ascii"), dtype=np.uint8)
    else:
        symbols = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    volume = 0.0
    for start in range(0, len(symbols), _WINDOW):
        window = symbols[start : start + _WINDOW]
        if len(window) < _SHORTEST_WINDOW:
            # Too short to judge: as part of the window before it.
            return volume + _window_volume(symbols[-_WINDOW:]) * len(window) / len(symbols[-_WINDOW:])
        volume += _window_volume(window)
    return volume


def _window_volume(window: NDArray[Any]) -> float:
    if window.dtype != np.uint8:
        window = np.unique(window, return_inverse=True)[1].astype(np.uint16)
    counts = np.bincount(window)
    shares = counts[counts > 0] / len(window)
    if len(shares) < 2:
        return 0.0
    shuffled = _compressed_size(window[_order(len(window))])
    if _compressed_size(window) < _DATA_RATIO * shuffled:
        return 0.0
    # With the correction of Miller and Madow for a sample that is small beside its alphabet.
    bits = -(shares * np.log2(shares)).sum() + (len(shares) - 1) / (2 * len(window) * math.log(2))
    return float(len(window) * min(bits, math.log2(len(shares))) / 8)


def _compressed_size(symbols: NDArray[Any]) -> int:
    # A small memory, because allocating the usual one takes longer than compressing a window.
    compressor = zlib.compressobj(6, zlib.DEFLATED, -11, 5)
    return len(compressor.compress(symbols.tobytes())) + len(compressor.flush())


@functools.lru_cache(maxsize=_WINDOW)
def _order(length: int) -> NDArray[Any]:
    return np.array(random.Random(0).sample(range(length), length))  # noqa: S311  must be the same each time


def _without_colours(text: str) -> tuple[str, float]:
    """Take colours out of a text. Each counts at most one byte: its brightness."""
    colours = _COLOUR.findall(text) if "#" in text else ()
    if len(colours) < _FEWEST_NUMBERS:
        return text, 0.0
    channels = np.frombuffer(bytes.fromhex("".join(colours)), dtype=np.uint8).reshape(-1, 3)
    brightness = channels.astype(np.uint16) @ np.array([77, 150, 29], dtype=np.uint16) >> 8
    return _COLOUR.sub(" ", text), numbers_volume(brightness.tolist())


def _columns_volume(text: str) -> float:
    """Sum the data in columns of bytes, and of pieces that are hardly longer."""
    bytes_in_decimal = [
        rows_volume([float(number) for number in numbers if len(number) <= _MOST_DIGITS + 1])
        for numbers in columns(DECIMAL, text).values()
        if len(numbers) >= _FEWEST_NUMBERS
    ]
    bytes_in_hex = [
        rows_volume(bytes.fromhex("".join(run[len(run) % 2 :] for run in runs)))
        for runs in columns(HEX, text).values()
        if _are_cells(runs, _LONGEST_CELL) or sum(map(len, runs)) > len(text) / 2
    ]
    others = [
        _shuffled_volume("".join(runs))
        for frame, runs in columns(BASE64, text).items()
        if _are_cells(runs, _LONGEST_CELL if frame.strip(_PUNCTUATION) else _SHORTER_CELL)
    ]
    return max(map(sum, (bytes_in_decimal, bytes_in_hex, others)))


def _are_cells(runs: list[str], longest: int) -> bool:
    """Say whether runs are no numbers, and too short for identifiers, digests and words."""
    if len(runs) < _FEWEST_NUMBERS:
        return False
    return (
        sum(map(len, runs)) <= longest * len(runs)
        and len({run.translate(_NO_DIGITS) for run in runs}) >= _FEWEST_PARTS
    )


def _few_words_volume(text: str) -> float:
    """Return the compressed size of a text that is made of very few different words or signs, such as numerals."""
    words = max(map(_few_volume, (_WORD.findall(text), text.split())))
    return words * (_KNOWN_WEIGHT if words and _is_table_of_words(text) else 1.0)


def _few_volume(words: list[str]) -> float:
    known: dict[str, int] = {}
    if len(words) < _FEWEST_NUMBERS:
        return 0.0
    for word in words:
        if known.setdefault(word, len(known)) == _MOST_WORDS:
            return 0.0
    return float(len(zlib.compress(bytes(known[word] for word in words), 6)))


def _symbols_volume(text: str) -> float:
    """Return the compressed size of the symbols in a text that are no letters, such as blocks and emoji."""
    if text.isascii():
        return 0.0
    symbols = "".join(_SYMBOL.findall(text))
    if len(symbols) < _FEWEST_NUMBERS:
        return 0.0
    return numbers_volume(
        np.frombuffer(symbols.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).tolist()
    )


def _is_table_of_words(text: str) -> bool:
    """Say whether all lines of a text have as many cells as the first, which names them."""
    lines = text.strip().split("\n")
    return len(lines) > 2 and any(
        separator in lines[0] and len({line.count(separator) for line in lines}) == 1
        for separator in _CELL_SEPARATORS
    )


def _without_numbers(text: str) -> tuple[str, float, float]:
    """Take numbers out of a text whose digits only look like data: those of tables, and fractions.

    Returns:
        The rest, the volume of the numbers that were taken, and that of those that were left.
    """
    taken = left = 0.0

    def take(run: re.Match[str]) -> str:
        nonlocal taken, left
        written = NUMBER.findall(run.group())
        is_table = _is_table(text, run)
        volume = (rows_volume if is_table else numbers_volume)([float(number) for number in written])
        fractions = sum("." in number for number in written)
        short = sum(len(number) <= _MOST_DIGITS for number in written) if is_table else 0
        if 2 * max(fractions, short) <= len(written):
            left += volume
            return run.group()
        taken += volume
        return " "

    drawn: list[float] = []

    def take_drawn(run: re.Match[str]) -> str:
        written = _DRAWN_NUMBER.findall(run.group())
        if 2 * run.group().count(".") < len(written):
            return run.group()
        drawn.extend(map(float, written))
        return " "

    rest = _NUMBER_RUN.sub(take, text)
    rest = _DRAWN.sub(take_drawn, rest) if "." in rest else rest
    return rest, taken + numbers_volume(drawn), left


def _is_table(text: str, run: re.Match[str]) -> bool:
    """Say whether a run of numbers is a table below a line of names: of few columns, or with a name for each."""
    rows = run.group().strip().split("\n")
    columns_of_rows = {len(NUMBER.findall(row)) for row in rows[1:-1]}
    above = text[max(0, run.start() - 4_000) : run.start()].rstrip().rpartition("\n")[2]
    names = [cell for cell in _CELL.findall(above) if any(map(str.isalpha, cell))]
    return len(columns_of_rows) == 1 and bool(names) and 1 < columns_of_rows.pop() < max(24, len(names) + 1)
