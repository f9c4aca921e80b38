"""Pictures that are spelled out inside text: base64, data URLs, hex, escapes, lists of numbers, other alphabets.

Text holds a picture by one of two rules:

- **A header.** The text is brought to a plain form first: escapes and entities are resolved; labels of lines, keys,
  offsets and the margin of a dump are taken off. Then it is decoded, at every alignment, from each alphabet that
  programs write: base64 in both alphabets, hex, binary digits, base32, base85 in three alphabets, uuencode, yEnc,
  characters as bytes, and numbers (signed, as fractions, octal, or of 2, 4 and 8 bytes). If the header of a picture, a
  video or a PDF turns up, with at least 40 bytes from there on, it is refused, whatever its size. The bare word
  "iVBORw0KGgo" in a question about PNG is no picture.
- **A volume.** Whatever the alphabet, a message that carries more than :data:`BUDGET` bytes of data is refused, because
  that is enough for a picture; see :mod:`langchain_vpp.messages.volume`. Base64 that decodes to text is judged as that
  text. Fields that are known to hold long opaque tokens, such as signatures of reasoning, are exempt from this rule.
"""

from __future__ import annotations

import base64
import html
import itertools
import math
import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from langchain_vpp.messages.columns import BASE64, DECIMAL, HEX, columns
from langchain_vpp.messages.file_headers import (
    SHORTEST_SPELLING,
    SHORTEST_WIDE,
    find_file_header,
    spells_text_picture,
)
from langchain_vpp.messages.known_forms import without_armour
from langchain_vpp.messages.volume import BUDGET, NUMBER, Examined, text_volume

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray

_STRIDE: Final = 32
_MAX_LAYERS: Final = 4
_BEGINNING: Final = 2_048
_FEW_TURNS: Final = 6
# Fewer characters hold less than the budget: 6.6 bits each if they can be printed, 20 at most.
_FEWEST_ASCII: Final = 1_800
_FEWEST_OTHERS: Final = 600

