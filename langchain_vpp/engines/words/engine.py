"""The engine for screens, letters and documents: it shows words that are known to be harmless, and covers the rest."""

from __future__ import annotations

import hashlib
import json
import unicodedata
import warnings
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from langchain_vpp.engines.words.codes import find_codes
from langchain_vpp.engines.words.gaps import refined
from langchain_vpp.engines.words.geometry import height_of, scaled
from langchain_vpp.engines.words.heads import HeadFinder
from langchain_vpp.engines.words.painter import (
    base_of,
    blind_base,
    cover,
    cut_in,
    enlarged,
    put_plates,
    wordless,
)
from langchain_vpp.engines.words.plates import pieces_of, plates_of
from langchain_vpp.engines.words.policy import Policy
from langchain_vpp.engines.words.printed import merged
from langchain_vpp.engines.words.reader import RapidReader
from langchain_vpp.engines.words.recognizers import default_recognizers
from langchain_vpp.engines.words.segments import segments_of
from langchain_vpp.engines.words.signatures import signature_places
from langchain_vpp.engines.words.timed import TimedReader
from langchain_vpp.engines.words.tokens import TokenNumbers
from langchain_vpp.engines.words.verdict import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PIL import Image

    from langchain_vpp.engines.words.geometry import Box
    from langchain_vpp.engines.words.reader import TextReader, Word
    from langchain_vpp.engines.words.recognizers import Recognizer
    from langchain_vpp.engines.words.timed import OnFailure
    from langchain_vpp.engines.words.tokens import TokenSource
    from langchain_vpp.engines.words.verdict import Verdict

PRESETS: Final = {"low": 0.25, "balanced": 0.5, "high": 0.75}
"""Names of levels; 1 shows no word."""
_VERSION: Final = "words/4"
_PACKAGES: Final = ("rapidocr", "onnxruntime", "presidio-analyzer", "phonenumbers", "wordfreq", "faker")
_ROUNDS: Final = 2
"""Most further looks at what is left of a picture."""
_LOOK: Final = 2
"""Enlargement of the base for a further look."""
_LINE: Final = 4
"""Width, in heights, from which text that could not be read is a line, and no icon."""
_SCRIPTS: Final = ("LATIN", "CYRILLIC", "GREEK")


class Words:
    """Shows the words that are known to be harmless, and covers all others with plates that carry tokens.

    Where no word is shown, a copy of the picture stays that is so small that text in it can't be read. So text that the
    reader misses is not shown either. A word is shown only if it is read with certainty, belongs to a public
    vocabulary, and is no part of what may be a name, of something that a recognizer finds, or of what a label such as
    ``IBAN`` or ``From:`` announces. Heads, QR codes, bar codes and the places of signatures are covered. Heads that are
    too small to be recognised in the small copy are found where the extra ``faces`` is installed.

    At level 1 no word is shown; from 0.5 to 0.75 words of the vocabulary; from 0.25 to 0.5 also numbers and dates that
    identify nobody; up to 0.25 all but what is recognised as private, and the picture itself in full detail where the
    extra ``faces`` is installed.

    Args:
        reader: Finds the words. Default: :class:`~langchain_vpp.engines.words.reader.RapidReader`.
        recognizers: Find private text; see :class:`~langchain_vpp.engines.words.recognizers.Recognizer`. Default: those
            of :func:`~langchain_vpp.engines.words.recognizers.default_recognizers`.
        allow: Words that are shown, such as the names of your own products.
        deny: Words that are never shown.
        tokens: Makes what names the private values of a picture that is protected by itself. Default: numbers that
            begin anew in each picture. In messages the vault of the conversation names them.
        on_failure: Reaction to a reader that fails or takes too long: cover the whole picture, or refuse it.
        seconds: Time that the reader has for a picture, or for each strip of one that is much longer than wide. A strip
            that takes longer is covered alone.

    Attributes:
        digest: sha256, in hex, of everything that determines the output; ``None`` with parts of your own.
        parts: Names and versions of this engine and of the packages that it uses; empty with parts of your own.

    Raises:
        MissingExtraError: If the extra ``words`` is missing or can't be loaded.
    """

    name = "words"

    def __init__(
        self,
        *,
        reader: TextReader | None = None,
        recognizers: Sequence[Recognizer] | None = None,
        allow: Sequence[str] = (),
        deny: Sequence[str] = (),
        tokens: Callable[[], TokenSource] = TokenNumbers,
        on_failure: OnFailure = "cover",
        seconds: float = 60.0,
    ) -> None:
        if on_failure not in ("cover", "raise"):
            raise ValueError("on_failure must be cover or raise")
        own = reader is not None or recognizers is not None or tokens is not TokenNumbers
        self._reader = TimedReader(
            RapidReader() if reader is None else reader, seconds=seconds, on_failure=on_failure
        )
        self._policy = Policy(
            default_recognizers() if recognizers is None else recognizers, allow=allow, deny=deny
        )
        self._tokens = tokens
        self._find_heads = HeadFinder()
        settings = [sorted(allow), sorted(deny), self._find_heads.is_thorough, on_failure]
        self.digest = None if own else _digest(settings)
        self.parts = () if own else (_VERSION, *_versions())

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        """Protect one picture; see :meth:`Engine.protect <langchain_vpp.engines.Engine.protect>`."""
        return self.draft(image, level).finished(self._tokens())

    def draft(self, image: Image.Image, level: float, *, printed: Sequence[Word] = ()) -> WordsDraft:
        """Protect one picture, but for its tokens; see :class:`~langchain_vpp.engines.DraftingEngine`."""
        found = self._reader.read(image)
        if found is None:
            return WordsDraft(blind_base(image))
        words, unread = read_and_unread(image, found)
        _warn_of_scripts(words, unread)
        stage = Stage.of(level)
        verdicts = self._policy.judge(words, stage)
        if printed:
            words, verdicts = merged(words, verdicts, printed, self._policy.judge(printed, stage))
        _, shown = plates_of(words, verdicts, TokenNumbers(), image.size)
        hidden_boxes = [*find_codes(image), *self._find_heads(image), *unread]
        bare = wordless(image, words)
        cover(bare, [*hidden_boxes, *signature_places(segments_of(words))])
        crisp = stage == Stage.RECOGNIZED and self._find_heads.is_thorough
        result = bare if crisp else self._base(bare, words)
        cut_in(result, image, pieces_of(shown, words))
        cover(result, hidden_boxes)
        return WordsDraft(result, words, verdicts)

    def _base(self, bare: Image.Image, words: Sequence[Word]) -> Image.Image:
        """Return the small copy, enlarged again, without text that is large enough to be read in it."""
        small = base_of(bare, words)
        for _ in range(_ROUNDS):
            look = small.resize((small.width * _LOOK, small.height * _LOOK))
            left = self._reader.read(look)
            if left is None:
                return blind_base(bare)
            boxes = [
                scaled(word.box, 1 / _LOOK)
                for word in left
                if sum(letter.isalnum() for letter in word.text) > 1
            ]
            if not boxes:
                break
            cover(small, boxes)
        return enlarged(small, bare.size)


