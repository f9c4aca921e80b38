"""Volume: how many bytes of data a text or a list of numbers can carry, whatever its alphabet.

A picture can be written in any alphabet: base32, base85, emoji, ideographs, an alphabet of one's own. All such texts
have one thing in common. A text of a language, a program, a log or a table has an order: letters follow each other by
rules, words and columns repeat. Compressed or encoded pixels have none, so their characters can be shuffled without
any loss of order. That is what is measured: each window of 1,024 characters is compressed as it is, and shuffled. If
the shuffled window takes no more than the original, the window is data, and counts with the entropy of its characters.

Numbers count by their values. Few different values that repeat, as samples of pixels do, count with their compressed
size; numbers of high precision, as in embeddings, count an eighth of a byte each.

Forms of data that no picture takes count a sixteenth of their size: PEM and PGP blocks, DER, keys of SSH, genetic
sequences, tables of numbers below a line of names, and digests and UUIDs. Among other text, as in a log, these do not
count.
"""

from __future__ import annotations

import base64
import binascii
import functools
import math
import random
import re
import zlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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
_SUFFIX: Final = "[uUlLfF]{0,3}"  # of literals in C, such as 137u
NUMBER: Final = re.compile(rf"(?<![\w.+-]){_NUMBER}(?={_SUFFIX}(?![\w.]))")
_NUMBER_RUN: Final = re.compile(rf"(?<![\w.+-])(?:{_NUMBER}{_SUFFIX}(?:[^\w.+-]{{1,12}}+|\Z)){{64,}}+")
# With the letter of a command, as in drawings.
_FRACTION: Final = re.compile(r"(?<![A-Za-z\d.])[A-Za-z]?-?\d{1,6}\.\d{1,17}(?![\d.])")

_BODY: Final = r"[A-Za-z0-9+/=\s\\:,.()]"
_HEX: Final = "[0-9a-fA-F]"
_KNOWN: Final = re.compile(
    rf"-----BEGIN [A-Z0-9 ]{{1,40}}+-----(?:{_BODY}|-(?!-)){{1,60000}}+-----END"
    rf"|(?<![0-9A-Za-z+/])(?:0x)?(?:{_HEX}{{128}}|{_HEX}{{96}}|{_HEX}{{64}}|{_HEX}{{56}}|{_HEX}{{40}}|{_HEX}{{32}})(?![0-9A-Za-z+/])"
    rf"|(?<![0-9A-Za-z]){_HEX}{{8}}-(?:{_HEX}{{4}}-){{3}}{_HEX}{{12}}(?![0-9A-Za-z])"
    r"|(?<![0-9A-Za-z+/])(?:[A-Za-z0-9+/]{86}==|[A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{27}=|[A-Za-z0-9+/]{22}==)(?!=)"
    r"|sha384-[A-Za-z0-9+/]{64}(?![A-Za-z0-9+/])"
    r"|(?<![A-Za-z0-9+/])AAAA(?:B3NzaC1|C3NzaC1|E2VjZHNh)[A-Za-z0-9+/]{48,1400}={0,2}"  # public keys of SSH
)
_SEQUENCE: Final = re.compile(
    r"(?<![A-Za-z])(?:[ACGTUN]{20,}+|[acgtun]{20,}+|[AC-IK-NP-TVWXY*]{24,}+)(?![A-Za-z0-9])"
)
_DER: Final = re.compile(r"(?<![A-Za-z0-9+/])MI[I-L][A-Za-z0-9+/]{200,}+={0,2}")
# What stands around the strings of JSON, and labels of lines.
_SKELETON: Final = re.compile(
    r"""["'][\w .-]{1,40}+["']\s{0,9}+:|[\[\]{}(),"'\s]++|(?m:^[\w .#-]{1,24}+[:=>|)]\s)"""
)


_LONG_PIECE: Final = 2_048
_SHORTEST_JOINED: Final = 54
_MOST_DIGITS: Final = 5
_NUMERAL: Final = frozenset("0123456789+-.")
_FEWEST_BYTE_LEVELS: Final = 128