# Possessive, and only from the start of a run: a failing tail that is retried at every character is quadratic.
_RUN: Final = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{54,}+")
_WRAPPED_RUN: Final = re.compile(
    r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{32,}+(?:\s++[A-Za-z0-9+/_-]{32,}+)++(?:\s++[A-Za-z0-9+/_-]++)?"
)
_BASE64_PIECES: Final = re.compile(r"[A-Za-z0-9+/_-]+")
_BASE32_PIECES: Final = re.compile(r"(?<![A-Za-z0-9])(?:[A-Z2-7]{8,}+|[a-z2-7]{16,}+)(?![A-Za-z0-9])")
_UNBROKEN: Final = re.compile(r"[!-~]{50,}+")
_LINES: Final = re.compile(r"(?m)(?:^[^\S\n]{0,9}+[!-~]{8,}+[^\S\n]{0,9}+\n?+){2,}+")
_UU_LINE: Final = re.compile(r"(?m)^[!-M`]([ -`]{4,84}+)$")
_HEX_RUN: Final = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{80,}+")
_HEX_PIECES: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:(?:0[xX]|U\+00)?[0-9A-Fa-f]++(?:[^0-9A-Za-z]{1,6}+|\Z)){2,}+"
)
_HEX_PREFIX: Final = re.compile(r"0[xX]|\\x|\\u00|U\+00|[^0-9A-Fa-f]")
_BARE_NUMBER: Final = re.compile(r"(?<![A-Za-z0-9+/_-])[0-9]++(?![A-Za-z+/_-])")
_BITS: Final = re.compile(r"(?<![0-9])(?:[01]{1,64}[\s,]{0,2}){320,}+|(?<![0-9])[01]{320,}+")
_DATA_URL: Final = re.compile(
    r"data:(?:image/(?!svg)|video/|application/pdf)[^,]{0,256};base64,\s*[A-Za-z0-9+/_-]{64}", re.IGNORECASE
)
# Escapes of JSON, Python, C, URLs and HTML. Quoted-printable has its own, because "=" also stands in URLs.
_ESCAPE: Final = re.compile(
    r"(?:(?<!\\)\\++(?:x|u00)|%|&\#[xX]0{0,4})([0-9A-Fa-f]{2});?\}?"
    r"|(?<!\\)\\++u(?:\{0{0,4}(?=[0-9A-Fa-f]{1,4}\})|(?=[0-9A-Fa-f]{4}))([0-9A-Fa-f]{1,4})\}?"
    r"|(?<!\\)\\++([0-3][0-7]{2})|(?<!\\)\\++([/abfnrtv])|&\#0{0,4}(\d{1,3});?"
)
_QUOTED: Final = re.compile(r"=([0-9A-F]{2})()()()()|=\n")
# Bytes in octal and binary digits, as programs write them.
_LITERAL: Final = re.compile(r"(?<![A-Za-z0-9])0(?:[oO]([0-7]{1,3})|[bB]([01]{1,8}))(?![A-Za-z0-9])")
_CONTROL: Final = {"/": "/", "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
# Labels of lines ("part 3: ", "00000010  "), keys of JSON, index keys ("17: "), and the margin that a dump repeats.
_LABEL: Final = re.compile(
    r"""(?m)^[^\S\n]{0,9}+(?:[\w.\#-]{1,24}[^\S\n]?){0,3}[:=>|)]+[^\S\n]+"""
    r"""|^[^\S\n]{0,9}+[0-9A-Fa-f]{6,16}[^\S\n]+(?=[0-9A-Fa-f]{2,8}[^\S\n])"""
    r"""|["'][\w .-]{1,40}+["']\s{0,4}:"""
)
_INDEX: Final = re.compile(
    r"""(?<![\w.-])["']?[A-Za-z_.-]{0,24}+\d{1,9}+["'\]]?\s{0,4}(?:[:=]|=>)\s{0,4}(?=["'\w-])"""
)
_MARGIN: Final = re.compile(r"(?m)[^\S\n]{2,}+\|?[^\n]{1,32}$")
_DUMP_LINE: Final = re.compile(r"(?m)^[^\S\n]{0,9}[0-9A-Fa-f]{4,16}:?[^\S\n]+(?:[0-9A-Fa-f]{2,8}[^\S\n]+){4}")
# Changes between letters, capitals and digits inside of words, as alphabets of data have them and languages do not.
_TURN: Final = re.compile(r"[a-z][A-Z]|[A-Za-z][0-9+/]|[0-9+/][A-Za-z]")
_TOKEN: Final = re.compile(r"[A-Za-z0-9+/_=.:~\s-]*")
_NUMERALS: Final = re.compile(r"[0-9]+")
_CONTROLS: Final = re.compile(r"[\0-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f]")
_ESCAPED_BYTE: Final = re.compile("[\udc80-\udcff]")
_NUMERIC: Final = "0123456789abcdefABCDEFxXuU,:;\\ \t\r\n\"'[](){}|+-.&#%="
_URL_SAFE: Final = str.maketrans("-_", "+/")
_SIXTY_FOUR: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_UU: Final = str.maketrans({chr(32 + value): _SIXTY_FOUR[value] for value in range(64)} | {"`": "A"})
_LETTERS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BASE85: Final = tuple(
    np.array([alphabet.find(chr(code)) for code in range(128)], dtype=np.int64)
    for alphabet in (
        "".join(map(chr, range(33, 118))),  # Adobe
        _LETTERS + "!#$%&()*+-;<=>?@^_`{|}~",  # RFC 1924, git
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#",  # ZeroMQ
    )
)
_POWERS_OF_85: Final = np.array([85**4, 85**3, 85**2, 85, 1], dtype=np.int64)


def numbers_spell_file(numbers: Collection[Any]) -> bool:
    """Say whether numbers are the bytes of a file: signed, as fractions of 255, or several bytes in one number."""
    if len(numbers) < 5 or not all(type(number) in (int, float) for number in numbers):
        return False
    return any(find_file_header(data) is not None for data in _bytes_of_numbers(list(numbers)))


def holds_pixels(text: str, *, opaque: bool = False) -> bool:
    """Say whether a picture is spelled out in ``text``.

    Args:
        text: Any text. Short prose is searched in a few nanoseconds per character.
        opaque: Whether long base64 without a known file header is expected, as in a signature.
    """
    return examined(text, opaque=opaque).volume >= BUDGET


def examined(text: str, *, opaque: bool = False) -> Examined:
    """Search a text for data; see :class:`langchain_vpp.messages.volume.Examined`."""
    # Methods of a subclass are not asked: serializers read the characters that it holds.
    plain = text if type(text) is str else str.__str__(text)
    # Characters beyond ASCII may stand for two or three bytes each.
    if len(plain) < SHORTEST_WIDE or (len(plain) < SHORTEST_SPELLING and plain.isascii()):
        return _NO_PROSE
    return _examined(plain, opaque=opaque, layers=_MAX_LAYERS)


def is_token(text: str) -> bool:
    """Say whether a text has the shape of an opaque token: base64 or hex, in one piece or in several."""
    return _TOKEN.fullmatch(text) is not None


def _examined(text: str, *, opaque: bool, layers: int) -> Examined:
    is_suspect = _looks_spelled(text)
    rest, armoured = text, 0.0
    if spells_text_picture(text):
        return _FILE
    if is_suspect:
        plain = _unescaped(text)
        views = {text, plain, _QUOTED.sub(_unescape, text), *_without_labels(text), *_without_labels(plain)}
        if any(_raw(view) or _DATA_URL.search(view) or _spells_header(view) for view in views):
            return _FILE
        bare, armoured = without_armour(plain)
        decoded = _with_texts_decoded(bare, layers)
        if decoded is None:
            return _FILE
        rest = decoded
    if len(rest) < (_FEWEST_ASCII if rest.isascii() else _FEWEST_OTHERS) or (opaque and is_token(text)):
        return Examined(armoured, may_be_piece=True) if is_suspect else PROSE
    return Examined(armoured + text_volume(rest), is_suspect)


def _looks_spelled(text: str) -> bool:
    """Say whether a text is worth the search. Most prose costs one look per 32 characters and per word."""
    if not text.isascii() or _CONTROLS.search(text):
        return True
    # Every run of 63 characters contains one of these stretches whole, and hardly any prose does.
    for start in range(0, len(text) - _STRIDE + 1, _STRIDE):
        stretch = text[start : start + _STRIDE]
        may_be_numeric = stretch[0] in _NUMERIC and stretch[9] in _NUMERIC and stretch[22] in _NUMERIC
        if may_be_numeric and not stretch.strip(_NUMERIC):
            return True
        if " " not in stretch and "\n" not in stretch and stretch.isascii():
            return True
    if next(itertools.islice(_TURN.finditer(text), _FEW_TURNS, None), None) is not None:
        return True
    # The rest of this line saves a search in texts without numbers.
    return ("1" in text or "2" in text) and (
        next(itertools.islice(_NUMERALS.finditer(text), SHORTEST_SPELLING, None), None) is not None
    )


def _unescaped(text: str) -> str:
    for _ in range(3):
        plain = _ESCAPE.sub(_unescape, text)
        if "&" in plain:
            plain = html.unescape(plain)
        if not plain.isascii():  # halves of characters that JSON writes one by one
            plain = plain.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        if plain == text:
            break
        text = plain
    return _LITERAL.sub(lambda literal: str(int(literal.group(), 0)), text) if "0" in text else text


def _without_labels(text: str) -> Iterator[str]:
    """Yield a text without what a dump, or whoever cut it into pieces, has put before and behind each line."""
    bare = _MARGIN.sub("", text) if _DUMP_LINE.search(text) else text
    bare = _LABEL.sub("", bare)
    if bare != text:
        yield bare
        yield _unescaped(bare.replace("\n", ""))
    yield _INDEX.sub(" ", bare)


_FILE: Final = Examined(math.inf, may_be_piece=True)
_NO_PROSE: Final = Examined(0.0, may_be_piece=True)
PROSE: Final = Examined(0.0, may_be_piece=False)
"""The examination of text that is nothing but prose."""


# Headers.


def _spells_header(text: str) -> bool:
    return any(find_file_header(data) is not None for data in _decodings(text))


def _decodings(text: str) -> Iterator[bytes]:
    """Yield the bytes that a text may stand for."""
    for run in itertools.chain(_HEX_RUN.finditer(text), _HEX_PIECES.finditer(text)):
        digits = _HEX_PREFIX.sub("", run.group())
        if len(digits) < 2 * SHORTEST_SPELLING:
            continue
        yield from (
            bytes.fromhex(digits[start : len(digits) - (len(digits) - start) % 2]) for start in (0, 1)
        )
    yield from _base64_alignments("".join(_BASE64_PIECES.findall(text)))
    yield from _base32_alignments("".join(_BASE32_PIECES.findall(text)))
    if len(lines := _UU_LINE.findall(text)) > 1 or "begin " in text:
        yield from _base64_alignments("".join(lines).translate(_UU))
    for run in itertools.chain(_UNBROKEN.finditer(text), _LINES.finditer(text)):
        yield from _base85_starts("".join(run.group().split()))
    for run in _BITS.finditer(text):
        yield from _bit_alignments(re.sub(r"[^01]", "", run.group()))
    yield from _written_numbers(text)
    yield from _framed(text)


def _framed(text: str) -> Iterator[bytes]:
    """Yield what the columns of a text stand for; see :mod:`langchain_vpp.messages.columns`."""
    for numbers in [_BARE_NUMBER.findall(text), *columns(DECIMAL, text).values()]:
        if len(numbers) >= SHORTEST_SPELLING:
            whole = [float(number or 0) if len(number) < 4 else math.nan for number in numbers[:_BEGINNING]]
            for segment in _segments(_bytes_only(np.array(whole))):
                yield from _if_at_start(segment)
    for runs in columns(HEX, text).values():
        pairs = "".join(run[len(run) % 2 :] for run in runs[:_BEGINNING] if len(run) > 1)
        if len(pairs) >= 2 * SHORTEST_SPELLING:
            yield from _if_at_start(bytes.fromhex(pairs))
    for runs in columns(BASE64, text).values():
        joined = "".join(runs[:_BEGINNING])[: 2 * _BEGINNING]
        if len(joined) >= SHORTEST_SPELLING * 4 // 3:
            for data in _base64_alignments(joined):
                yield from _if_at_start(data)


def _base64_alignments(run: str) -> Iterator[bytes]:
    # Text before the run can shift its phase, so all four are tried. In each, the file may begin at any byte.
    run = run.translate(_URL_SAFE)
    for phase in range(4):
        yield base64.b64decode(run[phase : len(run) - (len(run) - phase) % 4])


def _base32_alignments(run: str) -> Iterator[bytes]:
    run = run.upper()
    # Letters alone are words.
    for phase in range(8 if len(run) > 64 and not run.isalpha() else 0):
        yield base64.b32decode(run[phase : len(run) - (len(run) - phase) % 8])


def _base85_starts(run: str) -> Iterator[bytes]:
    run = run.removeprefix("<~")[:120]
    if _TOKEN.fullmatch(run):
        return  # hardly any 50 digits of base85 are all digits of base64
    for alphabet in _BASE85:
        # Adobe's abbreviation of four zeros.
        codes = np.frombuffer(
            (run.replace("z", "!!!!!") if alphabet is _BASE85[0] else run).encode(), dtype=np.uint8
        )
        values = alphabet[codes]
        values = values[values >= 0]
        for phase in range(5):
            groups = values[phase : len(values) - (len(values) - phase) % 5].reshape(-1, 5)
            data = (groups @ _POWERS_OF_85 & 0xFFFFFFFF).astype(">u4").tobytes()
            yield from _if_at_start(data)


def _if_at_start(data: bytes) -> Iterator[bytes]:
    """Yield data of which only the beginning counts, because further on a header would turn up by chance."""
    data = data[:_BEGINNING]
    start = find_file_header(data)
    if start is not None and start <= 8:
        yield data


def _bit_alignments(bits: str) -> Iterator[bytes]:
    for phase in range(8):
        usable = bits[phase : len(bits) - (len(bits) - phase) % 8]
        yield np.packbits(np.frombuffer(usable.encode("ascii"), dtype=np.uint8) - 48).tobytes()


def _written_numbers(text: str) -> Iterator[bytes]:
    written = NUMBER.findall(text)
    if len(written) < SHORTEST_SPELLING // 8:
        return
    numbers = [float(number) for number in written]
    yield from _bytes_of_numbers(numbers)
    # Index keys ({"0": 137, "1": 80}) stand at every other place.
    if len(numbers) > 2 * SHORTEST_SPELLING and numbers[2] - numbers[0] == numbers[4] - numbers[2] == 1:
        yield from _bytes_of_numbers(numbers[1::2])
    triples = [number for number in written if len(number) == 3 and number.isdecimal()]
    octal = [int(number, 8) for number in triples if not set(number) & {"8", "9"}]
    if len(octal) >= SHORTEST_SPELLING and len(octal) >= 0.8 * len(triples):
        yield bytes(number & 0xFF for number in octal)


def _bytes_of_numbers(numbers: list[Any]) -> Iterator[bytes]:
    if any(abs(number) >= 2**64 for number in numbers):
        yield from (
            number.to_bytes((number.bit_length() + 7) // 8, order)
            for number in numbers
            if type(number) is int and number >= 2**64
            for order in ("big", "little")
        )
        return
    values = np.array(numbers, dtype=np.float64)
    values = values[np.isfinite(values)]
    whole = _bytes_only(values)
    if len(values) >= SHORTEST_SPELLING:
        yield from _segments(whole)
        if len(values) and values.min() >= 0 and values.max() <= 1:
            yield np.rint(values * 255).astype(np.uint8).tobytes()
    if len(values) and np.isnan(whole).any():
        yield from _wide_numbers(values)


def _bytes_only(values: NDArray[Any]) -> NDArray[Any]:
    return np.where((values == np.floor(values)) & (values >= -128) & (values < 256), values, np.nan)


def _segments(whole: NDArray[Any]) -> Iterator[bytes]:
    """Yield the stretches of bytes among numbers."""
    for segment in np.split(whole, np.flatnonzero(np.isnan(whole))):
        known = segment[~np.isnan(segment)]
        if len(known) >= SHORTEST_SPELLING:
            yield (known.astype(np.int64) & 0xFF).astype(np.uint8).tobytes()


def _wide_numbers(values: NDArray[Any]) -> Iterator[bytes]:
    yield from _if_at_start(values.astype("<f8").tobytes())
    yield from _if_at_start(values.astype(">f8").tobytes())
    if (values == np.floor(values)).all() and abs(values).max() < 2**53:
        width = 2 if abs(values).max() < 2**16 else 4 if abs(values).max() < 2**32 else 8
        for order in "<>":
            yield from _if_at_start(values.astype(np.int64).astype(f"{order}u{width}").tobytes())


# Texts inside of base64.


def _with_texts_decoded(text: str, layers: int) -> str | None:
    """Put the texts that base64 decodes to in the place of it; ``None`` if one of them spells a file."""
    pieces: list[str] = []
    end = 0
    runs = sorted(
        itertools.chain(_WRAPPED_RUN.finditer(text), _RUN.finditer(text)),
        key=lambda run: (run.start(), -run.end()),
    )
    for run in runs:
        if run.start() < end:
            continue
        joined = "".join(run.group().split()).translate(_URL_SAFE)
        inner = _as_text(base64.b64decode(joined[: len(joined) - len(joined) % 4]))
        if inner is None:
            continue
        if layers == 0 or _examined(inner, opaque=True, layers=layers - 1) is _FILE:
            return None
        pieces += [text[end : run.start()], inner]
        end = run.end()
    return "".join([*pieces, text[end:]])


def _as_text(data: bytes) -> str | None:
    """Decode bytes that are text in UTF-8, UTF-16 or Latin-1."""
    if data[1::2].count(0) > len(data) // 3:
        text = data.decode("utf-16-le", errors="ignore")
    else:
        # A token is cut to whole groups of four, which can split the last character of its text.
        text = data.decode("utf-8", errors="ignore")
        if len(text.encode()) < len(data) - 3:
            text = data.decode("latin-1")
            if len(text.encode()) - len(text) > len(text) // 8:
                return None
    return text if "".join(text.split()).isprintable() else None


# Characters as bytes.


def _raw(text: str) -> bool:
    if text.isascii() and not _CONTROLS.search(text):
        return False
    # os.fsdecode() and errors="surrogateescape" keep byte 0x89 as U+DC89.
    latin = _ESCAPED_BYTE.sub(lambda character: chr(ord(character.group()) - 0xDC00), text)
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    low = (codes & 0xFF).astype(np.uint8)
    return any(
        find_file_header(data) is not None
        for data in (
            latin.encode("latin-1", errors="replace"),
            low[codes > 0x7F].tobytes(),
            (low - 42).tobytes(),  # yEnc
            text.encode("utf-16-le", "surrogatepass"),
            text.encode("utf-16-be", "surrogatepass"),
        )
    )


def _unescape(escape: re.Match[str]) -> str:
    digits, wide, octal, control, decimal = escape.groups()
    if digits or wide:
        return chr(int(digits or wide, 16))
    if octal:
        return chr(int(octal, 8))
    if decimal:
        return chr(int(decimal))
    return _CONTROL.get(control, "")