class WordsDraft:
    """A picture with its harmless words, and those that are to be covered; see :class:`~langchain_vpp.engines.Draft`.

    Args:
        picture: The picture without plates. The draft keeps it.
        words: All words that were read.
        verdicts: A verdict for each of them.
    """

    __slots__ = ("_picture", "_verdicts", "_words")

    def __init__(
        self, picture: Image.Image, words: Sequence[Word] = (), verdicts: Sequence[Verdict] = ()
    ) -> None:
        self._picture, self._words, self._verdicts = picture, words, verdicts

    @property
    def values(self) -> list[tuple[str, str]]:
        """Kind and text of each private value, in reading order."""
        seen = _SeenValues()
        plates_of(self._words, self._verdicts, seen, self._picture.size)
        return seen.values

    def finished(self, tokens: TokenSource) -> Image.Image:
        """Return the picture with plates that carry tokens."""
        result = self._picture.copy()
        plates, _ = plates_of(self._words, self._verdicts, tokens, result.size)
        put_plates(result, plates)
        return result


class _SeenValues:
    """Notes the values for which tokens are asked."""

    def __init__(self) -> None:
        self.values: list[tuple[str, str]] = []

    def token(self, kind: str, value: str) -> str:
        self.values.append((kind, value))
        return kind


def _digest(settings: Sequence[object]) -> str:
    """Return the sha256 of settings and of the versions of the packages that read and judge words."""
    return hashlib.sha256(json.dumps([_VERSION, *settings, *_versions()]).encode()).hexdigest()


def _versions() -> list[str]:
    return [f"{package} {version(package)}" for package in _PACKAGES]


def read_and_unread(image: Image.Image, found: Sequence[Word]) -> tuple[list[Word], list[Box]]:
    """Return the words of a picture with refined edges, and the boxes of text that could not be read."""
    unread = [word.box for word in found if not word.text]
    return refined(image, [word for word in found if word.text]), unread


def _warn_of_scripts(words: Sequence[Word], unread: Sequence[Box]) -> None:
    letters = {letter for word in words for letter in word.text if letter.isalpha()}
    unknown = [each for each in letters if not unicodedata.name(each, "LATIN").startswith(_SCRIPTS)]
    lines = [box for box in unread if box[2] - box[0] > _LINE * height_of(box)]
    if len(unknown) > 3 or lines:
        warnings.warn(
            "A picture has text in a script without a vocabulary, or that can't be read; all of that text is covered.",
            stacklevel=3,
        )