class Tally:
    """The volume of a message or of another value: of all its texts and numbers together.

    Pieces count as the whole that they may be pieces of: short texts are judged joined, each once, and numbers as one
    sequence, in whatever lists and mappings they stand.
    """

    def __init__(self) -> None:
        self._bytes = 0.0
        self._pieces: list[str] = []
        self._cells: list[str] = []
        self._keys: dict[Any, Any] = {}
        self._samples: list[Any] = []
        self._rows: list[Any] = []

    def add_piece(self, text: str) -> None:
        """Count a text that is too short to be judged alone."""
        self._cells.append(text)
        if text[:1] in _NUMERAL and (number := _number(text)) is not None:
            self._samples.append(number)
        else:
            self._pieces.append(text)

    def add_keys(self, parts: Mapping[Any, Any]) -> None:
        """Count the keys of a mapping, each once however many mappings have it."""
        self._keys.update(parts)

    def add_text(self, text: str, volume: float, *, may_be_piece: bool) -> None:
        """Count a text that was judged alone."""
        if may_be_piece and len(text) < _LONG_PIECE:
            self._pieces.append(text)
        else:
            self._bytes += volume

    def add_numbers(self, numbers: Sequence[Any], *, are_row: bool = False) -> None:
        """Count numbers of a list; or of a row of a table, which has names for its columns."""
        (self._rows if are_row else self._samples).extend(numbers)

    def exceeds_budget(self, measure: Callable[[str], float]) -> bool:
        """Say whether all together are enough for a picture.

        Args:
            measure: Estimates the volume of a text.
        """
        volume = self._bytes
        if len(self._pieces) > 1 and sum(map(len, self._pieces)) >= _SHORTEST_JOINED:
            # As lines, and without what is repeated between the pieces, such as names; as one text that was cut.
            lines = {"\n".join(self._pieces), "\n".join(dict.fromkeys(self._pieces))}
            volume += max(map(measure, lines))
            volume += math.inf if measure("".join(self._pieces)) == math.inf else 0.0
        if self._samples:
            volume += numbers_volume(self._samples)
            # Half of the bytes in hex have digits alone.
            is_mixed = len(self._cells) > len(self._samples) and len(self._pieces) > 1
            volume += math.inf if is_mixed and measure("\n".join(self._cells)) == math.inf else 0.0
        if len(self._keys) > 1:
            keys = [key for key in self._keys if type(key) is str]
            volume += max(measure("\n".join(keys)), measure("".join(keys)))
        if len(self._rows) >= _FEWEST_NUMBERS:
            volume += rows_volume(self._rows)
        return volume >= BUDGET


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
    rest, known = _without_known(text)
    known = known if len(rest) < len(text) / 2 else 0.0
    # Fractions are counted as numbers. Without what stands around them, their digits are as disordered as data.
    bare = _SKELETON.sub(" ", _FRACTION.sub(" ", rest)) if '"' in rest else ""
    volume = max(_shuffled_volume(rest), _shuffled_volume(bare))
    return volume + known * _KNOWN_WEIGHT + _written_numbers_volume(text)


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


def _without_known(text: str) -> tuple[str, float]:
    """Take known forms of data out of a text, and return the bytes that they hold."""
    known = 0.0

    def take(match: re.Match[str]) -> str:
        nonlocal known
        known += len(match.group()) * (0.5 if match.group().isalnum() else 0.75)
        return " "

    def take_sequence(match: re.Match[str]) -> str:
        nonlocal known
        known += len(match.group()) * (0.25 if len(set(match.group())) <= 5 else 0.54)
        return " "

    def take_der(match: re.Match[str]) -> str:
        nonlocal known
        size = len(match.group()) * 3 // 4
        if not _is_der(match.group(), size):
            return match.group()
        known += size
        return " "

    rest = _SEQUENCE.sub(take_sequence, _KNOWN.sub(take, text))
    return _DER.sub(take_der, rest), known


def _is_der(encoded: str, size: int) -> bool:
    """Say whether base64 begins with the header of a DER sequence that is as long as all of it."""
    try:
        header = base64.b64decode(encoded[:8])
    except binascii.Error:
        return False
    return header[:2] == b"\x30\x82" and abs(int.from_bytes(header[2:4], "big") + 4 - size) <= 3


def _written_numbers_volume(text: str) -> float:
    volume = 0.0
    for run in _NUMBER_RUN.finditer(text):
        numbers = [float(number) for number in NUMBER.findall(run.group())]
        volume += rows_volume(numbers) if _is_table(text, run) else numbers_volume(numbers)
    return volume


def _is_table(text: str, run: re.Match[str]) -> bool:
    """Say whether a run of numbers is a table of 2 to 23 columns below a line of names."""
    rows = run.group().strip().split("\n")
    columns = {len(NUMBER.findall(row)) for row in rows[1:-1]}
    above = text[max(0, run.start() - 1_000) : run.start()].rstrip().rpartition("\n")[2]
    has_names = any(character.isalpha() for character in above)
    return has_names and len(columns) == 1 and 1 < columns.pop() < 24
